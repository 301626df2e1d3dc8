"""The texts of a run: at its start, after evaluations and at its end."""
from collections.abc import Mapping, Sequence
import json
import os
import re
from typing import Any, TYPE_CHECKING

from configs import schema
from configs.process import json_file
from resnet.run import summaries
from resnet.run.measures.stopwatch import Stopwatch
from resnet.run.screen import progress

if TYPE_CHECKING:
  from resnet.distribution.group import Group

_WAITS, _WAIT_FRACTION = 3, 0.1  # Log points, and share of their time.
# Of surroundings.differences: a flag whose value was known.
_FLAG_CHANGE = re.compile('(--[a-z_]+): (?!not set)(.*) -> ')
_FIGURES = ('step', 'best_step', 'best_accuracy', 'accuracy', 'examples',
            'seconds')
# What every evaluation may have; the rest are the recipe's own metrics.
_EVALUATED = ('accuracy', 'top5_accuracy', 'loss', 'examples', 'skipped_images',
              'epoch', 'split', 'step', 'time')
_SHARES = ('training', 'input_wait', 'evaluation', 'checkpoints', 'start_up')


def replicas(group: 'Group') -> dict[str, Any]:
  """Returns what trains: {'workers': int, 'devices': [str] of each}."""
  return {'workers': group.count,
          'devices': [device.rpartition('/device:')[2]
                      for device in group.strategy.extended.worker_devices]}


def start_text(config: schema.Config, replicas: Mapping[str, Any], step: int,
               total_steps: int, path: str | os.PathLike) -> str:
  """Returns one line: what is trained on what, and from which step.

  Args:
    config: what is trained.
    replicas: what it is trained on, see `replicas`.
    step: updates done.
    total_steps: updates of the run.
    path: of the run folder.
  """
  count = replicas['workers'] * len(replicas['devices'])
  model = config.model.name
  if model == 'resnet':
    model = f'ResNet-{config.model.depth} {config.model.version}'
  start = f'resuming at step {step} of' if step else 'training for'
  return (f'{model} on {config.data.name}, {count} x '
          f'{config.global_batch // count} images per step '
          f'({_replicas_text(replicas)}); '
          f'{start} {total_steps} steps in {path}')


def frozen_text(config: schema.Config, trained: int) -> str:
  """Returns one line for a run of which parts are frozen.

  Args:
    config: what is trained.
    trained: numbers that training changes, without batch norm's statistics.
  """
  return (f'frozen: {", ".join(config.finetune.frozen)}; {trained:,} weights '
          'are trained')


def moved_text(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
  """Returns one line for a run that is resumed on other devices.

  Args:
    before: what the run was last trained on, see `replicas`; None: unknown.
    now: what it is trained on now.
  """
  if before is None:
    return (f'continuing on {_replicas_text(now)}: what it was trained on '
            'before is not known, so that sums may be rounded in another order')
  return (f'continuing on {_replicas_text(now)} (before: '
          f'{_replicas_text(before)}): batches and evaluations stay the same, '
          'but sums are rounded in another order')


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


def values_text(values: Mapping[str, float]) -> str:
  """Returns the result of an evaluation, see evaluator.Evaluate, as one line.
  """
  top5 = (f', top-5 {values["top5_accuracy"]:.4f}'
          if 'top5_accuracy' in values else '')
  skipped = (f', {values["skipped_images"]} bad images skipped'
             if 'skipped_images' in values else '')
  own = ''.join(f', {name} {value:.4f}' for name, value in values.items()
                if name not in _EVALUATED)
  return (f'accuracy {values["accuracy"]:.4f}{top5}, loss '
          f'{values["loss"]:.4f}{own}, {values["examples"]} examples counted'
          f'{skipped}')


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
  return {'step': last['step'], 'best_step': best['step'],
          'best_accuracy': best['accuracy'], 'accuracy': last['accuracy'],
          'examples': last['examples'],
          'images_per_second': speeds[len(speeds) // 2] if speeds else None,
          'seconds': watch.total(), 'time_shares': watch.shares()}


def is_summary(value: Any) -> bool:
  """Returns whether a value, read from a file, is what `summary` returns."""
  if not isinstance(value, dict) or 'images_per_second' not in value:
    return False
  speed, shares = value['images_per_second'], value.get('time_shares')
  return (all(json_file.is_number(value.get(name)) for name in _FIGURES)
          and (speed is None or json_file.is_number(speed))
          and isinstance(shares, dict)
          and all(json_file.is_number(shares.get(name)) for name in _SHARES))


def finished_text(figures: Mapping[str, Any], path: str | os.PathLike) -> str:
  """Returns what to print if there is nothing left to train."""
  return ('This run is finished; there is nothing left to train.\n'
          f'{summary_text(figures, path)}')


def summary_text(figures: Mapping[str, Any], path: str | os.PathLike) -> str:
  """Returns the last lines of a finished run.

  Args:
    figures: see `summary`.
    path: of the run folder.
  """
  shares = figures['time_shares']
  speed = figures['images_per_second']
  return '\n'.join([
      f'accuracy    last {figures["accuracy"]:.4f}, best '
      f'{figures["best_accuracy"]:.4f} at step {figures["best_step"]}; '
      f'{figures["examples"]} examples counted',
      f'speed       {f"{speed:.0f} images/s" if speed else "not measured"}'
      ' (median of the log points)',
      f'time        {progress.duration(figures["seconds"])}: '
      f'{shares["training"]:.0%} training ({shares["input_wait"]:.1%} waiting '
      f'for input), {shares["evaluation"]:.0%} evaluation, '
      f'{shares["checkpoints"]:.0%} checkpoints, '
      f'{shares["start_up"]:.0%} start-up',
      f'run folder  {path}',
      f'view with   tensorboard --logdir {path}'])


def stop_text(step: int, path: str | os.PathLike) -> str:
  """Returns the last line of a run that was asked to stop.

  Args:
    step: updates done.
    path: of the run folder.
  """
  if not step:
    return 'Stopped before the first step. Rerun the same command to start.'
  return (f'Stopped at step {step}, saved in {path}. Rerun the same command to '
          'continue from there.')


def config_text(config: schema.Config) -> str:
  """Returns the config as a Markdown code block."""
  return json_text(schema.to_dict(config))


def json_text(values: Mapping[str, Any]) -> str:
  """Returns a JSON object as a Markdown code block."""
  return f'```\n{json.dumps(values, indent=2)}\n```'


def _replicas_text(replicas):
  names = ', '.join(replicas['devices'])
  several = replicas['workers'] > 1
  return names + f' of each of {replicas["workers"]} workers' * several
