"""What workers print: whole lines on the console, every byte in their logs.

One thread for each worker reads; one lock keeps lines whole. A carriage return
ends a line, as progress bars have it.
"""
import collections
import os
import sys
import threading

_LAST_LINES = 20
_LONGEST_LINE = 2**20  # Bytes; a longer one is shown in pieces.


class Console:
  """Writes whole lines, from any thread.

  A console that is gone (`| head`, a closed terminal) ends no training: from
  then on nothing is shown.
  """

  def __init__(self, ranks, out=None, err=None):
    """Args:

      ranks: of the workers whose lines are shown.
      out: binary stream for them; none: stdout.
      err: text stream for what the launcher says; none: stderr.
    """
    self._ranks = frozenset(ranks)
    self._out = out or sys.stdout.buffer
    self._err = err or sys.stderr
    self._lock = threading.Lock()

  def show(self, rank, lines):
    """Shows lines of a worker, bytes without their ends."""
    if rank in self._ranks and lines:
      self._write(self._out, b''.join(
          b'[w%d] %s\n' % (rank, line) for line in lines))

  def say(self, text):
    """Shows a line of the launcher itself."""
    self._write(self._err, f'[launch] {text}\n')

  def _write(self, stream, text):
    with self._lock:
      try:
        stream.write(text)
        stream.flush()
      except OSError:
        # As a closed stream it would fail again, at the end of the process.
        with open(os.devnull, 'wb') as nowhere:
          os.dup2(nowhere.fileno(), stream.fileno())


class Reader:
  """Reads all that one worker prints, in a thread of its own."""

  def __init__(self, rank, source, log, console, notice):
    """Starts to read.

    Args:
      rank: of the worker.
      source: what it prints; unbuffered binary stream, closed at its end.
      log: unbuffered binary stream to write, closed likewise.
      console: Console.
      notice: bytes; `noticed` says whether a line had them.
    """
    self.noticed = False
    self._last = collections.deque(maxlen=_LAST_LINES)
    self._rank, self._console, self._notice = rank, console, notice
    self._thread = threading.Thread(
        target=self._read, args=(source, log), daemon=True)
    self._thread.start()

  def join(self, secs):
    """Waits until all is read, but no longer than some seconds."""
    self._thread.join(secs)

  def last_lines(self):
    """The last lines, 20 at most, as text."""
    return [line.decode(errors='replace') for line in tuple(self._last)]

  def _read(self, source, log):
    rest, after_return = b'', False
    with source, log:
      while chunk := source.read(2**16):
        log = self._write(log, chunk)
        if after_return:  # \r\n is one end, also when it comes in two pieces.
          chunk = chunk.removeprefix(b'\n')
        after_return = chunk.endswith(b'\r')
        rest = self._take(rest + chunk)
    if rest:
      self._show([rest])

  def _write(self, log, chunk):
    """Returns the log, or None from when it cannot be written."""
    try:
      if log:
        log.write(chunk)
      return log
    except OSError as error:
      self._console.say(f'the log of worker {self._rank} ends here '
                        f'({error.strerror}): {log.name}')
      return None

  def _take(self, text):
    """Shows the whole lines; returns the rest."""
    lines = text.splitlines(keepends=True)
    unfinished = lines and not lines[-1].endswith((b'\r', b'\n'))
    rest = (lines.pop() if unfinished and len(lines[-1]) <= _LONGEST_LINE
            else b'')
    # Bars begin with a return.
    self._show([line.rstrip(b'\r\n') for line in lines if line != b'\r'])
    return rest

  def _show(self, lines):
    self._last.extend(lines)
    self.noticed |= any(self._notice in line for line in lines)
    self._console.show(self._rank, lines)
