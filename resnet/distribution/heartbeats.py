"""A sign of life from each worker in the run folder; what to say when it stops.

workdir/workers/<rank>.json holds {'rank', 'host', 'pid', 'phase', 'step',
'time'}: what the worker began last, and when. The file is written anew every
second for as long as the process can.

  with heartbeats.Heartbeats(workdir, rank, workers, stall_secs=300) as beat:
    beat.note('training', step)
"""
import faulthandler
import json
import os
import pathlib
import platform
import sys
import threading
import time

from configs.process import atomic_file

FOLDER = 'workers'
_EVERY_SECS = 1.0


class Heartbeats:
  """The heartbeat of this worker, and a watch over those of all."""

  def __init__(self, workdir, rank, workers, stall_secs, stream=None,
               clock=time.time):
    """Makes it; a `with` block starts and ends it.

    Args:
      workdir: path of the run folder.
      rank: int, of this worker.
      workers: int, how many there are.
      stall_secs: seconds without anything new until the stacks of all threads
        are shown, once for each stall; 0: never.
      stream: where to, with a file descriptor; None: stderr.
      clock: -> Unix seconds.
    """
    self._workdir, self._workers = workdir, workers
    self._path = _path(workdir, rank)
    self._stall_secs, self._clock = stall_secs, clock
    self._stream = stream or sys.stderr
    self._ended, self._told = threading.Event(), False
    self._last = {'rank': rank, 'host': platform.node(),
                  'pid': os.getpid()}
    self.note('start-up', 0)

  def __enter__(self):
    self._path.parent.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=self._beat_on, daemon=True).start()
    return self

  def __exit__(self, *_):
    self._ended.set()

  def note(self, phase, step):
    """What this worker begins now: a word, and updates done."""
    self._last = {**self._last, 'phase': phase, 'step': step,
                  'time': self._clock()}
    self._told = False

  def beat(self):
    """Writes the file; tells of a stall, once."""
    try:
      atomic_file.write(self._path, json.dumps(self._last) + '\n',
                        durable=False)
    except OSError:  # A full disk must not end a run that can go on.
      pass
    waited = self._clock() - self._last['time']
    if self._stall_secs and waited > self._stall_secs and not self._told:
      self._told = True
      print(f'Nothing new for {waited:.0f} s; {self._oldest_sentence()} The '
            'threads of this process are at:', file=self._stream, flush=True)
      faulthandler.dump_traceback(self._stream)

  def _beat_on(self):
    self.beat()
    while not self._ended.wait(_EVERY_SECS):
      self.beat()

  def _oldest_sentence(self):
    """Names the worker that has been at the same thing for longest."""
    last = min(read(self._workdir, self._workers) or [self._last],
               key=lambda worker: worker['time'])
    return (f'worker {last["rank"]} ({last["host"]}) last seen in step '
            f'{last["step"]} ({last["phase"]}), '
            f'{self._clock() - last["time"]:.0f} s ago.')


def read(workdir, workers):
  """The last heartbeat of each of so many workers of a run folder, by rank."""
  beats = []
  for rank in range(workers):  # More may have trained here before.
    try:
      beats.append(json.loads(_path(workdir, rank).read_text()))
    except (OSError, ValueError):  # Not there yet, or damaged.
      continue
  return beats


def _path(workdir, rank):
  return pathlib.Path(workdir, FOLDER, f'{rank}.json')
