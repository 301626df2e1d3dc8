"""Strategies over the CPU devices that conftest.py makes."""
import functools

import tensorflow as tf


@functools.cache  # Two over the same devices would share collective keys.
def on_cpus(replicas):
  """Returns the strategy over 1 to 4 CPUs, one of each in a test process."""
  if replicas == 1:
    return tf.distribute.OneDeviceStrategy('CPU:0')
  return tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(replicas)])
