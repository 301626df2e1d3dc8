"""Keeps the gradients of the last update on the devices, for histograms."""
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from resnet import compilation
from resnet.distribution import feeding
from resnet.distribution.packing import Packing


class KeptGradients:
  """Variables that an update assigns; they take the memory of the weights.

  Attributes:
    variables: for the vectors of Packing.pack, summed over all replicas, and
      for the loss scale that their gradients have.
  """

  def __init__(self, strategy: tf.distribute.Strategy, packing: Packing,
               digest: Callable):
    """Makes the variables.

    Args:
      strategy: the devices.
      packing: of the vectors.
      digest: see steps.local_share.
    """
    self._packing = packing
    sums = tf.concat([feeding.host_values(None, 0.0), tf.zeros([3]),
                      digest(tf.zeros([1], tf.int64))], 0)
    gradients, statistics = [
        [tf.zeros(shape) for shape in shapes]
        for shapes in (packing.params, packing.statistics)]
    vectors = packing.pack(gradients, statistics, sums)
    with strategy.scope():
      self.variables = [tf.Variable(zeros, trainable=False)
                        for zeros in (*vectors, tf.constant(1.0))]

  def on_host(self) -> list[np.ndarray]:
    """Copies the gradients, which are like the weights, to the host.

    They are those of all replicas together, before clipping.
    """
    with compilation.host():
      *vectors, scale = [tf.constant(v.numpy()) for v in self.variables]
      gradients, _, _ = self._packing.unpack(vectors)
      return [(gradient / scale).numpy() for gradient in gradients]
