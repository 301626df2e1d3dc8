"""Strategies over the CPU devices that conftest.py makes."""
import functools
from typing import Any

import tensorflow as tf


def on_cpus(replicas: int) -> tf.distribute.Strategy:
  """Returns the strategy over 1 to 4 CPUs, one of each in a test process."""
  return over(tuple(f'CPU:{i}' for i in range(replicas)))


@functools.cache  # Two over the same devices would share collective keys.
def over(devices: tuple[str, ...]) -> tf.distribute.Strategy:
  """Returns the strategy over some devices, one of each in a test process."""
  if len(devices) == 1:
    return tf.distribute.OneDeviceStrategy(devices[0])
  # All number their groups of devices from here. Two groups with one number end
  # with "joining a group that is already full".
  strategy: Any = tf.distribute.MirroredStrategy
  strategy._collective_key_base += 1000
  return strategy(list(devices))
