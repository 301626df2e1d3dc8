"""Shows how far a run is: a tqdm bar on a terminal, plain lines elsewhere."""
from collections.abc import Callable
import sys
import time
from typing import TextIO

import tqdm


class Progress:
  """Shows step, epoch, loss, accuracy, images/s and the time left."""

  def __init__(self, total_steps: int, first_step: int,
               stream: TextIO | None = None, every_secs: float = 10.0,
               clock: Callable[[], float] = time.monotonic):
    """Starts the bar, if the stream is a terminal.

    Args:
      total_steps: updates of the run.
      first_step: updates done before this process.
      stream: where to write; None: stderr.
      every_secs: seconds between plain lines.
      clock: returns the time in seconds.
    """
    self._stream = stream or sys.stderr
    self._total, self._first, self._clock = total_steps, first_step, clock
    self._every_secs, self._start, self._last = every_secs, clock(), clock()
    self._bar = None
    if self._stream.isatty():
      self._bar = tqdm.tqdm(
          total=total_steps, initial=first_step, unit='step',
          file=self._stream, dynamic_ncols=True)

  def show(self, step: int, *, epoch: float, loss: float, accuracy: float,
           images_per_second: float) -> None:
    """Shows the state after `step` updates; a plain line only if one is due."""
    now = self._clock()
    if self._bar is not None:
      self._bar.update(step - self._bar.n)
      self._bar.set_postfix_str(
          f'epoch {epoch:.2f} loss {loss:.4f} accuracy {accuracy:.4f} '
          f'{images_per_second:.0f} images/s')
    elif now - self._last >= self._every_secs or step == self._total:
      self._last = now
      done = max(step - self._first, 1)
      left = (self._total - step) * (now - self._start) / done
      self.say(
          f'step {step}/{self._total}  epoch {epoch:.2f}  loss {loss:.4f}  '
          f'accuracy {accuracy:.4f}  {images_per_second:.0f} images/s  '
          f'{duration(left)} left')

  def say(self, text: str) -> None:
    """Prints a line above the bar."""
    if self._bar is not None:
      self._bar.clear()
    print(text, file=self._stream, flush=True)
    if self._bar is not None:
      self._bar.refresh()

  def close(self) -> None:
    """Ends the bar."""
    if self._bar is not None:
      self._bar.close()


def duration(seconds: float) -> str:
  """Formats seconds as '1:02:03' or '2:03'."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return (f'{hours}:{minutes:02}:{seconds:02}' if hours
          else f'{minutes}:{seconds:02}')
