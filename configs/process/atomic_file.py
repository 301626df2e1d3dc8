"""Replaces a file so that neither a reader nor a crash meets half of it."""
from collections.abc import Iterable
import contextlib
import errno
import os
import pathlib
import secrets
from typing import Any

# What file systems answer that cannot fsync a file or a folder.
_NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP,
             errno.EBADF)


def write(path: str | os.PathLike, content: bytes | str | Iterable[Any],
          *, durable: bool = True) -> None:
  """Replaces the content of a file in one step.

  Writes <name>.<8 hex digits>.partial beside the file and renames it. The
  digits are random, so several processes, on several machines, may write the
  same file at once: the last one to finish wins. A process that is killed in
  between leaves the old file and its own .partial, which nobody reads.

  Args:
    path: the file; its folder exists.
    content: bytes, text to be written as UTF-8, or parts of the bytes, which
      may be made one after the other.
    durable: whether the content must survive a power cut once the call has
      returned, if the file system can fsync. Waits for the disk.

  Raises:
    OSError: the file cannot be written; the old one is left as it was. If only
      the last fsync of the folder fails, it is replaced already.
  """
  path = pathlib.Path(path)
  partial = path.with_name(f'{path.name}.{secrets.token_hex(4)}.partial')
  data = content.encode() if isinstance(content, str) else content
  parts = [data] if isinstance(data, bytes) else data
  try:
    with partial.open('xb') as file:
      file.writelines(parts)
      file.flush()
      if durable:
        fsync(file.fileno())
    os.replace(partial, path)
  except BaseException:
    with contextlib.suppress(OSError):
      partial.unlink()
    raise
  if durable:
    fsync_folder(path.parent)


def fsync_folder(path: str | os.PathLike) -> bool:
  """Makes the names in a folder survive a power cut; see `fsync`."""
  folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
  try:
    return fsync(folder)
  finally:
    os.close(folder)


def fsync(file: int) -> bool:
  """Makes an open file or folder survive a power cut. Waits for the disk.

  Returns:
    False if its file system cannot do that: many network file systems cannot
    for folders.

  Raises:
    OSError: the disk failed.
  """
  try:
    os.fsync(file)
  except OSError as error:
    if error.errno not in _NO_FSYNC:
      raise
    return False
  return True
