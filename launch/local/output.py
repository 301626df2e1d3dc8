"""Shows what workers print: whole lines on the console, every byte in the logs.

One thread reads from each worker; one lock keeps lines whole. A carriage return
also ends a line, because progress bars use it so.
"""
import collections
from collections.abc import Iterable, Sequence
import os
import sys
import threading
from typing import Any, BinaryIO, IO, TextIO

_LAST_LINES = 20
_LONGEST_LINE = 2**20  # Bytes; a longer line is shown in pieces.


class Console:
  """Writes whole lines, from any thread.

  Training continues if the console goes away (`| head`, a closed terminal);
  from then on nothing is shown.
  """

  def __init__(self, ranks: Iterable[int], out: BinaryIO | None = None,
               err: TextIO | None = None):
    """Prepares a console; writes nothing yet.

    Args:
      ranks: workers whose lines are shown.
      out: stream for their lines. Default: stdout.
      err: stream for the launcher's own lines. Default: stderr.
    """
    self._ranks = frozenset(ranks)
    self._out = out or sys.stdout.buffer
    self._err = err or sys.stderr
    self._lock = threading.Lock()

  def show(self, rank: int, lines: Sequence[bytes]) -> None:
    """Shows lines of a worker, given without their line ends."""
    if rank in self._ranks and lines:
      self._write(self._out, b''.join(
          b'[w%d] %s\n' % (rank, line) for line in lines))

  def say(self, text: str) -> None:
    """Shows a line of the launcher itself."""
    self._write(self._err, f'[launch] {text}\n')

  def _write(self, stream: IO[Any], text):
    with self._lock:
      try:
        stream.write(text)
        stream.flush()
      except OSError:
        # Python flushes the stream again when the process ends. A closed one
        # would fail again.
        with open(os.devnull, 'wb') as nowhere:
          os.dup2(nowhere.fileno(), stream.fileno())


class Reader:
  """Reads all that one worker prints, in its own thread."""

  def __init__(self, rank: int, source: IO[bytes], log: IO[bytes],
               console: Console, notice: bytes):
    """Starts to read.

    Args:
      rank: the worker.
      source: unbuffered stream of what it prints; closed at its end.
      log: unbuffered stream that receives the same; closed at the end, too.
      console: shows the lines.
      notice: `noticed` says whether any line contained this.
    """
    self.noticed = False
    self._last = collections.deque(maxlen=_LAST_LINES)
    self._rank, self._console, self._notice = rank, console, notice
    self._thread = threading.Thread(
        target=self._read, args=(source, log), daemon=True)
    self._thread.start()

  def join(self, secs: float) -> None:
    """Waits until all is read, but at most `secs` seconds."""
    self._thread.join(secs)

  def last_lines(self) -> list[str]:
    """Returns the last lines, at most 20."""
    return [line.decode(errors='replace') for line in tuple(self._last)]

  def _read(self, source, log):
    rest, after_return = b'', False
    with source, log:
      while chunk := source.read(2**16):
        log = self._write(log, chunk)
        if after_return:  # \r\n is one line end, even if it comes in two reads.
          chunk = chunk.removeprefix(b'\n')
        after_return = chunk.endswith(b'\r')
        rest = self._take(rest + chunk)
    if rest:
      self._show([rest])

  def _write(self, log, chunk):
    """Returns the log, or None once it cannot be written."""
    try:
      if log:
        log.write(chunk)
      return log
    except OSError as error:
      self._console.say(f'the log of worker {self._rank} stops here '
                        f'({error.strerror}): {log.name}')
      return None

  def _take(self, text):
    """Shows the whole lines; returns the rest."""
    lines = text.splitlines(keepends=True)
    unfinished = lines and not lines[-1].endswith((b'\r', b'\n'))
    rest = (lines.pop() if unfinished and len(lines[-1]) <= _LONGEST_LINE
            else b'')
    # Progress bars begin with a carriage return.
    self._show([line.rstrip(b'\r\n') for line in lines if line != b'\r'])
    return rest

  def _show(self, lines):
    self._last.extend(lines)
    self.noticed |= any(self._notice in line for line in lines)
    self._console.show(self._rank, lines)
