"""The texts of a run: at its start, after evaluations and at its end."""
from collections.abc import Mapping, Sequence
import json
import math
import re
from typing import Any, TYPE_CHECKING

from configs import schema
from configs.process import json_file
from resnet.run import summaries
from resnet.run.measures import limit
from resnet.run.measures.stopwatch import Stopwatch
from resnet.run.screen.start_block import devices_text

if TYPE_CHECKING:
  from resnet.distribution.group import Group

_WAITS, _WAIT_FRACTION = 3, 0.1  # Log points, and share of their time.
# Of surroundings.differences: a flag whose value was known.
_FLAG_CHANGE = re.compile('(--[a-z_]+): (?!not set)(.*) -> ')
_FIGURES = ('step', 'best_step', 'best_accuracy', 'accuracy', 'examples',
            'seconds')
_MORE = ('loss', 'top5_accuracy')  # Not of runs by earlier versions.
# What every evaluation may have; the rest are the recipe's own metrics.
_EVALUATED = ('accuracy', 'top5_accuracy', 'loss', 'examples', 'skipped_images',
              'epoch', 'split', 'step', 'time')
_SHARES = ('training', 'input_wait', 'evaluation', 'checkpoints', 'start_up')


def replicas(group: 'Group') -> dict[str, Any]:
  """Returns what trains: {'workers': int, 'devices': [str] of each}."""
  return {'workers': group.count,
          'devices': [device.rpartition('/device:')[2]
                      for device in group.strategy.extended.worker_devices]}


def frozen_text(config: schema.Config, trained: int) -> str:
  """Returns one line for a run of which parts are frozen.

  Args:
    config: what is trained.
    trained: numbers that training changes, without batch norm's statistics.
  """
  return (f'frozen: {", ".join(config.finetune.frozen)}; {trained:,} weights '
          'are trained')


def moved_text(before: Mapping[str, Any] | None, now: Mapping[str, Any],
               norm_batch: int = 0) -> str:
  """Returns one line for a run that is resumed on other devices.

  Args:
    before: what the run was last trained on, see `replicas`; None: unknown.
    now: what it is trained on now.
    norm_batch: global batch, if batch norm normalizes over each device's share
      of it; 0: it does not.
  """
  if before is None:
    return (f'continuing on {devices_text(now)}: what it was trained on '
            'before is not known, so that sums may be rounded in another order'
            + (', and batch norm may normalize over other shares of the batch'
               if norm_batch else ''))
  start = (f'continuing on {devices_text(now)} (before: '
           f'{devices_text(before)}): batches and evaluations stay the same, '
           'but ')
  old, new = count(before), count(now)
  if norm_batch and old != new:
    return (f'{start}batch norm normalizes over {norm_batch // new} images at '
            f'a time instead of {norm_batch // old}, which can change results '
            '(config.model.sync_batch_norm=true, in a new run, would not '
            'depend on devices), and sums are rounded in another order')
  return f'{start}sums are rounded in another order'


def count(replicas: Mapping[str, Any]) -> int:
  """Returns the number of replicas; see `replicas`."""
  return replicas['workers'] * len(replicas['devices'])


def settings_text(differences: Sequence[str]) -> str:
  """Returns one line for a run that is resumed with other settings.

  Args:
    differences: see surroundings.differences.
  """
  changed = [_FLAG_CHANGE.match(one) for one in differences]
  flags = ' '.join(f'{one[1]}={one[2]}' for one in changed if one)
  remedy = ('; to continue as before, stop the run now and add '
            f'{flags} to the command') if flags else ''
  return (f'continuing with other settings ({"; ".join(differences)}): results '
          'may no longer be, to the last bit, those of a run that was never '
          f'stopped{remedy}')


def evaluation_text(step: int, values: Mapping[str, float]) -> str:
  """Returns the result of an evaluation in training, as one line."""
  return (f'step {step}  evaluated {values["examples"]} examples: '
          f'{_metrics_text(values)}{_skipped_text(values)}')


def values_text(values: Mapping[str, float]) -> str:
  """Returns the result of an evaluation, see evaluator.Evaluate, as one line.
  """
  return (f'{_metrics_text(values)}, {values["examples"]} examples counted'
          f'{_skipped_text(values)}')


def _metrics_text(values):
  top5 = (f', top-5 {values["top5_accuracy"]:.4f}'
          if 'top5_accuracy' in values else '')
  own = ''.join(f', {name} {value:.4f}' for name, value in values.items()
                if name not in _EVALUATED)
  return (f'accuracy {values["accuracy"]:.4f}{top5}, loss '
          f'{values["loss"]:.4f}{own}')


def _skipped_text(values):
  return (f', {values["skipped_images"]} bad images skipped'
          if 'skipped_images' in values else '')


def input_wait_text(records: Sequence[Mapping[str, Any]]) -> str | None:
  """Returns a warning if the devices have waited for input repeatedly.

  Args:
    records: of the training split, oldest first; see summaries.

  Returns:
    The warning; None if the last log points are fine.
  """
  waits = [r.get('input_wait_fraction', 0.0) for r in records[-_WAITS:]]
  if len(waits) < _WAITS or min(waits) <= _WAIT_FRACTION:
    return None
  return (
      f'warning: at each of the last {_WAITS} log points, at least '
      f'{min(waits):.0%} of the time was spent waiting for input: the host '
      'prepares images more slowly than the devices train on them; run '
      '`python -m pipelines.benchmark` with the same --config and --data_dir '
      'to see what each stage costs and how many cores it needs.')


def summary(written: summaries.Summaries, watch: Stopwatch,
            metric: str) -> dict[str, Any]:
  """Returns the figures of a finished run, for run.json.

  Args:
    written: what the run wrote, at least one evaluation among it.
    watch: the time of this process.
    metric: decides which evaluation is the best.
  """
  evals = written.of('eval')
  best, last = summaries.best(evals, 1, metric)[0], evals[-1]
  speeds = sorted(r['images_per_second'] for r in written.of('train')
                  if 'images_per_second' in r)
  more = {f'{which}{name}': record[name]
          for which, record in (('', last), ('best_', best))
          for name in _MORE if math.isfinite(record.get(name, math.inf))}
  limited = limit.text(written.of('train'))
  return {'step': last['step'], 'best_step': best['step'],
          'best_accuracy': best['accuracy'], 'accuracy': last['accuracy'],
          'examples': last['examples'], **more,
          **({'limit': limited} if limited else {}),
          'images_per_second': speeds[len(speeds) // 2] if speeds else None,
          'seconds': watch.total(), 'time_shares': watch.shares()}


def is_summary(value: Any) -> bool:
  """Returns whether a value, read from a file, is what `summary` returns."""
  if not isinstance(value, dict) or 'images_per_second' not in value:
    return False
  speed, shares = value['images_per_second'], value.get('time_shares')
  return (all(json_file.is_number(value.get(name)) for name in _FIGURES)
          and all(json_file.is_number(value.get(which + name, 0))
                  for which in ('', 'best_') for name in _MORE)
          and isinstance(value.get('limit', ''), str)
          and (speed is None or json_file.is_number(speed))
          and isinstance(shares, dict)
          and all(json_file.is_number(shares.get(name)) for name in _SHARES))


def config_text(config: schema.Config) -> str:
  """Returns the config as a Markdown code block."""
  return json_text(schema.to_dict(config))


def json_text(values: Mapping[str, Any]) -> str:
  """Returns a JSON object as a Markdown code block."""
  return f'```\n{json.dumps(values, indent=2)}\n```'
