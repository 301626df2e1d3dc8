"""Measures where the time of a run goes."""
from collections.abc import Callable, Iterator
import contextlib
import time
from typing import NamedTuple


class Lap(NamedTuple):
  """Seconds of a part of a run, without its start-up."""
  training: float
  input_wait: float  # Of the training.
  evaluation: float
  checkpoints: float

  @property
  def seconds(self) -> float:
    """All of it."""
    return self.training + self.evaluation + self.checkpoints


class Stopwatch:
  """Seconds by activity; time that belongs to no activity is training.

  `input_wait` is a part of training; the other activities are not.
  """

  def __init__(self, clock: Callable[[], float] = time.monotonic):
    """Starts the watch.

    Args:
      clock: returns the time in seconds.
    """
    self._clock, self._start, self._lap = clock, clock(), clock()
    self.seconds = {'start_up': 0.0, 'evaluation': 0.0, 'checkpoints': 0.0,
                    'input_wait': 0.0}
    self._at_lap = dict(self.seconds)

  @contextlib.contextmanager
  def activity(self, name: str) -> Iterator[None]:
    """Counts the time in the block as that of an activity."""
    before = self._clock()
    try:
      yield
    finally:
      self.add(name, self._clock() - before)

  def add(self, name: str, seconds: float) -> None:
    """Adds seconds to an activity.

    Raises:
      KeyError: there is no such activity.
    """
    self.seconds[name] += seconds

  def lap(self) -> Lap:
    """Ends a lap, and returns what the time since the last one went into."""
    now, spent = self._clock(), {
        name: self.seconds[name] - self._at_lap[name] for name in self.seconds}
    waited = spent.pop('input_wait')
    training = now - self._lap - sum(spent.values())
    self._lap, self._at_lap = now, dict(self.seconds)
    return Lap(training, waited, spent['evaluation'], spent['checkpoints'])

  def total(self) -> float:
    """Returns the seconds since the watch was started."""
    return self._clock() - self._start

  def shares(self) -> dict[str, float]:
    """Returns the share of each activity in all time so far.

    'training' is all that the other activities leave; 'input_wait' is a part of
    it.
    """
    total = max(self.total(), 1e-9)
    shares = {name: s / total for name, s in self.seconds.items()}
    shares['training'] = 1 - sum(
        share for name, share in shares.items() if name != 'input_wait')
    return shares
