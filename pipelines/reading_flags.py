"""Flags of how data sets are read, which every binary with data shares."""
from absl import flags

from pipelines.options import Reading

_DEFAULTS = Reading()


def define():
  """Defines them; `get` reads them once they are parsed."""
  flags.DEFINE_string('data_dir', _DEFAULTS.data_dir, 'Where TFDS data sets '
                      "are prepared; none: TFDS's default, "
                      '~/tensorflow_datasets.')
  flags.DEFINE_float('memory_gib', _DEFAULTS.memory_gib, 'Splits of images of '
                     'one size that take at most so much memory once decoded '
                     'are kept there, others read from disk; 0: from disk.',
                     lower_bound=0)
  flags.DEFINE_bool('check_crc', _DEFAULTS.check_crc, 'Whether records from '
                    'disk are compared with their checksums.')
  flags.DEFINE_bool('skip_bad_images', _DEFAULTS.skip_bad_images, 'Leave out '
                    'pictures that cannot be read or decoded, and count them, '
                    'instead of stopping.')


def get():
  """The Reading that the parsed flags ask for."""
  return Reading(**{
      name: flags.FLAGS[name].value for name in Reading._fields})
