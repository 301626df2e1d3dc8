"""Estimates how long a run still takes: training, evaluations and saves.

Each is estimated from what it took in this process, so that the estimate stays
steady: an evaluation that ends takes its own time off it, and a short call
hardly counts. The first call and the first evaluation also compile, and are no
measure for what follows.
"""
from collections.abc import Callable, Iterator
import contextlib
import statistics
import time

from resnet import plan

_HALF_LIFE_SECS = 300.0  # Of training, after which it counts half.
_LEAST_SECS = 1.0  # Of training, before which nothing is estimated.
_RECENT = 10  # Evaluations and saves that count.
_NEVER = plan.every_steps(0)


class TimeLeft:
  """The time that a run still takes."""

  def __init__(self, total_steps: int, *, evals: plan.Every = _NEVER,
               saves: plan.Every = _NEVER, save_every_secs: float = 0.0,
               eval_steps: float = 0.0,
               clock: Callable[[], float] = time.monotonic):
    """Knows nothing yet.

    Args:
      total_steps: updates of the run.
      evals: when it evaluates, apart from its end.
      saves: when it saves, apart from its end.
      save_every_secs: seconds between other saves; 0: none.
      eval_steps: how many updates take about as long as an evaluation, a guess
        until the first two are done.
      clock: returns the time in seconds.
    """
    self._total, self._evals, self._saves = total_steps, evals, saves
    self._save_every_secs, self._eval_steps = save_every_secs, eval_steps
    self._clock = clock
    self._took = {'evaluating': [], 'saving': []}
    self._step, self._at, self._apart = 0, None, 0.0
    self._secs = self._steps = 0.0  # Of training; older ones count less.

  @contextlib.contextmanager
  def phase(self, name: str) -> Iterator[None]:
    """Counts the block as an evaluation ('evaluating') or a save ('saving')."""
    began = self._clock()
    yield
    took = self._clock() - began
    self._took[name].append(took)
    self._apart += took

  def trained(self, step: int) -> None:
    """Notes that `step` updates are done."""
    now, steps = self._clock(), step - self._step
    if self._at is not None and steps > 0:
      secs = now - self._at - self._apart
      kept = 0.5 ** (secs / _HALF_LIFE_SECS)
      self._secs = kept * self._secs + secs
      self._steps = kept * self._steps + steps
    self._step, self._at, self._apart = step, now, 0.0

  def __call__(self) -> float | None:
    """Returns seconds, from the last `trained` on; None: not known yet."""
    if self._secs < _LEAST_SECS:
      return 0.0 if self._step >= self._total else None
    step_secs = self._secs / self._steps
    training = (self._total - self._step) * step_secs
    saves = _count(self._saves, self._step, self._total)
    if self._save_every_secs:
      saves += training / self._save_every_secs
    return (training
            + _count(self._evals, self._step, self._total)
            * self._eval_secs(step_secs) + saves * self._save_secs())

  def _eval_secs(self, step_secs):
    first, later = self._took['evaluating'][:1], self._took['evaluating'][1:]
    if later:
      return statistics.fmean(later[-_RECENT:])
    return min([self._eval_steps * step_secs, *first])

  def _save_secs(self):
    took = self._took['saving'][-_RECENT:]
    return statistics.fmean(took) if took else 0.0


def _count(every, step, total):
  """Returns how often an event comes from step to total, both included.

  What is due at `step` comes after its update. The end of a run has each.
  """
  period = every.period
  if not period:
    return 1
  return (total // period - (step - 1) // period
          + (not every.due(total)))


def duration(seconds: float) -> str:
  """Formats seconds as '1:02:03' or '2:03'."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return (f'{hours}:{minutes:02}:{seconds:02}' if hours
          else f'{minutes}:{seconds:02}')
