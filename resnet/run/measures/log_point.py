"""The figures of a log point: what was learned, how, and how fast."""
from collections.abc import Mapping
from typing import Any


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
          'epoch': run.epoch(step), **_speed(run)}


def _speed(run):
  """Returns the speed since the last log point; nothing if no step was timed.
  """
  seconds, waited = run.watch.lap()
  steps = run.step - run.lap_step
  run.lap_step = run.step
  if not steps:
    return {}
  return {'images_per_second': steps * run.config.global_batch / seconds,
          'step_milliseconds': 1000 * seconds / steps,
          'input_wait_fraction': waited / seconds}
