"""Measures what a log point costs the training loop.

Host calls of equally many updates alternate: one ends at a log point, with the
figures of its last update and all that is written, and one does not.
"""
from collections.abc import Callable
import contextlib
import io
import statistics
import tempfile
import time

import tensorflow as tf

from configs import schema
from resnet import loop
from resnet.execution.options import Options

_WARM_UP_CALLS = 4  # The first two trace; all are left out.


class Calls:
  """Times the host calls of a training loop.

  Attributes:
    secs: of each call, with what follows it until the next one begins.
  """

  def __init__(self, count: int, clock: Callable[[], float] = time.monotonic):
    """Prepares the measurement.

    Args:
      count: calls to time, after the first few.
      clock: returns the time in seconds.
    """
    self.secs: list[float] = []
    self._count, self._clock = count + _WARM_UP_CALLS, clock
    self._last_step, self._began = 0, 0.0

  def after_call(self, step: int) -> bool:
    """Notes the time when the training loop asks whether to stop.

    Args:
      step: updates done.

    Returns:
      Whether all calls are done.
    """
    now = self._clock()
    if step != self._last_step:
      self.secs.append(now - self._began)
    self._last_step, self._began = step, now
    return len(self.secs) >= self._count

  def pairs(self) -> list[tuple[float, float]]:
    """Returns the seconds of (a call without, the next with a log point)."""
    timed = self.secs[_WARM_UP_CALLS:]
    return list(zip(timed[::2], timed[1::2]))


def measure(config: schema.Config, strategy: tf.distribute.Strategy,
            options: Options, *, steps: int, rounds: int
            ) -> tuple[float, float]:
  """Returns (seconds of a log point, seconds of an update): medians of rounds.

  Args:
    config: what is trained, for longer than this takes.
    strategy: the devices.
    options: how the loop executes; evaluations and checkpoints are left out.
    steps: updates of each call.
    rounds: pairs of calls.
  """
  calls = Calls(2 * rounds)
  with (tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stderr(io.StringIO())):
    loop.train_and_evaluate(
        config, strategy, f'{folder}/run', options._replace(
            steps_per_call=steps, log_every_steps=2 * steps,
            eval_every_epochs=0, save_every_secs=0),
        stop_requested=calls.after_call)
  pairs = calls.pairs()
  return (statistics.median(logged - plain for plain, logged in pairs),
          statistics.median(plain / steps for plain, _ in pairs))
