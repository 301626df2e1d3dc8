"""Keeps what was found between the records of TFRecord files; see records.py.
"""
from collections.abc import Sequence
import contextlib
import io
import json
import os
import pathlib
from typing import NamedTuple

import numpy as np

from configs.process import atomic_file


class Stamp(NamedTuple):
  """What tells whether a file has changed."""
  size: int
  mtime_ns: int
  # Copying tools set the modification time back, but nothing sets this one. It
  # also changes with permissions, which does not matter to a run in progress.
  ctime_ns: int

  @classmethod
  def of(cls, stat: os.stat_result) -> 'Stamp':
    """Returns the stamp of a file."""
    return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

  def is_of(self, stat: os.stat_result) -> bool:
    """Returns whether a file has not been written since."""
    return (self.size, self.mtime_ns) == (stat.st_size, stat.st_mtime_ns)


class Frames(NamedTuple):
  """What stands between the data of all records of one file."""
  lengths: np.ndarray  # int64 [records in file], of the data.
  crcs: np.ndarray  # uint32 [records in file], masked, of the data.


def read(path: pathlib.Path, stamps: Sequence[Stamp]) -> list[Frames] | None:
  """Returns the frames in a cache file; None unless it is of these files."""
  try:
    with np.load(path) as archive:
      if json.loads(str(archive['stamps'])) != [list(s) for s in stamps]:
        return None
      ends = np.cumsum(archive['counts'])[:-1]
      lengths, crcs = archive['lengths'], archive['crcs']
      if len(lengths) != len(crcs):
        return None
      return [Frames(*columns) for columns in zip(
          np.split(lengths.astype(np.int64), ends),
          np.split(crcs.astype(np.uint32), ends))]
  except Exception:  # Missing, torn or foreign: NumPy and zip raise anything.
    return None


def write(path: pathlib.Path, stamps: Sequence[Stamp],
          frames: Sequence[Frames]) -> None:
  """Keeps the frames; other processes may be doing the same right now."""
  content = io.BytesIO()
  np.savez(content, stamps=np.array(json.dumps(stamps)),
           counts=np.array([len(lengths) for lengths, _ in frames]),
           lengths=np.concatenate([lengths for lengths, _ in frames]),
           crcs=np.concatenate([crcs for _, crcs in frames]))
  with contextlib.suppress(OSError):  # A full disk, say: it is only a cache.
    atomic_file.write(path, content.getvalue(), durable=False)
