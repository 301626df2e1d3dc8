"""Rounds in which the training loop and other training steps take turns.

In every round each of them makes the same number of updates, one after another,
so a machine whose speed drifts slows all of them down. Nothing is traced or
compiled while a clock runs.
"""
from collections.abc import Callable, Sequence
import time
from typing import NamedTuple

from configs.process import host_memory

_WARM_UP_STEPS = 3  # The first one traces and compiles.


class Cost(NamedTuple):
  """What a block of updates took."""
  steps: int
  secs: float
  cpu_secs: float  # Of all threads of the process that made them.


Clocks = Callable[[], tuple[float, float]]  # (seconds, CPU-seconds)


def read_clocks() -> tuple[float, float]:
  """Returns (seconds, CPU-seconds of this process) since some moment."""
  return time.perf_counter(), time.process_time()


def timed(run: Callable[[int], object],
          clocks: Clocks = read_clocks) -> Callable[[int], Cost]:
  """Returns a function that makes updates in this process and times them.

  Args:
    run: makes this many updates, and waits for the devices.
    clocks: see read_clocks.
  """
  def measure(steps):
    host_memory.keep_freed()  # As the training loop does before every call.
    started = clocks()
    run(steps)
    return _cost(steps, started, clocks())
  return measure


class Rounds:
  """Times the calls of the training loop, and the others between them.

  Attributes:
    costs: of each round so far: the training loop's, then the others'.
  """

  def __init__(self, others: Sequence[Callable[[int], Cost]], count: int,
               block_secs: float, clocks: Clocks = read_clocks):
    """Prepares the measurement.

    Args:
      others: each makes a number of updates and returns what they took.
      count: rounds to measure.
      block_secs: shortest duration of a block of the training loop.
      clocks: see read_clocks.
    """
    self.costs: list[tuple[Cost, ...]] = []
    self._others, self._count = others, count
    self._block_secs, self._clocks = block_secs, clocks
    self._last_step, self._is_warm = 0, False
    # Updates done and clocks when the block of the training loop began; None:
    # the next call is not timed.
    self._begun: tuple[int, tuple[float, float]] | None = None

  def after_call(self, step: int) -> bool:
    """Measures, when the training loop asks between calls whether to stop.

    Args:
      step: updates done. Where the loop asks several times with the same
        number, as during an evaluation, nothing was trained.

    Returns:
      Whether all rounds are done.
    """
    now = self._clocks()
    if len(self.costs) == self._count:
      return True
    if step == self._last_step:
      return False
    self._last_step = step
    if not self._is_warm:  # The call until now traced and compiled.
      for other in self._others:
        other(_WARM_UP_STEPS)
      self._is_warm = True
    elif not self._begun:
      # The call until now trained on batches that were made during the pause.
      self._begun = step, self._clocks()
    else:
      self._end_block(step, now, *self._begun)
    return len(self.costs) == self._count

  def _end_block(self, step, now, first_step, started):
    loop = _cost(step - first_step, started, now)
    if loop.secs >= self._block_secs:
      self.costs.append(
          (loop, *(other(loop.steps) for other in self._others)))
      self._begun = None


def _cost(steps, started, ended):
  return Cost(steps, ended[0] - started[0], ended[1] - started[1])
