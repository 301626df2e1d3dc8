"""The text of a progress bar that fits a terminal of any width."""
from typing import NamedTuple

from resnet.run.screen.time_left import duration

# Of the drawn part, without its brackets. It is left out rather than shorter.
_SHORTEST = 8


class Shown(NamedTuple):
  """How far a run is."""
  step: int
  total: int
  epoch: float
  loss: float
  accuracy: float
  images_per_second: float
  secs_left: float | None  # None: not known yet.


def text(shown: Shown, columns: int) -> str:
  """Returns one line of at most columns - 1 characters.

  It has all figures from 80 columns on (unless they are very large), in short
  form if need be. Narrower terminals show fewer.

  Args:
    shown: how far the run is.
    columns: of the terminal. A full last column would begin a new line.
  """
  room = columns - 1
  # Padded, so that nothing moves when a number gets another digit.
  count = f'{shown.step:{len(str(shown.total))}}/{shown.total}'
  left = time_left(shown.secs_left)
  long, short = _long(shown), _short(shown)
  for head, figures in ((f'step {count}', [*long, left]),
                        (count, [*short, left])):
    drawn = room - len('  '.join([head, '', *figures]))
    if drawn >= _SHORTEST + len('[]'):
      return '  '.join([head, _drawing(shown, drawn - 2), *figures])
  _, loss, accuracy, _ = short
  for figures in ([*short, left], [loss, accuracy, left], [loss, left],
                  [left]):
    line = '  '.join([count.strip(), *figures])
    if len(line) <= room:
      return line
  return count.strip()[:room]


def status(step: int, total: int, words: str, columns: int) -> str:
  """Returns one line for a time in which no step is made."""
  return f'step {step}/{total}  {words}'[:columns - 1]


def time_left(seconds: float | None) -> str:
  """Returns '1:23 left', say."""
  return f'{"-:--" if seconds is None else duration(seconds)} left'


def speed(images_per_second: float) -> str:
  """Formats a speed without a unit: whole images, if there are many."""
  return (f'{images_per_second:.0f}' if images_per_second >= 100
          else f'{images_per_second:.3g}')


def _long(shown):
  return [f'epoch {shown.epoch:.2f}', f'loss {shown.loss:.4f}',
          f'accuracy {shown.accuracy:.4f}',
          f'{speed(shown.images_per_second)} images/s']


def _short(shown):
  return [f'epoch {shown.epoch:.1f}', f'loss {shown.loss:.3f}',
          f'acc {shown.accuracy:.3f}',
          f'{speed(shown.images_per_second)} img/s']


def _drawing(shown, length):
  done = length * min(shown.step, shown.total) // max(shown.total, 1)
  head = '>' if 0 < done < length else ''
  return f'[{"=" * (done - len(head))}{head}'.ljust(length + 1, '.') + ']'
