"""Keeps the memory that a training step frees on a CPU, for the next step.

By default, glibc returns large freed blocks to the kernel and gets them back,
zeroed page by page, in every step. On CPUs that takes a third of the step. The
settings here are those of mallopt(3); without glibc they do nothing.
"""
import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


def keep_freed() -> None:
  """Makes malloc reuse large blocks. Takes microseconds.

  Call it before there are threads, and again before steps run: under Python
  3.11, TensorFlow resets the mmap threshold to 128 KiB whenever it makes the
  iterator of a data set.
  """
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError, TypeError):
    return
  mallopt(_MMAP_THRESHOLD, 32 * 2**20)  # The most that glibc allows.
  mallopt(_TRIM_THRESHOLD, 2**31 - 1)
  mallopt(_TOP_PAD, 256 * 2**20)
  # The arenas of threads hold at most 64 MiB, so larger blocks would be mapped
  # again. This prevents new arenas; existing ones remain.
  mallopt(_ARENA_MAX, 1)
