"""The lock of a run folder: one process trains in it at a time."""
import os
import pathlib
import time
from typing import IO

from configs.process import command_line, file_lock
from configs.process.errors import UserError

FILE = '.lock'
_LEAVE_SECS = 60  # For a process that was killed and is still in the kernel.
_SAY_SECS = 2  # Most leave sooner.


def take(path: pathlib.Path, workdir: str | os.PathLike) -> IO[str]:
  """Locks a run folder for this process; returns the open lock file.

  Args:
    path: of the folder.
    workdir: the same, as the user gave it.

  Raises:
    UserError: another process holds it.
    OSError: it cannot be locked.
  """
  lock = (path / FILE).open('a+', encoding='utf-8', errors='replace')
  try:
    lacking = _take_once_left(lock)
  except BlockingIOError as error:
    holder = _holder(lock)
    name = f'process {holder}' if holder.isdecimal() else 'another process'
    raise UserError(
        f'--workdir={workdir} is in use by {name}: wait for it, stop it, or '
        'give another folder.') from error
  if lacking:
    command_line.warn(file_lock.warning(workdir, lacking))
  lock.truncate(0)
  lock.write(str(os.getpid()))
  lock.flush()
  return lock


def _take_once_left(lock):
  """As file_lock.take, but gives a process that was killed time to leave."""
  started, warned = time.monotonic(), False
  while True:
    try:
      return file_lock.take(lock)
    except BlockingIOError:
      holder, waited = _holder(lock), time.monotonic() - started
      leaving = holder.isdecimal() and file_lock.is_leaving(holder)
      if not leaving or waited > _LEAVE_SECS:
        raise
    if waited > _SAY_SECS and not warned:
      warned = True
      command_line.warn(
          f'{lock.name} is held by process {holder}, which is being killed or '
          f'is not on this machine: waiting up to {_LEAVE_SECS} s.')
    time.sleep(0.1)


def _holder(lock):
  """Returns what the process that holds the lock has written into it."""
  lock.seek(0)
  return lock.read().strip()
