"""When things happen in a run: epochs become steps here, once.

Plain Python on exact fractions, so that every process of a run, and the same
run after a restart, has the same plan.
"""
import fractions
import math
from typing import NamedTuple

_CALL_SECS = 1.0  # A stop signal and the progress line wait for one call.


class Every(NamedTuple):
  """A recurring event, due after ceil(k * period) steps for k = 1, 2, ..."""
  period: fractions.Fraction  # Steps; 0: never.

  def due(self, step):
    """Whether the event falls on `step` updates done."""
    return bool(self.period) and step > 0 and self.after(step - 1) == step

  def after(self, step):
    """The first step later than `step` that the event falls on."""
    if not self.period:
      return math.inf
    # ceil(k * period) > step is k * period > step.
    return math.ceil((step // self.period + 1) * self.period)


def total_steps(config, train_size):
  """Updates of the run; a last epoch's remainder is one more update."""
  if config.train_steps:
    return config.train_steps
  return math.ceil(_steps(config.train_epochs, config, train_size))


def warmup_steps(config, train_size):
  """Updates over which the learning rate rises."""
  return math.ceil(_steps(config.schedule.warmup_epochs, config, train_size))


def phase(step, sizes, total):
  """The image size at a step when each of `sizes` has an equal part of the run.

  Args:
    step: int in [0, total).
    sizes: tuple, not empty.
    total: int, updates of the run.

  Returns:
    (size, step before which it ends).
  """
  ends = [math.ceil(fractions.Fraction(total * i, len(sizes)))
          for i in range(1, len(sizes) + 1)]
  return next((size, end) for size, end in zip(sizes, ends) if step < end)


def epoch(step, config, train_size):
  """Passes over the training split after `step` updates, a float."""
  return step * config.global_batch / train_size


def every_steps(steps):
  """Every so many updates; 0 is never."""
  return Every(fractions.Fraction(steps))


def every_epochs(epochs, config, train_size):
  """Every so many passes over the training split; 0 is never."""
  return Every(_steps(epochs, config, train_size))


def steps_of_next_call(steps, seconds, most=100):
  """Updates of the next host call, given those of the last and its seconds.

  Grows while calls are shorter than about a second, so that small models are
  not slowed by the host, and shrinks for models whose steps are long.
  """
  per_step = max(seconds, 1e-6) / steps
  return max(1, min(most, 2 * steps, int(_CALL_SECS / per_step)))


def _steps(epochs, config, train_size):
  # 0.1 is meant as 1/10; the float lies above it, and ceil would add a step.
  epochs = fractions.Fraction(epochs).limit_denominator(10**9)
  return epochs * train_size / config.global_batch
