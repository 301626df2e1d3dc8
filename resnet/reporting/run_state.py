"""Whether a run trains now, from what is in its folder. Takes no lock.

finished: all steps are done, or its monitor has ended it.
running:  a process trains in it: it holds the lock, or shows signs of life.
stopped:  its process has saved and left; the same command continues it.
dead:     its process was killed, crashed or failed; the same command continues
          it from its last checkpoint, if a restart cures the failure.
"""
from collections.abc import Callable
import os
import pathlib
import platform
import re
import time
from typing import NamedTuple

from configs.process import json_file
from configs.process.errors import TryAgain, UserError
from resnet.distribution import heartbeats

FINISHED, RUNNING, STOPPED, DEAD = 'finished', 'running', 'stopped', 'dead'
_SILENT_SECS = 30  # A worker shows a sign of life every second.
_LOCKS, _PROCESSES = pathlib.Path('/proc/locks'), pathlib.Path('/proc')
_FLOCK = re.compile(r'\d+: FLOCK +\w+ +WRITE +(\d+) [0-9a-f:]+:(\d+) ')


class State(NamedTuple):
  """What a run does now."""
  name: str  # FINISHED, RUNNING, STOPPED or DEAD.
  step: int  # Updates that its process noted last; 0: not known.
  note: str  # What else to say, or ''.


def of(folder: pathlib.Path, is_finished: bool, saved: int,
       clock: Callable[[], float] = time.time) -> State:
  """Returns the state of a run.

  Args:
    folder: of the run.
    is_finished: whether run.json has a summary.
    saved: the step of its newest checkpoint; 0: there is none.
    clock: returns the Unix time in seconds.
  """
  beat = next(iter(heartbeats.read(folder, 1)), None)
  step = beat['step'] if beat else 0
  if is_finished:
    return State(FINISHED, step, '')
  silent_secs = _silent_secs(folder, clock)
  if _is_locked(folder):
    return State(RUNNING, step, '' if silent_secs < _SILENT_SECS else
                 f'no sign of life for {silent_secs:.0f} s')
  ended = beat is not None and beat['phase'] == heartbeats.ENDED
  if beat and not ended and silent_secs < _SILENT_SECS and _may_live(beat):
    return State(RUNNING, step, '')
  if ended or (beat is None and saved):
    return State(STOPPED, step, '')
  return State(DEAD, step, '' if beat else 'has never begun to train')


def saved_steps(folder: pathlib.Path) -> list[int]:
  """Returns the steps of the complete checkpoints in a run folder, ascending.
  """
  try:
    names = os.listdir(folder / 'checkpoints')
  except OSError:
    return []
  found = (re.fullmatch(r'ckpt-(0|[1-9][0-9]{0,18})\.index', name)
           for name in names)
  return sorted(int(match[1]) for match in found if match)


def _silent_secs(folder, clock):
  """Returns for how long the chief has shown no sign of life."""
  try:
    return clock() - (folder / heartbeats.FOLDER / '0.json').stat().st_mtime
  except OSError:
    return 1e9


def _is_locked(folder):
  """Returns whether a process of this machine holds the lock of a run folder.

  Trying to lock it could keep a trainer that starts meanwhile from doing so.
  """
  try:
    inode = (folder / '.lock').stat().st_ino
    holder = json_file.content_of(folder / '.lock') or b''
    locks = _LOCKS.read_text(encoding='ascii', errors='replace')
  except (OSError, UserError, TryAgain):
    return False
  return (holder.decode(errors='replace').strip(), str(inode)) in (
      _FLOCK.findall(locks))


def _may_live(beat):
  """Returns whether the process of a heartbeat may exist, here or elsewhere."""
  return beat['host'] != platform.node() or (
      _PROCESSES / str(beat.get('pid'))).exists()
