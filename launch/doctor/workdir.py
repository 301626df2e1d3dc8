"""Whether the ranks share one folder: one leaves a mark, all look for it.

  with mark(workdir) as name:     # The chief.
    ...
  await is_seen(workdir, name)    # The others.

The folder is made if need be; all that was made is removed in the end, also by
a signal. (kill -9 can leave an empty file behind, which runs do not mind.)
"""
import asyncio
import contextlib
import fcntl
import pathlib
import re
import secrets
import tempfile
import time

from configs.process.errors import UserError

SEEN_WITHIN_SECS = 10.0  # Network file systems show new files late.
_PREFIX = '.doctor-'  # resnet/run/run_folder.py knows it.


@contextlib.contextmanager
def mark(workdir):
  """Leaves a mark in a folder, which need not exist; yields its name.

  Raises:
    UserError: it cannot be written or locked.
  """
  path = pathlib.Path(workdir, _PREFIX + secrets.token_hex(16))
  with contextlib.ExitStack() as made:
    try:
      missing = [folder for folder in path.parents if not folder.exists()]
      for folder in reversed(missing):
        folder.mkdir()
        made.callback(_remove, folder.rmdir)
      with path.open('x') as file:
        made.callback(_remove, path.unlink)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # As runs do.
    except OSError as error:
      raise _not_writable(workdir, error) from error
    yield path.name


async def is_seen(workdir, name):
  """Whether the mark of that name is in the folder that this process sees."""
  if not re.fullmatch(re.escape(_PREFIX) + '[0-9a-f]{32}', name):
    return False  # It came over the network.
  end = time.monotonic() + SEEN_WITHIN_SECS
  path = pathlib.Path(workdir, name)
  while not path.is_file() and time.monotonic() < end:
    await asyncio.sleep(0.1)
  return path.is_file()


def check_writable(workdir):
  """Raises UserError unless a file could be made in a folder that is there."""
  try:
    with tempfile.TemporaryFile(dir=workdir):  # It has no name.
      pass
  except OSError as error:
    raise _not_writable(workdir, error) from error


def _not_writable(workdir, error):
  return UserError(
      f'--workdir={workdir} cannot be written ({error.strerror}): give a '
      'folder that all workers may write to.')


def _remove(remove):
  with contextlib.suppress(OSError):  # Somebody uses it by now.
    remove()
