"""Keeps the kernels that XLA has chosen for a run on GPUs.

Two kernels for one product may round differently. Where operations must be
deterministic, TensorFlow 2.21 makes XLA take the first one that works instead
of the fastest one; which ones work depends on the free memory, too. A run that
must be the same bits after a restart keeps the choices in a folder of its own,
so that what is compiled again becomes the same program.
"""
import os
import pathlib
import re

_FOLDER = '--xla_gpu_per_fusion_autotune_cache_dir'
# What says where choices are kept, and which are taken.
_OURS = re.compile(f'{_FOLDER}|--xla_gpu_experimental_autotune_cache_mode|'
                   '--xla_gpu_(dump|load)_autotune_results_(to|from)')
# XLA ends a flag at a space that is not in quotes.
_FLAG = re.compile(r'''(?:"(?:\\.|[^"\\])*"|'[^']*'|\S)+''')


def keep(folder: pathlib.Path) -> None:
  """Makes XLA keep its choices in a folder, unless XLA_FLAGS says where.

  Call it before TensorFlow is imported, which reads the variable then.

  Args:
    folder: of one process alone; XLA creates it when it has something to keep.
      If it could not write there, it would end the process: nothing is set.
  """
  flags = os.environ.get('XLA_FLAGS', '').strip()
  is_file = flags and not flags.startswith('-')  # One that holds the flags.
  if is_file or _OURS.search(flags) or not _can_create(folder):
    return
  path = os.fspath(folder.absolute()).replace('\\', '\\\\').replace('"', '\\"')
  os.environ['XLA_FLAGS'] = f'{flags} {_FOLDER}="{path}"'.strip()


def _can_create(path):
  while not os.path.exists(path):
    path = path.absolute().parent
  return os.access(path, os.W_OK)


def others(flags: str) -> str:
  """Returns the value of XLA_FLAGS without what places the choices."""
  return ' '.join(flag for flag in _FLAG.findall(flags)
                  if not _OURS.match(flag))
