"""One checkpoint on disk: it exists as a whole, or not at all.

The files are TensorFlow's: `tf.train.load_checkpoint(prefix)` reads them.
Python reads and writes them, because TensorFlow raises one and the same error
for bytes that are wrong and for bytes that cannot be read.

  prefix.index                 what is where, with checksums; written last
  prefix.data-00000-of-00001   the bytes of all tensors
"""
from collections.abc import Iterable, Iterator, Mapping
import contextlib
import errno
import io
import os
import pathlib
import stat

import numpy as np
import tensorflow as tf

from configs.process import atomic_file
from resnet.run import tensor_index
from resnet.run.tensor_index import Damaged

_INDEX, _DATA = '.index', '.data-00000-of-00001'
_PARTIAL = '.partial'  # Written, but not yet renamed.
_ABSENT = (errno.ENOENT, errno.ELOOP)

Tensors = Mapping[str, np.ndarray | bytes]


def write(prefix: str | os.PathLike, tensors: Tensors) -> bool:
  """Writes a checkpoint and reads it back, before it exists. Takes seconds.

  A process that is killed meanwhile leaves files named *.partial, or data
  without an index.

  Args:
    prefix: path without the endings; its folder exists.
    tensors: arrays and texts, by name.

  Returns:
    Whether it survives a power cut: False if the file system cannot fsync.

  Raises:
    OSError: it cannot be written, or reads back other than it was written.
  """
  index, data = _path(prefix, _INDEX), _path(prefix, _DATA)
  new_index, new_data = (_path(path, _PARTIAL) for path in (index, data))
  try:
    with new_data.open('wb') as file:
      entries = {name: _append(file, tensors[name]) for name in sorted(tensors)}
      durable = _flush(file)
    with new_index.open('wb') as file:
      file.write(tensor_index.encode(entries))
      durable &= _flush(file)
    _verify(new_index, new_data, tensors)
    os.replace(new_data, data)
    os.replace(new_index, index)
  except BaseException:
    for path in (new_index, new_data):
      with contextlib.suppress(OSError):
        path.unlink()
    raise
  return atomic_file.fsync_folder(index.parent) and durable


def read(prefix: str | os.PathLike) -> dict[str, np.ndarray | bytes]:
  """Reads a checkpoint, all of its checksums checked.

  Raises:
    Damaged: the files can be read, and are not a checkpoint; or one is missing.
    OSError: they cannot be read now.
    MemoryError: they do not fit into the memory.
  """
  return dict(_read(_path(prefix, _INDEX), _path(prefix, _DATA)))


def read_some(prefix: str | os.PathLike, names: Iterable[str]
              ) -> Iterator[tuple[str, np.ndarray | bytes]]:
  """Yields the (name, tensor) of those of the names that are there, in order.

  Reads one tensor after the other, so that only one needs to fit into the
  memory. Otherwise as `read`.
  """
  return _read(_path(prefix, _INDEX), _path(prefix, _DATA), names)


def _path(prefix, end):
  return pathlib.Path(f'{os.fspath(prefix)}{end}')


def _flush(file):
  file.flush()
  return atomic_file.fsync(file.fileno())


def _append(file, value) -> tensor_index.Entry:
  """Writes a tensor at the end of a file."""
  offset = file.tell()
  if isinstance(value, bytes):
    content, crc = tensor_index.text_bytes(value)
    dtype, shape = tf.string, ()
  else:
    dtype, shape = tf.as_dtype(value.dtype), value.shape
    content = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    crc = tensor_index.masked_crc(content)
  file.write(content)
  return tensor_index.Entry(dtype.as_datatype_enum, shape, offset,
                            len(content), crc)


def _verify(index, data, tensors):
  """Reads what was written. Its checksums are those of the tensors in memory.
  """
  try:
    names = {name for name, _ in _read(index, data)}
    if names != tensors.keys():
      raise Damaged(f'{index.name} has other names')
  except Damaged as damage:
    raise OSError(errno.EIO, f'it reads back wrong: {damage}') from damage


def _read(index, data, names=None) -> Iterator[tuple[str, np.ndarray | bytes]]:
  """Yields the (name, tensor) of a checkpoint, of the paths of its files.

  Args:
    index: path.
    data: path.
    names: of the tensors to read, in this order; None: all.
  """
  with _open(index) as file:
    try:
      entries = tensor_index.decode(file.read())
    except Damaged as damage:
      raise Damaged(f'{index.name}: {damage}') from damage
  with _open(data) as file:
    for name in entries if names is None else filter(entries.get, names):
      try:
        yield name, _tensor(file, entries[name])
      except Damaged as damage:
        raise Damaged(f'{data.name}: {damage}, in {name}') from damage


def _open(path) -> io.BufferedIOBase:
  """Opens a file for reading; never waits for what is not a file."""
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):
      raise Damaged(f'{path.name} is not a file')
    return path.open('rb')
  except OSError as error:
    if error.errno in _ABSENT:
      raise Damaged(f'{path.name} is missing') from error
    raise


def _tensor(file, entry):
  """Reads a tensor from the data."""
  content = np.empty(entry.size, np.uint8)
  file.seek(entry.offset)
  if file.readinto(content) < entry.size:
    raise Damaged('the file is too short')
  if entry.dtype == tf.string.as_datatype_enum and not entry.shape:
    return tensor_index.text_of(content.tobytes(), entry.crc)
  if tensor_index.masked_crc(content) != entry.crc:
    raise Damaged('the bytes do not match their checksum')
  try:
    dtype = tf.as_dtype(entry.dtype).as_numpy_dtype
    return content.view(dtype).reshape(entry.shape)
  except (TypeError, ValueError) as error:
    raise Damaged(f'type {entry.dtype} of shape {entry.shape} is unknown'
                  ) from error
