"""Random access to the records of TFRecord files.

A file is a sequence of frames, little-endian: uint64 length, uint32 masked
CRC-32C of these 8 bytes, the data, uint32 masked CRC-32C of the data. The
position of each record is found once, from what stands between the data (16
bytes a record), together with the checksums of the data, which tell whether two
data sets are the same. All of it is kept in a small file of the user's cache,
and used for as long as the sizes and times of the files are the same. Records
that all fit in memory are read from the files only once. Nothing here knows
TensorFlow or what the records hold.

  records = Records([Span('train-00000-of-00002', 0, 100, 100)], remedy='...')
  first, last = records.read(np.array([0, 99]))
"""
from collections.abc import Sequence
import concurrent.futures
import contextlib
import errno
import hashlib
import os
import pathlib
import resource
import struct
import threading
from typing import NamedTuple

import google_crc32c
import numpy as np

from configs.process.errors import TryAgain, UserError
from pipelines import index_cache
from pipelines.index_cache import Frames, Stamp

_HEADER = struct.Struct('<QI')
_CRC = struct.Struct('<I')
_BETWEEN = _CRC.size + _HEADER.size  # Bytes from one record's data to the next.
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_OBJECT = 64  # Bytes that Python adds to the data of a record in memory.
_THREADS = 32  # On a cold disk, reading headers is waiting, not work.


class DamagedRecord(UserError):
  """A record that cannot be read, in a file that has not changed."""


class Span(NamedTuple):
  """Consecutive records of one file."""
  path: str
  skip: int  # Records before the first.
  take: int
  records_in_file: int  # According to the data set's own description.


