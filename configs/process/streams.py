"""Keeps a process alive whatever becomes of its stdout and stderr.

A terminal goes away, the disk that holds the log is full, the reader of a pipe
leaves (`| head`), or a descriptor is closed from the start (`2>&-`). Python
would raise an OSError at the next print, in whatever happens to print it: the
loop, a progress bar, a warning, a library. After `guard`, printing never fails;
what cannot be written is lost, and `lost` says why.

  streams.guard()
  print('accuracy 0.93')
  if streams.lost(): ...
"""
import contextlib
import io
import os
import select
import sys

_NAMES = {1: 'stdout', 2: 'stderr'}
_streams: dict[int, '_Lossy'] = {}
_replaced = []  # Streams that would close their descriptor if they were freed.
_may_be_lost: list[bool] = []


class _Lossy(io.FileIO):
  """A file descriptor to write to; never fails, but loses what it must."""
  failure: OSError | None = None  # The first one.

  def write(self, data, /) -> int:
    """Writes some of the data; returns how many bytes are dealt with."""
    try:
      written = super().write(data)
      if written is None:  # Another program has made the terminal not block.
        select.select([], [self], [])
        return self.write(data)
      return written
    except OSError as error:
      self.failure = self.failure or error
      return memoryview(data).nbytes


def guard() -> None:
  """Makes stdout and stderr never fail. Call it before anything is opened.

  A descriptor that is closed would be given to the next file that is opened,
  a checkpoint say, and libraries would print their messages into it. It is
  opened for reading instead, so that writing to it fails.
  """
  for descriptor in (0, 1, 2):
    try:
      os.fstat(descriptor)
    except OSError:
      os.open(os.devnull, os.O_RDONLY)  # Takes the lowest number that is free.
      os.set_inheritable(descriptor, True)
  for descriptor, name in _NAMES.items():
    old = getattr(sys, name)
    if not _is_at(old, descriptor):
      continue  # A test's.
    raw = _streams[descriptor] = _Lossy(descriptor, 'w', closefd=False)
    if old is not None:
      _replaced.append(old)
      with contextlib.suppress(OSError):
        old.flush()
    setattr(sys, name, io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=old.encoding if old else 'utf-8',
        errors='backslashreplace', line_buffering=True))


def may_be_lost() -> None:
  """Says that this process has done its work even if stdout could not be read.

  The work of a trainer, for example, is in its run folder.
  """
  _may_be_lost.append(True)


def lost() -> OSError | None:
  """Returns why a part of stdout was lost; None if none was, or it may be."""
  flush()
  out = _streams.get(1)
  return None if _may_be_lost or out is None else out.failure


def flush() -> None:
  """Writes what is still in the buffers of stdout and stderr."""
  for name in _NAMES.values():
    stream = getattr(sys, name)
    if stream is not None:
      with contextlib.suppress(OSError, ValueError):  # Not guarded, or closed.
        stream.flush()


def _is_at(stream, descriptor):
  """Returns whether a stream writes to a descriptor; true for one of None."""
  try:
    return stream is None or stream.fileno() == descriptor
  except (AttributeError, OSError, ValueError):
    return False
