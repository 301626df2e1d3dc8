"""How much memory this process and its GPUs use."""
from collections.abc import Sequence
import os
import pathlib

import tensorflow as tf

_GIB = 2**30
_STATM = pathlib.Path('/proc/self/statm')  # In pages; the second is resident.


def figures(devices: Sequence[str]) -> dict[str, float]:
  """Returns {name: GiB}, as far as they are known.

  'host_memory_gib' is what this process has in RAM. 'device_memory_gib' and
  'device_memory_peak_gib' are what TensorFlow has given out of the memory of
  the fullest of its GPUs, now and at most so far: CPUs have none.

  Args:
    devices: names of the devices of this process.
  """
  values = {}
  try:
    resident = int(_STATM.read_text(encoding='ascii').split()[1])
    values['host_memory_gib'] = resident * os.sysconf('SC_PAGE_SIZE') / _GIB
  except (OSError, IndexError, ValueError):  # Not Linux.
    pass
  gpus = [info for name in devices if ':GPU:' in name and (info := _of(name))]
  for name, key in (('device_memory_gib', 'current'),
                    ('device_memory_peak_gib', 'peak')):
    if gpus:
      values[name] = max(info[key] for info in gpus) / _GIB
  return values


def _of(device):
  """Returns {'current', 'peak'} of a GPU in bytes; None if it is not known."""
  try:
    return tf.config.experimental.get_memory_info(device)
  except (ValueError, tf.errors.OpError):  # Its allocator does not count.
    return None
