"""The line that tells how far a run is: tqdm on a terminal, else plain."""
import sys
import time

import tqdm


class Progress:
  """Shows step, epoch, loss, accuracy, images/s and the time that remains."""

  def __init__(self, total_steps, first_step, stream=None, every_secs=10.0,
               clock=time.monotonic):
    """Args:
      total_steps: int, of the run.
      first_step: int, done before this process.
      stream: text stream; None: stderr.
      every_secs: seconds between plain lines.
      clock: -> seconds.
    """
    self._stream = stream or sys.stderr
    self._total, self._first, self._clock = total_steps, first_step, clock
    self._every_secs, self._start, self._last = every_secs, clock(), clock()
    self._bar = None
    if self._stream.isatty():
      self._bar = tqdm.tqdm(
          total=total_steps, initial=first_step, unit='step',
          file=self._stream, dynamic_ncols=True)

  def show(self, step, *, epoch, loss, accuracy, images_per_second):
    """Shows the state after `step` updates; plain lines only when due."""
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

  def say(self, text):
    """Prints a line of its own without tearing the bar."""
    if self._bar is not None:
      self._bar.clear()
    print(text, file=self._stream, flush=True)
    if self._bar is not None:
      self._bar.refresh()

  def close(self):
    if self._bar is not None:
      self._bar.close()


def duration(seconds):
  """'1:02:03' or '2:03'."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return (f'{hours}:{minutes:02}:{seconds:02}' if hours
          else f'{minutes}:{seconds:02}')
