"""Shows how far a run is: a bar on a terminal, lines with their time elsewhere.

  with Progress(total_steps, first_step) as shown:
    shown.note('compiling')
    shown.show(step, epoch=..., ...)
    with shown.phase('evaluating'): ...
    shown.say('accuracy 0.93')

Times are local, with their offset from UTC (ISO 8601), as other logs on that
machine have them; logs of several machines can still be put in order.
"""
from collections.abc import Callable, Iterator, Mapping
import contextlib
import datetime
import os
import sys
import time
from typing import Any, TextIO

from resnet.run.screen import bar, terminal
from resnet.run.screen.time_left import TimeLeft

# Seconds between lines: a share of the time so far, within limits.
_EVERY_SHARE, _LEAST_SECS, _MOST_SECS = 0.05, 10.0, 300.0
_DRAW_SECS = 0.1  # Between two drawings of the bar.


class Progress:
  """Shows step, epoch, loss, accuracy, images/s and the time left."""

  def __init__(self, total_steps: int, first_step: int,
               stream: TextIO | None = None, *,
               left: TimeLeft | None = None,
               clock: Callable[[], float] = time.monotonic,
               now: Callable[[], str] | None = None,
               environ: Mapping[str, str] = os.environ):
    """Shows nothing yet.

    Args:
      total_steps: updates of the run.
      first_step: updates done before this process.
      stream: where to write; None: stderr.
      left: estimates the time left; None: from the updates alone.
      clock: returns the time in seconds.
      now: returns the time of the day; None: see `timestamp`.
      environ: the environment variables.
    """
    self._stream = stream or sys.stderr
    self._total, self._step = total_steps, first_step
    self._left = left or TimeLeft(total_steps, clock=clock)
    self._clock, self._now = clock, now or timestamp
    self._start = self._last = clock()
    self._draws = terminal.draws(self._stream, environ)
    self._colors = terminal.has_colors(self._stream, environ)
    self._drawn = False  # Whether the last line of the terminal is ours.
    self._shown: bar.Shown | None = None  # The last figures.

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *_: Any) -> None:
    """Ends the bar, so that an error stands on a line of its own."""
    self.close()

  def note(self, words: str) -> None:
    """Shows what begins now and takes long, such as 'compiling'."""
    if self._draws:
      self._draw(bar.status(self._step, self._total, f'{words}...',
                            terminal.columns(self._stream)))
    else:
      self.say(f'{words}...')

  @contextlib.contextmanager
  def phase(self, name: str) -> Iterator[None]:
    """Shows on a terminal what the block does, and counts its time.

    Args:
      name: see TimeLeft.phase.
    """
    if self._draws:
      self.note(name)
    with self._left.phase(name):
      yield
    self._redraw()

  def show(self, step: int, *, epoch: float, loss: float, accuracy: float,
           images_per_second: float,
           learning_rate: Callable[[], float] | None = None) -> None:
    """Shows the state after `step` updates; a line only if one is due."""
    self._step, now = step, self._clock()
    self._left.trained(step)
    self._shown = bar.Shown(step, self._total, epoch, loss, accuracy,
                            images_per_second, self._left())
    if self._draws:
      if now - self._last >= _DRAW_SECS or step == self._total:
        self._last = now
        self._redraw()
    elif now - self._last >= self._every_secs(now) or step == self._total:
      self._last = now
      self.say(_line(self._shown, learning_rate and learning_rate()))

  def say(self, text: str, color: str | None = None) -> None:
    """Prints a line above the bar, or one with the time.

    Args:
      text: the line.
      color: on a terminal that has colors, see terminal.painted.
    """
    self.block(text if self._draws else f'{self._now()} {text}', color)

  def block(self, text: str, color: str | None = None) -> None:
    """Prints lines above the bar as they are."""
    print((terminal.CLEAR if self._drawn else '')
          + terminal.painted(text, color, self._colors),
          file=self._stream, flush=True)
    self._drawn = False
    self._redraw()

  def close(self) -> None:
    """Ends the bar."""
    if self._drawn:
      self._drawn, self._shown = False, None
      print(file=self._stream, flush=True)

  def _redraw(self):
    if self._draws and self._shown:
      self._draw(bar.text(self._shown, terminal.columns(self._stream)))

  def _draw(self, text):
    """Draws the last line.

    The cursor stays at its start, so that a warning that something else prints
    covers it and does not begin at its end.
    """
    self._drawn = True
    print(f'{terminal.CLEAR}{text}\r', end='', file=self._stream, flush=True)

  def _every_secs(self, now):
    return min(max(_EVERY_SHARE * (now - self._start), _LEAST_SECS),
               _MOST_SECS)


def timestamp() -> str:
  """Returns the local time, such as 2026-11-29T13:05:00+01:00."""
  return datetime.datetime.now().astimezone().isoformat(timespec='seconds')


def _line(shown, learning_rate):
  rate = ('' if learning_rate is None
          else f'learning rate {learning_rate:.4g}  ')
  return (f'step {shown.step}/{shown.total}  epoch {shown.epoch:.2f}  '
          f'loss {shown.loss:.4f}  accuracy {shown.accuracy:.4f}  {rate}'
          f'{bar.speed(shown.images_per_second)} images/s  '
          f'{bar.time_left(shown.secs_left)}')
