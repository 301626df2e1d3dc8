"""What follows from a metric of the evaluations: a lower rate, or the end.

Plain Python, the same on every worker. The values live in State.monitor and
State.rate_scale, so that a resumed run goes on as if it had not been stopped.
"""
from collections.abc import Sequence
from typing import NamedTuple

from configs import schema


class Seen(NamedTuple):
  """What the evaluations so far have shown; State.monitor holds these."""
  step: float = 0  # Of the last evaluation; 0: there was none.
  best: float = 0.0
  since_best: float = 0  # Evaluations since the best one.
  since_drop: float = 0  # Since the best one or the last drop of the rate.


def after(seen: Sequence[float], rate_scale: float, step: int, value: float,
          monitor: schema.Monitor) -> tuple[Seen, float]:
  """Takes an evaluation into account.

  Args:
    seen: what was seen before.
    rate_scale: see schedules.reduced.
    step: updates done before the evaluation. One that has been seen, in a run
      that was resumed there, changes nothing.
    value: of the metric.
    monitor: the settings.

  Returns:
    (what has been seen now, the new rate_scale).
  """
  before = Seen(*seen)
  if step <= before.step:
    return before, rate_scale
  if not before.step or is_better(value, before.best, monitor.metric):
    return Seen(step, value), rate_scale
  now = before._replace(step=step, since_best=before.since_best + 1,
                        since_drop=before.since_drop + 1)
  if not monitor.plateau_evals or now.since_drop < monitor.plateau_evals:
    return now, rate_scale
  return now._replace(since_drop=0), rate_scale * monitor.plateau_factor


def ends(seen: Sequence[float], monitor: schema.Monitor) -> bool:
  """Returns whether the run is to end early."""
  return 0 < monitor.stop_evals <= Seen(*seen).since_best


def is_better(value: float, best: float, metric: str) -> bool:
  """Returns whether a value of the metric is better; NaN never is."""
  return value < best if metric == 'loss' else value > best
