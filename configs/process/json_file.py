"""Reads small JSON files that anything may have happened to.

A file that holds something else than a JSON object is damaged, whatever its
bytes are; one that cannot be read may be in good order.
"""
import errno
import json
import os
import pathlib
import stat
from typing import Any

from configs.process.errors import TryAgain, UserError

# What a restart does not cure. Others, an I/O error of a file server for
# example, may go away.
_LASTING = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR,
            errno.ELOOP, errno.ENAMETOOLONG)


class Damaged(UserError):
  """A file does not hold what was written to it."""

  def __init__(self, path: str | os.PathLike, reason: str):
    """Makes the sentence.

    Args:
      path: of the file.
      reason: what is wrong with its content, the middle of a sentence.
    """
    super().__init__(
        f'{path} is damaged ({reason}): restore it from a backup, or start '
        'over in another --workdir.')
    self.path, self.reason = path, reason


def read(path: str | os.PathLike) -> dict[str, Any] | None:
  """Returns the JSON object that a file holds; None if there is no file.

  Raises:
    Damaged: it holds anything else.
    UserError: it is not a regular file, or this user may not read it.
    TryAgain: it cannot be read now.
  """
  content = content_of(path)
  if content is None:
    return None
  try:
    values = json.loads(content.decode())
  except RecursionError as error:
    raise Damaged(path, 'it is nested too deeply') from error
  except ValueError as error:  # Not UTF-8, or not JSON.
    raise Damaged(path, str(error)) from error
  if not isinstance(values, dict):
    raise Damaged(path, 'it is not a JSON object')
  return values


def content_of(path: str | os.PathLike) -> bytes | None:
  """Returns the bytes of a file; None if there is no file.

  Raises:
    UserError: it is not a regular file, or this user may not read it.
    TryAgain: it cannot be read now.
  """
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):  # A pipe would block.
      raise IsADirectoryError(errno.EISDIR, 'not a regular file')
    return pathlib.Path(path).read_bytes()
  except FileNotFoundError:
    return None
  except OSError as error:
    if error.errno in _LASTING:
      raise UserError(
          f'{path} cannot be read ({error.strerror}): make it a file that you '
          'may read, or give another --workdir.') from error
    raise TryAgain(
        f'{path} cannot be read now ({error.strerror}): start again once it '
        'can.') from error


def is_number(value: Any) -> bool:
  """Returns whether a value that was read is a finite number."""
  return (isinstance(value, (int, float)) and not isinstance(value, bool)
          and abs(value) < 1e300)  # Any int can be compared; nan is never less.


def is_whole(value: Any) -> bool:
  """Returns whether a value that was read is a whole number of at least 0."""
  return type(value) is int and 0 <= value < 2**63
