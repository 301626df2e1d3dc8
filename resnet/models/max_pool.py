"""Max-pooling whose gradient is the same bits in every run, also on GPUs.

cuDNN's and XLA's gradients of max-pooling add up in an order that may change,
so TensorFlow refuses to compile them where operations must be deterministic.
Here, the maximum is taken over strided slices of the image, one for each place
in a window, and the gradient is a sum of as many terms in a fixed order.

Values and gradients are those of tf.nn.max_pool2d on CPUs, bit for bit; where
several pixels of a window are the largest, the first one gets the gradient.
"""
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf


class MaxPool(keras.layers.MaxPooling2D):
  """keras.layers.MaxPooling2D with the gradient of this file."""

  def call(self, inputs):
    """Returns the maximum of each window of float [b, h, w, c]."""
    return max_pool(inputs, self.pool_size, self.strides, self.padding)


def max_pool(x: tf.Tensor, size: Sequence[int], strides: Sequence[int],
             padding: str) -> tf.Tensor:
  """Returns the maximum of each window, float [b, h', w', c].

  Args:
    x: float [b, h, w, c]; h and w are known.
    size: of a window: (height, width).
    strides: from a window to the next: (down, right).
    padding: 'valid': windows lie wholly inside the image; 'same': h' is
      ceil(h / stride), and what is outside of the image does not count.
  """
  margins = [(0, 0), *(_margins(*axis, padding) for axis in zip(
      x.shape[1:3], size, strides)), (0, 0)]
  if any(map(any, margins)):
    x = tf.pad(x, margins, constant_values=-float('inf'))
  return _maximum(x, size, strides)  # pyright: ignore[reportReturnType]


def _margins(pixels, size, stride, padding):
  """Returns how many pixels are added before and after those of an axis."""
  if padding == 'valid':
    return 0, 0
  added = max((-(-pixels // stride) - 1) * stride + size - pixels, 0)
  return added // 2, added - added // 2


def _maximum(padded, size, strides):
  """Returns the maximum of each window that lies wholly inside of `padded`."""

  @tf.custom_gradient
  def maximum(x):
    places = list(_places(x.shape[1:3], size, strides))
    y = _slice(x, *places[0])
    for place in places[1:]:
      y = tf.maximum(y, _slice(x, *place))

    def gradient(dy):
      zero, terms = tf.zeros([], dy.dtype), []
      for place in places:
        largest = tf.equal(_slice(x, *place), y)
        terms.append(_spread(tf.where(largest, dy, zero), tf.shape(x), *place))
        dy = tf.where(largest, zero, dy)  # Only the first one gets it.
      # As CPUs do: a pixel's windows from top left to bottom right. It is the
      # last place of the first of them.
      total = terms.pop()
      while terms:
        total += terms.pop()
      return total

    return y, gradient

  return maximum(padded)


def _places(image, size, strides) -> Iterator[tuple[list[int], ...]]:
  """Yields (begin, end, strides) of the slice of each place in a window."""
  bottom, right = ((pixels - kernel) // stride * stride
                   for pixels, kernel, stride in zip(image, size, strides))
  for row in range(size[0]):
    for column in range(size[1]):
      yield ([0, row, column, 0], [0, bottom + row + 1, right + column + 1, 0],
             [1, *strides, 1])


_WHOLE_AXES = 0b1001  # Bits of the axes b and c: they are not cut.


def _slice(x, begin, end, strides):
  return tf.strided_slice(
      x, begin, end, strides, begin_mask=_WHOLE_AXES, end_mask=_WHOLE_AXES)


def _spread(dy, shape, begin, end, strides):
  """Returns the gradient of `_slice`: dy in its places, zeros elsewhere."""
  return tf.raw_ops.StridedSliceGrad(
      shape=shape, begin=begin, end=end, strides=strides, dy=dy,
      begin_mask=_WHOLE_AXES, end_mask=_WHOLE_AXES)
