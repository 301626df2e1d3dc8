"""Flags for reading data sets, shared by all programs that read one."""
import os

from absl import flags

from configs.process import flag_groups, path_flags
from pipelines.options import Reading

_DEFAULTS = Reading()


@flag_groups.group('Reading data')
def define() -> None:
  """Defines the flags; `get` returns their values once they are parsed."""
  path_flags.define(
      'data_dir', _DEFAULTS.data_dir, 'The folder that holds prepared TFDS '
      "data sets. Default: TFDS's own, ~/tensorflow_datasets.")
  flags.DEFINE_float(
      'memory_gib', _DEFAULTS.memory_gib, 'Keeps a split in memory if it takes '
      'at most this many GiB: decoded, if its images all have one size; else '
      'encoded, once they have been read. Other splits are read from disk '
      'every time. 0: always read from disk.',
      lower_bound=0)
  flags.DEFINE_bool(
      'check_crc', _DEFAULTS.check_crc, 'Whether to compare records that are '
      'read from disk with their checksums.')
  flags.DEFINE_bool(
      'skip_bad_images', _DEFAULTS.skip_bad_images, 'Leaves out pictures that '
      'cannot be read or decoded, and counts them, instead of stopping.')


def get() -> Reading:
  """Returns the Reading that the parsed flags ask for."""
  values = flags.FLAGS
  data_dir = values.data_dir and os.fspath(values.data_dir)
  return Reading(data_dir, values.memory_gib, values.check_crc,
                 values.skip_bad_images)
