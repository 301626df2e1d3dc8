"""What the stream that a run prints to can show: its width, a bar, colors."""
from collections.abc import Mapping
import os
from typing import TextIO

CLEAR = '\r\x1b[K'  # Goes to the start of the line and empties it.
_NARROWEST, _USUAL = 20, 80  # Columns.
_CODES = {'bold': '1', 'green': '1;32', 'yellow': '33'}


def draws(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
  """Returns whether a line on the stream can be drawn again and again."""
  try:
    return stream.isatty() and environ.get('TERM') != 'dumb'
  except ValueError:  # Closed.
    return False


def has_colors(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
  """Returns whether to color what is printed; see no-color.org."""
  return draws(stream, environ) and not environ.get('NO_COLOR')


def columns(stream: TextIO) -> int:
  """Returns how many characters fit on a line; asked anew, it may change."""
  try:
    found = os.get_terminal_size(stream.fileno()).columns
  except (OSError, ValueError, AttributeError):  # No file, or no terminal.
    found = 0
  return max(found, _NARROWEST) if found else _USUAL


def painted(text: str, color: str | None, colors: bool = True) -> str:
  """Returns a text in a color.

  Args:
    text: of any number of lines.
    color: 'bold', 'green' (bold, too), 'yellow'; None: none.
    colors: whether there are colors, see `has_colors`.
  """
  return f'\x1b[{_CODES[color]}m{text}\x1b[0m' if colors and color else text
