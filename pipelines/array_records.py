"""Random access to the records of ArrayRecord files, as TFDS can write them.

Everything is as for TFRecord files (records.py), but the checksums of the data
do not stand in these files: all data are read once, when they are opened for
the first time, to compute them. They are kept like the positions of records, so
that the same records have the same digest in either format.
"""
from collections.abc import Iterator
import contextlib
import threading
from typing import Any

import numpy as np

from configs.process.errors import first_line, UserError
from pipelines import records
from pipelines.index_cache import Frames

_AT_ONCE = 2**26  # Bytes that are read at once to compute checksums, about.
# Without a buffer that is filled in order. Places of records are in memory.
_OPTIONS = 'readahead_buffer_size:0,index_storage_option:in_memory'


class ArrayRecords(records.Records):
  """The records of some spans, numbered from 0 in their order."""

  def _scan(self, file: int) -> Frames:
    """Returns the lengths and checksums of one file's records."""
    lengths, crcs = [], []
    path = self.spans[file].path
    with self._explained(file):
      reader = _reader(path)
      count = reader.num_records()
      step = max(1, _AT_ONCE * count // max(self._stamps[file].size, 1))
      for first in range(0, count, step):
        for data in reader.read(first, min(first + step, count)):
          lengths.append(len(data))
          crcs.append(records.masked_crc(data))
    return Frames(np.array(lengths, np.int64), np.array(crcs, np.uint32))

  def _read_files(self, numbers: np.ndarray) -> list[bytes]:
    """Reads records from their files, all those of one file at once."""
    files = self._file[numbers]
    found: dict[int, bytes] = {}
    for file in np.unique(files).tolist():
      wanted = np.unique(numbers[files == file])
      first = int(np.searchsorted(self._file, file))
      places = wanted - first + self.spans[file].skip
      opened = self._opened(file)
      with self._explained(file), opened.lock:
        read = opened.reader.read(places.tolist())
      for number, data in zip(wanted.tolist(), read):
        if self.checks_crc and records.masked_crc(data) != self._crc[number]:
          raise self._damaged_file(
              file, 'a record does not match its checksum')
        found[number] = data
    return [found[number] for number in numbers.tolist()]

  def _opened(self, file):
    """Returns the reader of an unchanged file, kept open for the next call."""
    with self._lock:
      opened = self._open_files.get(file)
    if opened:
      return opened
    path = self.spans[file].path
    if not self._stamps[file].is_of(self._stat(path)):
      raise self._changed(path)
    with self._explained(file):
      opened = _Opened(_reader(path))
    with self._lock:
      if len(self._open_files) < self._most_open_files:
        return self._open_files.setdefault(file, opened)
    return opened

  @contextlib.contextmanager
  def _explained(self, file) -> Iterator[None]:
    """Turns what the reader raises in the block into a sentence."""
    try:
      yield
    except (RuntimeError, ValueError, IndexError) as error:
      raise self._damaged_file(file, first_line(error)) from error

  def _damaged_file(self, file, what):
    path = self.spans[file].path
    if not self._stamps[file].is_of(self._stat(path)):
      return self._changed(path)
    return records.DamagedRecord(
        f'{path} is damaged ({what}): {self._remedy}.')


class _Opened:
  """A reader, which one thread at a time may use."""

  def __init__(self, reader):
    self.reader, self.lock = reader, threading.Lock()


def _reader(path) -> Any:
  """Opens a file; TFDS installs what reads it, but only on Linux."""
  try:
    from array_record.python import (  # It has no types.
      array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
    )
  except ImportError as error:
    raise UserError(
        f'{path} is an ArrayRecord file, and array_record, which reads them, '
        f'cannot be imported ({first_line(error)}): install it with `pip '
        'install array_record`, or prepare the data set again as TFRecord '
        'files.') from error
  return array_record_module.ArrayRecordReader(path, _OPTIONS)