class Records:
  """The records of some spans, numbered from 0 in their order."""

  def __init__(self, spans: Sequence[Span], *, remedy: str,
               check_crc: bool = True,
               cache_folder: pathlib.Path | None = None):
    """Finds the position of each record.

    Args:
      spans: where the records are.
      remedy: what the user can do about a damaged file, the end of a sentence.
      check_crc: whether `read` compares the data with their checksums.
      cache_folder: an existing folder; None: the positions are not kept.

    Raises:
      UserError: a file is missing, unreadable or truncated, or the number of
        its records is not the one expected.
    """
    self.spans, self._remedy, self.checks_crc = spans, remedy, check_crc
    self._stamps = [Stamp.of(self._stat(span.path)) for span in spans]
    frames = self._frames(cache_folder)
    starts = [_HEADER.size + np.cumsum(lengths + 16) - (lengths + 16)
              for lengths, _ in frames]
    cut = lambda rows: np.concatenate([
        row[span.skip:span.skip + span.take]
        for row, span in zip(rows, spans)])
    self._start = cut(starts)
    self._length = cut(frame.lengths for frame in frames)
    self._crc = cut(frame.crcs for frame in frames)
    self._file = np.repeat(np.arange(len(spans)), [s.take for s in spans])
    self._open_files, self._lock = {}, threading.Lock()
    self._kept: list[bytes | None] | None = None
    self._most_open_files = _allow_open_files(len(spans))

  def __len__(self) -> int:
    return len(self._start)

  @property
  def mean_bytes(self) -> float:
    """Bytes of a record, on average."""
    return float(self._length.mean()) if len(self) else 0.0

  def keep(self, most_bytes: float) -> bool:
    """Keeps records in memory once they have been read, if all of them fit.

    They are not read now: the first step need not wait for the whole split, and
    a process keeps only what it uses. Memory grows until each record has been
    read, in training by the end of the first epoch, and then stays the same.

    Args:
      most_bytes: what all records together may take.

    Returns:
      Whether they fit.
    """
    fit = int(self._length.sum()) + _OBJECT * len(self) <= most_bytes
    nothing: list[bytes | None] = [None] * len(self)
    self._kept = nothing if fit else None
    return fit

  def read(self, numbers: np.ndarray) -> list[bytes]:
    """Reads some records; may be called by many threads at once.

    Args:
      numbers: int [b], each in [0, len(self)).

    Returns:
      The data of b records.

    Raises:
      DamagedRecord: a record does not match its checksum.
      UserError: a file was changed or removed, or may not be read.
      TryAgain: a file cannot be read now.
    """
    kept = self._kept
    if kept is None:
      return self._read_files(numbers)
    wanted = numbers.tolist()
    missing = [number for number in wanted if kept[number] is None]
    if missing:
      for number, data in zip(missing, self._read_files(np.array(missing))):
        kept[number] = data
    return [kept[number] for number in wanted]  # pyright: ignore[reportReturnType]

  def digest(self) -> str:
    """Returns hex digits that identify these records, in their order.

    They depend on the length and the checksum of each record, but not on the
    files that hold them. `read` finds out whether the checksums are right.
    """
    lengths, crcs = self._length.astype('<i8'), self._crc.astype('<u4')
    return hashlib.sha256(lengths.tobytes() + crcs.tobytes()).hexdigest()

  def name(self, number: int) -> str:
    """Returns a record's name as in TFDS: file__number, from 0 in its file."""
    file = int(self._file[number])
    first = int(np.searchsorted(self._file, file))
    span = self.spans[file]
    return f'{os.path.basename(span.path)}__{span.skip + number - first}'

  def _read_files(self, numbers):
    """Reads records from their files."""
    places = list(zip(self._file[numbers].tolist(),
                      self._start[numbers].tolist(),
                      self._length[numbers].tolist()))
    # Files that are not kept open are closed when this goes out of scope.
    streams = {file: self._open(file) for file in {p[0] for p in places}}
    # The kernel fetches all of them at once, while the first are copied.
    for file, start, length in places:
      with contextlib.suppress(OSError):  # It is only advice.
        os.posix_fadvise(streams[file].fileno(), start, length,
                         os.POSIX_FADV_WILLNEED)
    return [self._read_one(streams[file].fileno(), file, start, length)
            for file, start, length in places]

  def _read_one(self, descriptor, file, start, length):
    path = self.spans[file].path
    try:
      block = os.pread(descriptor, length + _CRC.size, start)
    except OSError as error:
      raise self._unreadable(path, error) from error
    if len(block) < length + _CRC.size:
      raise self._changed_or_damaged(file, start, 'the file ends there')
    data = block[:length]
    if (self.checks_crc
        and _CRC.unpack_from(block, length)[0] != masked_crc(data)):
      raise self._changed_or_damaged(
          file, start, 'a record does not match its checksum')
    return data

  def _open(self, file):
    """Opens an unchanged file; keeps it open if there are not too many."""
    with self._lock:
      if file in self._open_files:
        return self._open_files[file]
    path = self.spans[file].path
    try:
      stream = open(path, 'rb', buffering=0)
      stat = os.fstat(stream.fileno())
    except OSError as error:
      raise self._unreadable(path, error) from error
    if not self._stamps[file].is_of(stat):
      raise self._changed(path)
    with self._lock:
      if len(self._open_files) < self._most_open_files:
        return self._open_files.setdefault(file, stream)
    return stream

  def _frames(self, cache_folder):
    """Returns the Frames of each file, from the cache or from the file."""
    paths = [span.path for span in self.spans]
    digest = hashlib.sha256('\n'.join(paths).encode()).hexdigest()[:32]
    cache = cache_folder and cache_folder / f'{digest}.npz'
    frames = cache and index_cache.read(cache, self._stamps)
    if not frames:
      with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        frames = list(pool.map(self._scan, range(len(paths))))
      if cache:
        index_cache.write(cache, self._stamps, frames)
    for span, (lengths, _) in zip(self.spans, frames):
      if len(lengths) != span.records_in_file:
        raise UserError(
            f'{span.path} has {len(lengths)} records, but its data set expects '
            f'{span.records_in_file}: {self._remedy}.')
    return frames

  def _scan(self, file):
    """Returns the Frames of one file, from all but the records' data."""
    path, size = self.spans[file].path, self._stamps[file].size
    lengths, crcs, offset = [], [], 0
    try:
      stream = open(path, 'rb', buffering=0)
    except OSError as error:
      raise self._unreadable(path, error) from error
    with stream:
      header = self._scan_at(stream, path, 0, _HEADER.size)
      while offset < size:
        if len(header) < _HEADER.size:
          raise self._damaged(path, offset, 'the file ends there')
        length, crc = _HEADER.unpack(header)
        if crc != masked_crc(header[:8]):
          raise self._damaged(
              path, offset,
              'the length of a record does not match its checksum')
        if offset + length + 16 > size:
          raise self._damaged(
              path, offset, 'the file ends in the middle of a record')
        # The checksum of these data and, one read for both, the next header.
        offset += length + 16
        between = self._scan_at(stream, path, offset - _CRC.size, _BETWEEN)
        if len(between) < _CRC.size:  # It became shorter.
          raise self._changed(path)
        lengths.append(length)
        crcs.append(between[:_CRC.size])
        header = between[_CRC.size:]
    return Frames(np.array(lengths, np.int64),
                  np.frombuffer(b''.join(crcs), '<u4'))

  def _scan_at(self, stream, path, offset, count):
    """Reads `count` bytes, or fewer at the end of the file."""
    try:
      return os.pread(stream.fileno(), count, offset)
    except OSError as error:
      raise self._unreadable(path, error) from error

  def _stat(self, path):
    try:
      return os.stat(path)
    except OSError as error:
      raise self._unreadable(path, error) from error

  def _unreadable(self, path, error):
    """Returns the error to raise for an OSError of a file."""
    what = f'{path} cannot be read ({error.strerror})'
    if error.errno in (errno.EACCES, errno.EPERM):
      return UserError(f'{what}: make it readable, then rerun the same '
                       'command.')
    if error.errno in _MISSING:
      return UserError(f'{what}: {self._remedy}.')
    return TryAgain(f'{what}: rerun the same command once it can be read; if '
                    f'it is lost, {self._remedy}.')

  def _changed(self, path):
    return UserError(
        f'{path} was changed while it was being read (its size or modification '
        'time differs): start again, in a new --workdir unless its records are '
        'still the same.')

  def _changed_or_damaged(self, file, offset, what):
    path = self.spans[file].path
    if not self._stamps[file].is_of(self._stat(path)):
      return self._changed(path)
    return self._damaged(path, offset, what)

  def _damaged(self, path, offset, what):
    return DamagedRecord(
        f'{path} is damaged at byte {offset} ({what}): {self._remedy}.')


def masked_crc(data: bytes) -> int:
  """Returns the checksum of TFRecord frames, uint32: CRC-32C, rotated and
  offset."""
  crc = google_crc32c.value(data)
  return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _allow_open_files(files):
  """Raises the soft limit; returns how many of `files` may be kept open."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  wanted = 2 * files + 256  # For training, evaluation and everything else.
  if soft < wanted:
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
  return max((soft - 256) // 2, 1)
