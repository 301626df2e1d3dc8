"""Keeps what XLA compiles, so that a restart need not compile again."""
import os

from configs.process import cache_folder

_FLAG = '--tf_xla_persistent_cache_directory'


def use():
  """Names a folder of the user's cache to XLA, unless TF_XLA_FLAGS names one.

  Call before TensorFlow is imported: it reads the variable then, and XLA
  writes only into a folder that exists. A folder of the run would come too
  late, since flags are parsed after.
  """
  flags = os.environ.get('TF_XLA_FLAGS', '')
  if _FLAG in flags:
    return
  folder = cache_folder.make('xla')
  if folder:
    os.environ['TF_XLA_FLAGS'] = f'{flags} {_FLAG}={folder}'.strip()
