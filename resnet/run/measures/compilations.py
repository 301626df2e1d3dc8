"""How often this process has traced and compiled something, and how long.

TensorFlow keeps figures of its own in C++, which Python cannot read. So each
host call is looked at: one that traces its function is counted, with all that
it takes: tracing, optimizing the graph, compiling with XLA where that is used,
and the few updates of the call.
"""
from collections.abc import Callable
import time
from typing import Any

_calls: list[float] = []  # Seconds of each of those of this process.


class Timed:
  """A tf.function whose calls are looked at, for microseconds each."""

  def __init__(self, function: Any,
               clock: Callable[[], float] = time.monotonic):
    """Wraps a function.

    Args:
      function: what tf.function returns.
      clock: returns the time in seconds.
    """
    self._function, self._clock = function, clock
    self.get_concrete_function = function.get_concrete_function

  def __call__(self, *arguments) -> Any:
    """Calls the function, and notes whether it was traced."""
    before = self._function.experimental_get_tracing_count()
    started = self._clock()
    results = self._function(*arguments)
    if self._function.experimental_get_tracing_count() > before:
      _calls.append(self._clock() - started)
    return results


def figures() -> dict[str, float]:
  """Returns {'compilations', 'compile_secs'} of this process so far."""
  return {'compilations': len(_calls), 'compile_secs': sum(_calls)}
