"""What a run says in words: at its start, after evaluations, at its end."""
import json

from configs import schema
from resnet.distribution.group import Group
from resnet.run import progress, summaries

_WAITS, _WAIT_FRACTION = 3, 0.1  # Log points, and share of their time.


def replicas(group: Group) -> dict:
  """Returns what trains: {'workers': int, 'devices': [str] of each}."""
  return {'workers': group.count,
          'devices': [device.rpartition('/device:')[2]
                      for device in group.strategy.extended.worker_devices]}


def start_text(config, replicas, step, total_steps, path):
  """One line: what is trained on what, and from where."""
  count = replicas['workers'] * len(replicas['devices'])
  model = config.model.name
  if model == 'resnet':
    model = f'ResNet-{config.model.depth} {config.model.version}'
  start = f'resuming at step {step} of' if step else 'training for'
  return (f'{model} on {config.data.name}, {count} x '
          f'{config.global_batch // count} images a step '
          f'({_replicas_text(replicas)}); '
          f'{start} {total_steps} steps in {path}')


def moved_text(before, now):
  """One line: on what else the run was before."""
  before = f', after {_replicas_text(before)}' if before else ''
  return (f'going on with {_replicas_text(now)}{before}: the same batches and '
          'evaluations, sums rounded in another order')


def values_text(values):
  """An evaluation in a line."""
  top5 = (f', top-5 {values["top5_accuracy"]:.4f}'
          if 'top5_accuracy' in values else '')
  skipped = (f', {values["skipped_images"]} skipped as bad'
             if 'skipped_images' in values else '')
  return (f'accuracy {values["accuracy"]:.4f}{top5}, loss '
          f'{values["loss"]:.4f}, {values["examples"]} examples counted'
          f'{skipped}')


def input_wait_text(records):
  """A warning once the input has held up the devices for some log points.

  Args:
    records: of the training split, oldest first; see summaries.

  Returns:
    str, or None while there is nothing to say.
  """
  waits = [r.get('input_wait_fraction', 0.0) for r in records[-_WAITS:]]
  if len(waits) < _WAITS or min(waits) <= _WAIT_FRACTION:
    return None
  return (
      f'warning: at least {min(waits):.0%} of the time at each of the last '
      f'{_WAITS} log points went to waiting for input: the host prepares '
      'images more slowly than the devices train on them; `python -m '
      'pipelines.benchmark`, with the same --config and --data_dir, tells what '
      'each stage costs and how many cores it takes.')


def summary(written, watch):
  """The figures of a finished run, a dict for run.json.

  Args:
    written: summaries.Summaries with at least one evaluation.
    watch: stopwatch.Stopwatch of this process.
  """
  evals = written.of('eval')
  best, last = summaries.best(evals, 1)[0], evals[-1]
  speeds = sorted(r['images_per_second'] for r in written.of('train')
                  if 'images_per_second' in r)
  return {'step': last['step'], 'best_step': best['step'],
          'best_accuracy': best['accuracy'], 'accuracy': last['accuracy'],
          'examples': last['examples'],
          'images_per_second': speeds[len(speeds) // 2] if speeds else None,
          'seconds': watch.total(), 'time_shares': watch.shares()}


def finished_text(figures, path):
  """What is said where nothing is left to train."""
  return ('This run is finished: nothing to do.\n'
          f'{summary_text(figures, path)}')


def summary_text(figures, path):
  """The last lines of a finished run."""
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
      f'look at it  tensorboard --logdir {path}'])


def stop_text(step, path):
  """The last line of a run that was asked to stop."""
  if not step:
    return 'Stopped before the first step: the same command starts anew.'
  return (f'Stopped at step {step}, saved in {path}: the same command goes on '
          'from there.')


def _replicas_text(replicas):
  names = ', '.join(replicas['devices'])
  several = replicas['workers'] > 1
  return names + f' of each of {replicas["workers"]} workers' * several


def config_text(config):
  """The config as a Markdown code block."""
  return f'```\n{json.dumps(schema.to_dict(config), indent=2)}\n```'
