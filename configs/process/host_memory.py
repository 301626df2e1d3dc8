"""Keeps the memory that a CPU step frees, for the next step.

glibc hands large freed blocks back to the kernel and gets them again, zeroed
page by page, in every step: a third of the time of a training step on CPUs.
The settings are those of mallopt(3); elsewhere than on glibc nothing happens.
"""
import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


def keep_freed():
  """Makes malloc reuse large blocks.

  Call before there are threads, and again before steps run: under Python 3.11
  TensorFlow sets the threshold to 128 KiB whenever it makes a data set's
  iterator. It takes microseconds.
  """
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError, TypeError):
    return
  mallopt(_MMAP_THRESHOLD, 32 * 2**20)  # The most that glibc allows.
  mallopt(_TRIM_THRESHOLD, 2**31 - 1)
  mallopt(_TOP_PAD, 256 * 2**20)
  # Arenas of threads end at 64 MiB and would map again; those that exist stay.
  mallopt(_ARENA_MAX, 1)
