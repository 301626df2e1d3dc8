"""Which updates of a run --profile_steps profiles.

Plain Python: all workers cut their calls at the same steps, whether they
profile or not.
"""
from collections.abc import Callable
import math
from typing import NamedTuple

from configs.process.errors import UserError


class Span(NamedTuple):
  """The updates that follow step `first`, up to step `last`.

  The call that compiles is not recorded. It is the first one of a process, and
  the first one of each image size; `compiles` tells of a step whether one
  begins there. In the span, such a call makes one update.
  """
  first: int
  last: int

  def check(self, total_steps: int) -> None:
    """Checks a span against the length of the run.

    Raises:
      UserError: the run ends before the span, or nothing can be recorded.
    """
    if self.last > total_steps:
      allowed = (f'give at most {max(total_steps - 10, 1)}:{total_steps}'
                 if total_steps > 1 else 'leave it out')
      raise UserError(
          f'{self} goes beyond the run, which ends after step {total_steps}: '
          f'{allowed}.')
    if self.last == 1:
      raise UserError(
          f'{self} asks for the first update alone, which compiles and is '
          'therefore not profiled: give 1:2, or a longer span.')

  def after(self, step: int, compiles: Callable[[int], bool]) -> float:
    """Returns the next step after `step` at which a call ends, or math.inf."""
    if not step < self.last:
      return math.inf
    if step < self.first:
      return self.first
    return step + 1 if compiles(step) else self.last

  def records(self, step: int, compiles: Callable[[int], bool]) -> bool:
    """Returns whether to record the call that begins at a step."""
    return self.first <= step < self.last and not compiles(step)

  def starts(self, step: int) -> int:
    """Returns where a process records from that continues from a step."""
    return max(self.first, step + 1)

  def __str__(self) -> str:
    return f'--profile_steps={self.first}:{self.last}'
