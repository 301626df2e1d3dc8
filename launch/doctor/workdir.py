"""Whether the ranks share one folder: the chief leaves a mark, all look for it.

  with mark(workdir) as name:     # The chief.
    ...
  await is_seen(workdir, name)    # The others.

The folder is created if necessary. All that was created is removed at the end,
also after a signal. (kill -9 can leave an empty file behind, which runs
ignore.)
"""
import asyncio
from collections.abc import Callable, Iterator
import contextlib
import os
import pathlib
import re
import secrets
import tempfile
import time

from configs.process import command_line, file_lock
from configs.process.errors import UserError
from launch.cluster import contract

SEEN_WITHIN_SECS = 10.0  # Network file systems show new files late.


@contextlib.contextmanager
def mark(workdir: str | os.PathLike) -> Iterator[str]:
  """Leaves a mark in a folder, which need not exist; yields its name.

  Raises:
    UserError: the mark cannot be written or locked.
  """
  path = pathlib.Path(workdir, contract.DOCTOR_MARK + secrets.token_hex(16))
  with contextlib.ExitStack() as made:
    try:
      missing = [folder for folder in path.parents if not folder.exists()]
      for folder in reversed(missing):
        folder.mkdir()
        made.callback(_try, folder.rmdir)
      with path.open('xb') as file:
        made.callback(_try, path.unlink)
        lacking = file_lock.take(file)  # As runs do.
        if lacking:
          command_line.warn(file_lock.warning(workdir, lacking))
    except OSError as error:
      raise _not_writable(workdir, error) from error
    yield path.name


async def is_seen(workdir: str | os.PathLike, name: str) -> bool:
  """Returns whether this process finds the mark `name` in the folder."""
  if not re.fullmatch(re.escape(contract.DOCTOR_MARK) + '[0-9a-f]{32}', name):
    return False  # Names come over the network: no other file is looked for.
  end = time.monotonic() + SEEN_WITHIN_SECS
  path = pathlib.Path(workdir, name)
  while not path.is_file() and time.monotonic() < end:
    await asyncio.sleep(0.1)
  return path.is_file()


def check_writable(workdir: str | os.PathLike) -> None:
  """Raises UserError unless a file can be created in an existing folder."""
  try:
    with tempfile.TemporaryFile(dir=workdir):  # It has no name.
      pass
  except OSError as error:
    raise _not_writable(workdir, error) from error


def _not_writable(workdir, error):
  return UserError(
      f'--workdir={workdir} cannot be written ({error.strerror}): give a '
      'folder that all workers can write to.')


def _try(remove: Callable[[], None]) -> None:
  with contextlib.suppress(OSError):  # Another program uses it by now.
    remove()
