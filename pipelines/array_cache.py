"""Keeps arrays that took long to make, for the next process that needs them.

Each is a file of its own in the user's cache: the bytes, then the SHA-256 of
its key and its bytes. Several processes may read and write the same one at
once, and any of them may be deleted at any time. A file that is damaged counts
as missing, and what cannot be kept is not: nothing here raises an error.

  pixels = array_cache.read(key, size)
  if pixels is None:
    pixels = array_cache.empty(size)
    ...
    array_cache.write(key, pixels)
"""
import contextlib
import hashlib
import os

import numpy as np

from configs.process import atomic_file, cache_folder

_FOLDER = 'decoded'
# Of all files together; those that were not used for longest are deleted.
_MOST_BYTES = 4 * 2**30
_DIGEST_BYTES = 32
ALIGNMENT = 64  # Bytes. Tensors can share the memory of such arrays only.


def empty(size: int) -> np.ndarray:
  """Returns uint8 [size], not initialized, which TensorFlow need not copy."""
  room = np.empty(size + ALIGNMENT, np.uint8)
  start = -room.ctypes.data % ALIGNMENT
  return room[start:start + size]


def key(*parts: object) -> str:
  """Returns the key of what is made from some parts, as their repr has them."""
  return hashlib.sha256(repr(parts).encode()).hexdigest()


def read(name: str, size: int) -> np.ndarray | None:
  """Returns uint8 [size] as it was kept under a key, aligned as by `empty`.

  Returns:
    The array; None if there is none or its file is damaged.
  """
  folder = cache_folder.make(_FOLDER)
  if not folder:
    return None
  content = empty(size)
  try:
    with open(folder / name, 'rb') as file:
      if os.fstat(file.fileno()).st_size != size + _DIGEST_BYTES:
        return None
      file.readinto(content.data)
      if file.read() != _digest(name, content):
        return None
  except OSError:
    return None
  with contextlib.suppress(OSError):  # A folder that is read-only.
    os.utime(folder / name)  # It was used just now.
  return content


def write(name: str, content: np.ndarray) -> None:
  """Keeps an array, uint8 [size], under a key, if there is room for it."""
  size = len(content) + _DIGEST_BYTES
  folder = cache_folder.make(_FOLDER)
  if not folder or size > _MOST_BYTES:
    return
  with contextlib.suppress(OSError):
    _make_room(folder, size)
    free = os.statvfs(folder)
    if size <= free.f_bavail * free.f_frsize / 2:  # The run needs the disk.
      atomic_file.write(folder / name, [content, _digest(name, content)],
                        durable=False)


def _digest(name, content):
  digest = hashlib.sha256(name.encode())
  digest.update(content)
  return digest.digest()


def _make_room(folder, size):
  """Deletes what was used longest ago until `size` more bytes fit.

  That includes what processes that were killed left behind.
  """
  found = []
  for entry in os.scandir(folder):
    with contextlib.suppress(OSError):  # Another process deleted it.
      stat = entry.stat(follow_symlinks=False)
      found.append((stat.st_mtime_ns, stat.st_size, entry.path))
  total = size + sum(bytes_ for _, bytes_, _ in found)
  for _, bytes_, path in sorted(found):
    if total <= _MOST_BYTES:
      break
    with contextlib.suppress(OSError):
      os.unlink(path)
    total -= bytes_
