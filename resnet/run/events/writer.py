"""A file of TensorBoard events, which readers put after those that are there.

TensorBoard's own writer is not used: it is a thread, prints a stack for each
error, and computes checksums in Python, 0.1 s for a picture of a megabyte.
"""
import os
import pathlib
import platform
import re
import struct
from typing import Any

from tensorboard.compat.proto import event_pb2

from configs.process import errors
from resnet.run import tensor_index
from resnet.run.events.forward_clock import ForwardClock

_LAST_SECS = 10**10 - 10**9  # Of times that are not damaged: in 2255.
# TensorBoard reads files in the order of their names. '~' comes after digits.
_PREFIX = 'events.out.tfevents.'
_EVENTS = re.compile(re.escape(_PREFIX) + r'(~?)(\d{10})\..*')

# Pyright does not see the names that protocol buffers define at run time.
_Event = event_pb2.Event  # pyright: ignore[reportAttributeAccessIssue]
_SessionLog = event_pb2.SessionLog  # pyright: ignore[reportAttributeAccessIssue]


class Writer:
  """Writes a new file of events of one split."""

  def __init__(self, folder: pathlib.Path, first_step: int, now: ForwardClock):
    """Opens the file, and marks in it where the run continues.

    Args:
      folder: of the split, which need not exist.
      first_step: updates done before this process.
      now: returns the Unix time in seconds.

    Raises:
      OSError: it cannot be written.
    """
    self._folder, self._now = folder, now
    self._file = _open(folder, now)
    with errors.writing(folder):
      self._add(now(), file_version='brain.Event:2')
      # At this mark, readers drop earlier events of this step and later ones.
      # What is written at step 0 is written again if the run begins again.
      self._add(now(), step=first_step + 1 if first_step else 0,
                session_log=_SessionLog(status=_SessionLog.START))

  def write(self, step: int, *summaries: Any, secs: float | None = None
            ) -> None:
    """Writes summaries. They are on disk when it returns.

    Args:
      step: updates done.
      summaries: of summary_pb2.Summary.
      secs: Unix time in seconds; None: now.
    """
    secs = self._now() if secs is None else secs
    with errors.writing(self._folder):
      for summary in summaries:
        self._add(secs, step=step, summary=summary)
      self._file.flush()

  def write_graph(self, graph: Any) -> None:
    """Writes a graph_pb2.GraphDef for the Graphs tab; otherwise as `write`."""
    with errors.writing(self._folder):
      self._add(self._now(), graph_def=graph.SerializeToString())
      self._file.flush()

  def close(self) -> None:
    """Closes the file."""
    self._file.close()

  def _add(self, secs, **fields):
    self._file.write(_record(
        _Event(wall_time=secs, **fields).SerializeToString()))


def _record(content):
  """Returns what a file has for an event: length and content, with checksums.
  """
  length = struct.pack('<Q', len(content))
  return b''.join(part + struct.pack('<I', tensor_index.masked_crc(part))
                  for part in (length, content))


def _open(folder, now):
  """Opens a file whose name comes after those that are there.

  Args:
    folder: its folder, which need not exist.
    now: a ForwardClock.
  """
  folder.mkdir(exist_ok=True)
  there = sorted(
      match.groups() for match in map(_EVENTS.fullmatch, os.listdir(folder))
      if match)
  mark, secs = '', int(now())
  if there:
    mark, last = there[-1][0], int(there[-1][1])
    if last < _LAST_SECS:
      now.start_from(last)
      secs = max(int(now()), last + 1)
    else:  # Not a time: another program's.
      mark = '~'
  name = f'{_PREFIX}{mark}{secs:010d}.{platform.node()}.{os.getpid()}'
  return (folder / name).open('ab')
