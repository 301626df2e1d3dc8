"""Strategies over the CPU devices that conftest.py makes."""
import functools

import tensorflow as tf


@functools.cache  # Two over the same devices would share keys of collectives.
def on_cpus(replicas):
  """One strategy for each number of replicas, 1 to 4, in a test process."""
  if replicas == 1:
    return tf.distribute.OneDeviceStrategy('CPU:0')
  return tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(replicas)])
