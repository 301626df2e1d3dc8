"""How long the updates of a run take, one host call at a time."""


class StepTimes:
  """The host calls since the last reset, with their updates and seconds.

  A call makes several updates and is waited for once, so that each of its
  updates counts as long as their mean. Where a call makes a single update, as
  with large networks, these are the times of the updates themselves; where a
  call makes a hundred, a slow one among them does not show.
  """

  def __init__(self):
    self._calls: list[tuple[float, int]] = []

  def add(self, steps: int, seconds: float) -> None:
    """Adds a call of at least one update."""
    self._calls.append((seconds / steps, steps))

  def reset(self) -> None:
    """Starts anew."""
    self._calls.clear()

  def quantile(self, part: float) -> float:
    """Returns the seconds that `part` of the updates take at most.

    Args:
      part: in (0, 1]; 0.5 is the median.

    Raises:
      ValueError: there was no call.
    """
    if not self._calls:
      raise ValueError('There was no call since the last reset.')
    left = part * sum(steps for _, steps in self._calls)
    for seconds, steps in sorted(self._calls):
      left -= steps
      if left <= 1e-9:  # Rounding of part * steps.
        return seconds
    return max(self._calls)[0]

  def __bool__(self) -> bool:
    """Returns whether there was a call."""
    return bool(self._calls)
