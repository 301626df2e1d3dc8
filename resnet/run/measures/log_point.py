"""The figures of a log point: what was learned, how, and how fast."""
from collections.abc import Mapping
from typing import Any

from resnet.run.measures import compilations, memory, update_figures


def figures(run: Any, means: Mapping[str, float], first: int
            ) -> dict[str, float]:
  """Returns {name: number} of the updates since the last log point.

  Args:
    run: the session.Session.
    means: see trainer.Train.means.
    first: step of the last log point.
  """
  step, values = run.step, dict(means)
  images = (step - first) * run.config.global_batch
  skipped = images - values.pop('images')
  if run.options.reading.skip_bad_images:
    values['skipped_images'] = skipped
  returns = int(run.state.recovery.numpy()[0])
  if returns:
    values['recoveries'] = returns
  if run.options.log_positions:
    values['positions'] = run.train.digest()
  return {**values, 'learning_rate': run.train.learning_rate(step - 1),
          'epoch': run.epoch(step), **update_figures.figures(run),
          **_speed(run), **_machine(run)}


def _speed(run):
  """Returns the speed since the last log point; nothing if no step was timed.
  """
  lap, steps = run.watch.lap(), run.step - run.lap_step
  run.lap_step = run.step
  if not steps:
    return {}
  speed = steps * run.config.global_batch / lap.training
  values = {
      'images_per_second': speed,
      'images_per_second_device':
          speed / run.group.strategy.num_replicas_in_sync,
      'step_milliseconds': 1000 * lap.training / steps,
      'input_wait_fraction': lap.input_wait / lap.training,
      'evaluation_fraction': lap.evaluation / lap.seconds,
      'checkpoint_fraction': lap.checkpoints / lap.seconds,
      **run.machine_use.figures(run.step - steps, run.step, lap.training)}
  if run.step_times:
    values['step_milliseconds_median'] = 1000 * run.step_times.quantile(0.5)
    values['step_milliseconds_p99'] = 1000 * run.step_times.quantile(0.99)
  run.step_times.reset()
  return values


def _machine(run):
  """Returns the memory and the compilations of this process."""
  return {**memory.figures(run.group.strategy.extended.worker_devices),
          **compilations.figures()}
