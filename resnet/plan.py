"""When things happen in a run: here, and only here, epochs become steps.

Plain Python on exact fractions. All processes of a run have the same plan, and
so has the same run after a restart.
"""
from collections.abc import Sequence
import fractions
import math
from typing import NamedTuple

from configs import schema
from configs.process.errors import UserError

_FINEST = 10**9  # Parts of an epoch that are told apart.
_FEW = 100  # Updates: fewer train no network from random weights.
_CALL_SECS = 1.0  # A stop signal and the progress line wait for one call.


class Every(NamedTuple):
  """A recurring event, due after ceil(k * period) steps for k = 1, 2, ..."""
  period: fractions.Fraction  # Steps; 0: never.

  def due(self, step: int) -> bool:
    """Returns whether the event is due once `step` updates are done."""
    return bool(self.period) and step > 0 and self.after(step - 1) == step

  def after(self, step: int) -> int | float:
    """Returns the next step after `step` at which it is due, or math.inf."""
    if not self.period:
      return math.inf
    # ceil(k * period) > step is k * period > step.
    return math.ceil((step // self.period + 1) * self.period)


def check(config: schema.Config, train_size: int) -> None:
  """Checks what only the size of the data set can tell.

  Args:
    config: checked by itself.
    train_size: examples of the training split.

  Raises:
    UserError: the run has more positions than random numbers can be keyed by.
  """
  total = total_steps(config, train_size)
  if total * config.global_batch > schema.MOST_POSITIONS:
    raise UserError(
        f'config.train_epochs={config.train_epochs:g} takes more than '
        f'{schema.MOST_POSITIONS} images: give at most '
        f'{schema.MOST_POSITIONS // train_size - 1}.')


def warning(config: schema.Config, train_size: int) -> str | None:
  """Returns a sentence on what is allowed but hardly meant, or None.

  A run may be shortened to try it: a warm-up longer than that is no error. Nor
  are few updates, which the user may have asked for as config.train_steps.
  """
  total, warmup = total_steps(config, train_size), warmup_steps(
      config, train_size)
  if config.global_batch > train_size:
    return (f'config.global_batch={config.global_batch} is larger than the '
            f'training split (examples: {train_size}): an update sees some '
            f'images several times, and the run has {_count(total)}; give '
            f'{_longer(config, train_size)}, say.')
  if total < _FEW and config.train_epochs:
    return (f'the run has only {_count(total)} of {config.global_batch} images '
            f'(config.train_epochs={config.train_epochs:g} passes over '
            f'{train_size}), too few to learn much; give '
            f'{_longer(config, train_size)}, say.')
  if warmup <= total:
    return None
  return (f'config.schedule.warmup_epochs={config.schedule.warmup_epochs:g} is '
          f'{warmup} steps, longer than the run of {total}: the learning rate '
          'will not reach its peak.')


def _count(updates):
  return f'{updates} update{"s" if updates > 1 else ""}'


def _longer(config, train_size):
  """Returns flags that make a run of enough updates: a batch, perhaps epochs.
  """
  # An epoch has about as many updates as a batch has images.
  batch = min(config.global_batch, 2 ** round(math.log2(train_size) / 2))
  words = [f'--config.global_batch={batch}']
  if config.train_epochs and config.train_epochs * train_size < _FEW * batch:
    words.append(f'--config.train_epochs={-(-_FEW * batch // train_size)}')
  return ' '.join(words if batch < config.global_batch else words[1:])


def total_steps(config: schema.Config, train_size: int) -> int:
  """Returns the updates of the run; epochs are rounded up to whole updates."""
  if config.train_steps:
    return config.train_steps
  return math.ceil(_steps(config.train_epochs, config, train_size))


def warmup_steps(config: schema.Config, train_size: int) -> int:
  """Returns the updates over which the learning rate rises."""
  return math.ceil(_steps(config.schedule.warmup_epochs, config, train_size))


def phase(step: int, sizes: Sequence[int], total: int) -> tuple[int, int]:
  """Returns the image size at a step, if each of `sizes` has an equal share.

  Args:
    step: updates done, in [0, total).
    sizes: pixels a side, in order; not empty.
    total: updates of the run.

  Returns:
    (size, the first step that has another size).
  """
  ends = [math.ceil(fractions.Fraction(total * i, len(sizes)))
          for i in range(1, len(sizes) + 1)]
  return next((size, end) for size, end in zip(sizes, ends) if step < end)


def epoch(step: int, config: schema.Config, train_size: int) -> float:
  """Returns the passes over the training split after `step` updates."""
  return step * config.global_batch / train_size


def every_steps(steps: int) -> Every:
  """Returns the event that is due every `steps` updates; 0: never."""
  return Every(fractions.Fraction(steps))


def every_epochs(epochs: float, config: schema.Config,
                 train_size: int) -> Every:
  """Returns the event that is due every `epochs` epochs; 0: never."""
  return Every(_steps(epochs, config, train_size))


def steps_of_next_call(steps: int, seconds: float, most: int = 100) -> int:
  """Returns how many updates the next host call should make.

  It grows while calls are shorter than about a second, so that the host does
  not slow small models down, and shrinks for models whose steps take long.

  Args:
    steps: updates of the last call.
    seconds: how long they took.
    most: the largest number to return.
  """
  per_step = max(seconds, 1e-6) / steps
  return max(1, min(most, 2 * steps, int(_CALL_SECS / per_step)))


def _steps(epochs, config, train_size):
  # 0.1 means 1/10; the float is slightly larger, and ceil would add a step.
  exact = fractions.Fraction(epochs).limit_denominator(_FINEST)
  if epochs and not exact:  # 0 would mean never.
    exact = fractions.Fraction(1, _FINEST)
  return exact * train_size / config.global_batch
