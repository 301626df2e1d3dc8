"""How data sets are read, as plain values; reading_flags defines the flags."""
import os
from typing import NamedTuple


class Reading(NamedTuple):
  """How data sets are read. None of it changes what is read."""
  data_dir: str | None = None  # None: TFDS's default folder.
  memory_gib: float = 4.0  # Splits larger than this stay on disk.
  check_crc: bool = True  # Whether records are compared with their checksums.
  skip_bad_images: bool = False  # Whether to leave out what cannot be read.

  @property
  def folder(self) -> str | None:
    """The absolute path of data_dir; None for TFDS's default."""
    return self.data_dir and os.path.abspath(self.data_dir)
