"""A clock that never goes back: where it would, it counts on from before."""
from collections.abc import Callable
import time


class ForwardClock:
  """Returns the Unix time in seconds, whatever the machine's clock does.

  Attributes:
    last: what it returned last.
  """

  def __init__(self, clock: Callable[[], float], last: float):
    """Starts the clock.

    Args:
      clock: returns the Unix time in seconds; may go back.
      last: what may not be gone back behind.
    """
    self._clock, self.last, self._read_at = clock, last, time.monotonic()

  def __call__(self) -> float:
    """Returns the time, never less than before."""
    now, passed = self._clock(), time.monotonic() - self._read_at
    self.last = now if now >= self.last else self.last + passed
    self._read_at += passed
    return self.last

  def start_from(self, last: float) -> None:
    """Makes it go on from `last`, if it would go on from earlier."""
    self.last = max(self.last, last)
