"""Batch normalization in one kernel (Ioffe and Szegedy 2015, arXiv:1502.03167).

Keras's layer computes moments, differences and products one by one, which takes
longer than the convolutions. Here FusedBatchNormV3 does it in one kernel each
way: oneDNN's on CPUs, cuDNN's on GPUs, plain reductions under XLA.
"""
import keras
import tensorflow as tf


class BatchNorm(keras.layers.Layer):
  """Normalizes each channel, over all other axes of this replica's batch.

  Variables, statistics and arithmetic are float32 in every precision, and
  variables have the names that they have in Keras's layer. After each batch,

    moving = momentum * moving + (1 - momentum) * batch's

  where the variance of a batch is the biased one (the mean squared difference
  from the mean), as in Keras; PyTorch takes the unbiased one. A layer that is
  not trainable normalizes by the moving statistics and leaves them alone.
  """

  def __init__(self, momentum: float, epsilon: float,
               gamma_initializer: str = 'ones', **kwargs):
    """Makes the layer.

    Args:
      momentum: weight of the old value in the moving statistics.
      epsilon: added to variances.
      gamma_initializer: of the scale; 'zeros' or 'ones'.
      **kwargs: of keras.layers.Layer.
    """
    super().__init__(**kwargs)
    self.momentum, self.epsilon = momentum, epsilon
    self._gamma_initializer = gamma_initializer

  def build(self, input_shape):
    """Makes the four variables, float32 [c]."""
    def weight(name, initializer, trainable):
      return self.add_weight(
          name=name, shape=(input_shape[-1],), dtype='float32',
          initializer=initializer, trainable=trainable, autocast=False)

    self.gamma = weight('gamma', self._gamma_initializer, True)
    self.beta = weight('beta', 'zeros', True)
    self.moving_mean = weight('moving_mean', 'zeros', False)
    self.moving_variance = weight('moving_variance', 'ones', False)

  def call(self, x, training=False):
    """Normalizes float [b, h, w, c] by the batch's or the moving statistics."""
    training = bool(training and self.trainable)
    result = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=self.gamma, offset=self.beta,
        mean=[] if training else self.moving_mean,
        variance=[] if training else self.moving_variance,
        epsilon=self.epsilon, is_training=training)
    if training:
      # The kernel's variance is the unbiased one.
      count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
      self._move(self.moving_mean, result.batch_mean)
      self._move(self.moving_variance, result.batch_variance
                 * (tf.maximum(count - 1, 1) / count))
    return result.y

  def _move(self, variable, value):
    variable.assign(self.momentum * variable + (1 - self.momentum) * value)
