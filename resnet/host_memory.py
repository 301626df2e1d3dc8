"""Keeps the memory that a CPU step frees, for the next step.

glibc hands large freed blocks back to the kernel and gets them again, zeroed
page by page, in every step: a third of the time of a training step on CPUs.
The settings are those of mallopt(3); elsewhere than on glibc nothing happens.
"""
import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


def keep_freed():
  """Makes malloc reuse large blocks. Call before TensorFlow starts threads."""
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError, TypeError):
    return
  mallopt(_MMAP_THRESHOLD, 32 * 2**20)  # The most that glibc allows.
  mallopt(_TRIM_THRESHOLD, 2**31 - 1)
  mallopt(_TOP_PAD, 256 * 2**20)
  # Arenas of single threads end at 64 MiB and would map again.
  mallopt(_ARENA_MAX, 1)
