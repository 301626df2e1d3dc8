"""Where the time of a run goes."""
import contextlib
import time


class Stopwatch:
  """Seconds by activity; what belongs to none is training."""

  def __init__(self, clock=time.monotonic):
    """Args: clock -> seconds."""
    self._clock, self._start, self._lap = clock, clock(), clock()
    self.seconds = {'start_up': 0.0, 'evaluation': 0.0, 'checkpoints': 0.0,
                    'input_wait': 0.0}
    self._at_lap = dict(self.seconds)

  @contextlib.contextmanager
  def activity(self, name):
    """Counts the time inside as that of `name`."""
    before = self._clock()
    try:
      yield
    finally:
      self.add(name, self._clock() - before)

  def add(self, name, seconds):
    self.seconds[name] += seconds

  def lap(self):
    """(seconds of training since the last lap, seconds of it in input wait)."""
    now, spent = self._clock(), {
        name: self.seconds[name] - self._at_lap[name] for name in self.seconds}
    waited = spent.pop('input_wait')
    training = now - self._lap - sum(spent.values())
    self._lap, self._at_lap = now, dict(self.seconds)
    return training, waited

  def total(self):
    """Seconds since the watch was made."""
    return self._clock() - self._start

  def shares(self):
    """Share of all time so far by activity, and the rest as 'training'."""
    total = max(self.total(), 1e-9)
    shares = {name: s / total for name, s in self.seconds.items()}
    shares['training'] = 1 - sum(
        share for name, share in shares.items() if name != 'input_wait')
    return shares
