"""Convolutions in groups (Xie et al. 2017, arXiv:1611.05431), also on CPUs.

TensorFlow's kernel for CPUs has no gradient of a convolution in groups; XLA for
CPUs has one that takes a hundred times as long as the same convolution without
groups. Here, the convolution is TensorFlow's everywhere, and its gradient is
that of each group by itself, side by side; on GPUs it is TensorFlow's own.
"""
import keras
import tensorflow as tf


class GroupedConv(keras.layers.Conv2D):
  """keras.layers.Conv2D with groups, which has a gradient on every device.

  Its kernel is float32 [k, k, channels / groups, filters] as in Keras: filters
  [g * n, (g + 1) * n) read channels [g * m, (g + 1) * m), where n is filters /
  groups and m is channels / groups.
  """

  def __init__(self, filters: int, kernel_size: int, strides: int, *,
               native_gradient: bool, **kwargs):
    """Makes the layer.

    Args:
      filters: see keras.layers.Conv2D.
      kernel_size: likewise.
      strides: likewise.
      native_gradient: whether the devices have a gradient of their own: GPUs.
      **kwargs: of keras.layers.Conv2D.
    """
    super().__init__(filters, kernel_size, strides, **kwargs)
    self.native_gradient = native_gradient

  def convolution_op(self, inputs, kernel):
    """Returns float [b, h', w', filters]; Keras calls it."""
    kernel = tf.convert_to_tensor(kernel)
    strides, padding = [1, *self.strides, 1], self.padding.upper()
    if self.native_gradient:
      return tf.nn.conv2d(inputs, kernel, strides, padding)
    return _convolve(inputs, kernel, strides, padding, self.groups)


def _convolve(inputs, kernel, strides, padding, groups):
  """Convolves; the gradient is computed group by group."""

  @tf.custom_gradient
  def convolve(x, kernel):

    def gradient(dy):
      parts = [
          _gradients(*part, strides, padding) for part in zip(
              *(tf.split(tensor, groups, -1) for tensor in (x, kernel, dy)))]
      dx, dkernel = zip(*parts)
      return tf.concat(dx, -1), tf.concat(dkernel, -1)

    return tf.nn.conv2d(x, kernel, strides, padding), gradient

  return convolve(inputs, kernel)


def _gradients(x, kernel, dy, strides, padding):
  """Returns the gradients for input and kernel of a convolution."""
  return (
      tf.raw_ops.Conv2DBackpropInput(
          input_sizes=tf.shape(x), filter=kernel, out_backprop=dy,
          strides=strides, padding=padding),
      tf.raw_ops.Conv2DBackpropFilter(
          input=x, filter_sizes=kernel.shape, out_backprop=dy,
          strides=strides, padding=padding))
