"""Keeps what XLA compiles, so that a restart does not compile it again."""
import os

from configs.process import cache_folder

_FLAG = '--tf_xla_persistent_cache_directory'


def use() -> None:
  """Sets XLA's cache to a folder of the user's, unless TF_XLA_FLAGS sets it.

  Call it before TensorFlow is imported, which reads the variable then. XLA
  writes only into a folder that exists. The folder is the same for all runs,
  since the variable may have to be set before a run's flags have been read.
  """
  flags = os.environ.get('TF_XLA_FLAGS', '')
  if _FLAG in flags:
    return
  folder = cache_folder.make('xla')
  if folder:
    os.environ['TF_XLA_FLAGS'] = f'{flags} {_FLAG}={folder}'.strip()


def others(flags: str) -> str:
  """Returns the value of TF_XLA_FLAGS without what places the cache."""
  return ' '.join(flag for flag in flags.split() if not flag.startswith(_FLAG))
