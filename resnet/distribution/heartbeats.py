"""A sign of life from each worker in the run folder, and a watch over them.

workdir/workers/<rank>.json holds {'rank', 'host', 'pid', 'phase', 'step',
'time'}: what the worker began last, and when. Each worker rewrites its file
every second for as long as its process can.

  with heartbeats.Heartbeats(workdir, rank, workers, stall_secs=300) as beat:
    beat.note('training', step)
"""
from collections.abc import Callable
import contextlib
import faulthandler
import json
import os
import pathlib
import platform
import sys
import threading
import time
import types
from typing import Any, TextIO

from configs.process import atomic_file, json_file
from configs.process.errors import TryAgain, UserError

FOLDER = 'workers'
ENDED = 'ended'  # The phase of a worker that stopped or finished by itself.
_EVERY_SECS = 1.0
_LEAVE_SECS = 5.0  # For a write that is under way on a slow file system.
_is_text = lambda value: isinstance(value, str)
_FIELDS = {'host': _is_text, 'phase': _is_text, 'step': json_file.is_whole,
           'time': json_file.is_number}  # That others read.


class Heartbeats:
  """The heartbeat of this worker, and a watch over those of all workers."""

  def __init__(self, workdir: str | os.PathLike, rank: int, workers: int,
               stall_secs: float, stream: TextIO | None = None,
               clock: Callable[[], float] = time.time):
    """Creates it; a `with` block starts and ends it.

    Args:
      workdir: path of the run folder.
      rank: of this worker.
      workers: how many there are.
      stall_secs: seconds without progress after which the stacks of all threads
        are printed, once for each stall; 0: never.
      stream: where to print, with a file descriptor; None: stderr.
      clock: returns Unix time in seconds.
    """
    self._workdir, self._workers = workdir, workers
    self._path = _path(workdir, rank)
    self._stall_secs, self._clock = stall_secs, clock
    self._stream = stream or sys.stderr
    self._ended, self._reported = threading.Event(), False
    self._thread = threading.Thread(target=self._beat_on, daemon=True)
    self._last: dict[str, Any] = {
        'rank': rank, 'host': platform.node(), 'pid': os.getpid()}
    self.note('start-up', 0)

  def __enter__(self) -> 'Heartbeats':
    self._thread.start()
    return self

  def __exit__(self, kind: type[BaseException] | None,
               error: BaseException | None,
               trace: types.TracebackType | None) -> None:
    """Ends it. Unless the worker failed, writes that it ended."""
    self._ended.set()
    if error is None:
      self._thread.join(_LEAVE_SECS)
      self.note(ENDED, self._last['step'])
      self.beat()

  def note(self, phase: str, step: int) -> None:
    """Notes what this worker begins now.

    Args:
      phase: one word.
      step: the number of updates done.
    """
    self._last = {**self._last, 'phase': phase, 'step': step,
                  'time': self._clock()}
    self._reported = False

  def beat(self) -> None:
    """Writes the file; reports a stall once."""
    # Neither a full disk nor a lost stderr may end a run that could continue.
    # Nor may it bring a run folder back that somebody removed.
    with contextlib.suppress(OSError):
      self._path.parent.mkdir(exist_ok=True)
      atomic_file.write(self._path, json.dumps(self._last) + '\n',
                        durable=False)
    waited = self._clock() - self._last['time']
    if self._stall_secs and waited > self._stall_secs and not self._reported:
      self._reported = True
      with contextlib.suppress(OSError, ValueError):
        print(f'No progress for {waited:.0f} s; {self._oldest_sentence()} The '
              'threads of this process are at:', file=self._stream, flush=True)
        faulthandler.dump_traceback(self._stream)

  def _beat_on(self):
    self.beat()
    while not self._ended.wait(_EVERY_SECS):
      self.beat()

  def _oldest_sentence(self):
    """Names the worker that has not begun anything new for longest."""
    last = min(read(self._workdir, self._workers) or [self._last],
               key=lambda worker: worker['time'])
    return (f'worker {last["rank"]} ({last["host"]}) was last seen in step '
            f'{last["step"]} ({last["phase"]}) '
            f'{self._clock() - last["time"]:.0f} s ago.')


def read(workdir: str | os.PathLike, workers: int) -> list[dict[str, Any]]:
  """Returns the last heartbeats in a run folder, by rank.

  Args:
    workdir: path of the run folder.
    workers: how many there are; files of other ranks are ignored, as more
      workers may have trained here before.
  """
  beats = []
  for rank in range(workers):
    try:
      beat = json_file.read(_path(workdir, rank))
    except (UserError, TryAgain):  # Damaged, or not readable now.
      continue
    if beat and all(is_right(beat.get(name))
                    for name, is_right in _FIELDS.items()):
      beats.append({**beat, 'rank': rank})
  return beats


def _path(workdir, rank):
  return pathlib.Path(workdir, FOLDER, f'{rank}.json')
