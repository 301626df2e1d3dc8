"""How data sets are read, as plain values; see reading_flags for the flags."""
from typing import NamedTuple


class Reading(NamedTuple):
  """How data sets are read. None of it changes what is read."""
  data_dir: str | None = None  # None: TFDS's own default.
  memory_gib: float = 4.0  # Splits that are larger once decoded stay on disk.
  check_crc: bool = True  # Whether to compare records with their checksums.
  skip_bad_images: bool = False  # Leave out what cannot be read, or stop.
