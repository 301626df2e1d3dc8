"""Locks files, where the file system can.

Some network and cluster file systems have no locks, or their lock service is
not running. Programs then work without, and say what is not guaranteed.
"""
import errno
import fcntl
import pathlib
import re
import signal
from typing import IO

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP,
             errno.EINVAL)
_PROCESSES = pathlib.Path('/proc')


def take(file: IO) -> str | None:
  """Locks an open file for this process alone; returns at once.

  The lock lasts until the file is closed or the process ends.

  Returns:
    None; or, if the file system has no locks, the text of its error.

  Raises:
    BlockingIOError: another process has locked it.
    OSError: it cannot be locked for another reason.
  """
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    if error.errno not in _NO_LOCKS:
      raise
    return error.strerror
  return None


def is_leaving(pid: str) -> bool:
  """Returns whether a process is not on this machine, or was killed.

  A killed process keeps its locks until it returns from the kernel: from an
  fsync, say, which may take seconds.

  Args:
    pid: its number, in decimal digits; False if there can be no such process.
  """
  process = _PROCESSES / pid
  try:
    status = (process / 'status').read_text(encoding='utf-8')
  except (FileNotFoundError, ProcessLookupError):
    return True
  except OSError:  # A name that is too long, say: no program wrote it.
    return False
  pending = re.findall(r'^S(?:ig|hd)Pnd:\s*([0-9a-f]+)$', status, re.MULTILINE)
  killed = 1 << (signal.SIGKILL - 1)
  # Its memory goes first. (Its command line is also empty while it starts.)
  return 'VmSize:' not in status or any(
      int(mask, 16) & killed for mask in pending)


def warning(folder: object, reason: str) -> str:
  """Returns what to tell a user whose run folder cannot be locked.

  Args:
    folder: the value of --workdir.
    reason: what `take` returned.
  """
  return (f'the file system of --workdir={folder} cannot lock files '
          f'({reason}): nothing keeps two processes from training in this '
          'folder at once, which would ruin the run; start only one.')
