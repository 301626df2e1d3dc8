"""Runs a command on a pseudo-terminal, and shows what a user would see.

  with PseudoTerminal(['python', '-m', 'resnet.train'], columns=80) as terminal:
    terminal.until('saved')
    terminal.press(b'\\x03')
    code = terminal.finish()
  print(screen(terminal.text, 80))
"""
import fcntl
import os
import pathlib
import pty
import re
import struct
import subprocess
import termios
import time

_ROOT = pathlib.Path(__file__).parent.parent.parent
_TIMEOUT_SECS = 300.0
_PIECES = re.compile('\x1b\\[([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n])')


class PseudoTerminal:
  """A command on a terminal of its own, of which it is the foreground job."""

  def __init__(self, command, columns, environment=()):
    """Starts it.

    Args:
      command: list of words.
      columns: of the terminal.
      environment: {name: value}; NO_COLOR and COLUMNS are taken out before.
    """
    self._ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ,
                struct.pack('HHHH', 24, columns, 0, 0))
    known = {name: value for name, value in os.environ.items()
             if name not in ('NO_COLOR', 'COLUMNS')}
    self.text, self.began = '', time.monotonic()
    self._process = subprocess.Popen(
        command, cwd=_ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**known, 'TERM': 'xterm', **dict(environment)},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._process.poll() is None:
      self._process.kill()
    self._process.wait()
    os.close(self._ours)

  def until(self, words):
    """Reads until some words were shown; returns the seconds since the start.
    """
    while words not in self.text:
      assert self._read(), self.text
    return time.monotonic() - self.began

  def press(self, keys):
    """Sends keys; b'\\x03' is Ctrl-C."""
    os.write(self._ours, keys)

  def finish(self):
    """Reads to the end; returns the exit code."""
    while self._read():
      pass
    return self._process.wait(_TIMEOUT_SECS)

  def _read(self):
    """Reads what there is; returns whether the command still runs."""
    assert time.monotonic() - self.began < _TIMEOUT_SECS, self.text
    try:
      chunk = os.read(self._ours, 2**16)
    except OSError:  # Nobody has it open any more.
      return False
    self.text += chunk.decode(errors='replace')
    return bool(chunk)


def drawn(text):
  """Returns every state of every line that was drawn, without colors."""
  plain = re.sub('\x1b\\[[0-9;]*[A-Za-z]', '', text)
  return [line for line in re.split('[\r\n]+', plain) if line]


def screen(text, columns):
  """Returns the lines that stand on a terminal in the end, colors left out.

  Raises:
    ValueError: a control sequence is none of those that the program may send.
  """
  lines, row, column = [[]], 0, 0
  for match in _PIECES.finditer(text):
    number, kind, control, character = match.groups()
    if kind == 'K' and not number:
      del lines[row][column:]
    elif kind and kind != 'm':
      raise ValueError(repr(match[0]))
    elif control == '\r':
      column = 0
    elif control == '\n' or character and column == columns:
      row, column = row + 1, 0
      lines.append([])
    if character:
      lines[row] += ' ' * (column - len(lines[row]))
      lines[row][column:column + 1] = character
      column += 1
  return [''.join(line) for line in lines]
