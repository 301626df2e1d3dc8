"""Crops and resizes pictures of any size with keras.ops alone.

Where neither TensorFlow's kernels nor this project are at hand, a picture is
resized by two matrix products, one for its rows and one for its columns. Row i
of a matrix has the weights of the pixels that make up pixel i. Each number is
that of TensorFlow's kernel but for its rounding, so that a pixel is another one
only where it falls halfway between two levels.

  pixels = add(image, preprocessing)
"""
from typing import Any, NamedTuple

import keras
import numpy as np

from pipelines.single_pictures import Preprocessing

ops: Any = keras.ops  # Its annotations are those of all backends together.
_TABLE = 1024  # TensorFlow's bicubic kernel has weights for so many places.


class _Axis(NamedTuple):
  """Where the pixels of one axis come from; all float32 [n, 1]."""
  ones: keras.KerasTensor  # [n, any]: one for each pixel of the picture.
  size: keras.KerasTensor
  side: keras.KerasTensor  # Of the box that is cut out.
  inner: keras.KerasTensor | float  # What the box is resized to.
  length: int  # Of the result; the rest is a border of zeros.


def add(image: keras.KerasTensor,
        preprocessing: Preprocessing) -> keras.KerasTensor:
  """Adds what `preprocessing.pixels` does to a graph.

  Args:
    image: uint8 [n, any, any, c].
    preprocessing: the crop, the size and the interpolation.

  Returns:
    float32 [n, h, w, c], whole numbers in 0..255.
  """
  x = ops.cast(image, 'float32')
  ones = [ops.ones_like(x[:, :, 0, 0]), ops.ones_like(x[:, 0, :, 0])]
  sizes = [ops.sum(one, 1, keepdims=True) for one in ones]
  down, right = (
      _weights(_Axis(one, size, side, inner, length),
               preprocessing.interpolation)
      for one, size, side, inner, length in zip(
          ones, sizes, *_boxes(sizes, preprocessing), preprocessing.shape))
  x = ops.transpose(x, (0, 3, 1, 2))
  x = ops.matmul(ops.expand_dims(down, 1), x)
  x = ops.matmul(x, ops.transpose(ops.expand_dims(right, 1), (0, 1, 3, 2)))
  if preprocessing.interpolation != 'bilinear':
    x = ops.clip(x, 0.0, 255.0)
  return ops.transpose(ops.round(x), (0, 2, 3, 1))


def _boxes(sizes, preprocessing):
  """Returns ((height, width) to cut out, (height, width) to resize it to)."""
  target = [float(side) for side in preprocessing.shape[:2]]
  if preprocessing.crop:
    side = ops.maximum(ops.round(
        preprocessing.crop.share * ops.minimum(*sizes)), 1.0)
    return (side, side), target
  inner = target
  if preprocessing.pads:
    fits = ops.logical_and(*(ops.less_equal(size, length)
                             for size, length in zip(sizes, target)))
    inner = [ops.where(fits, size, length)
             for size, length in zip(sizes, target)]
  times = ops.minimum(*(ops.divide(size, length)
                        for size, length in zip(sizes, inner)))
  sides = [ops.minimum(ops.maximum(ops.round(ops.multiply(times, length)), 1.0),
                       size) for size, length in zip(sizes, inner)]
  return sides, inner


def _weights(axis, interpolation):
  """Returns float32 [n, length, any]: how much of which pixel each one is."""
  row = ops.expand_dims(ops.cumsum(axis.ones, 1) - 1.0, 1)  # [n, 1, any]
  first = ops.floor(ops.divide(axis.size - axis.side, 2.0))
  before = ops.floor(ops.divide(ops.subtract(float(axis.length), axis.inner),
                                2.0))
  place = ops.subtract(  # [1 or n, length]
      np.arange(axis.length, dtype=np.float32)[None], before)
  scale = ops.divide(axis.side, axis.inner)
  source = ops.multiply(place + 0.5, scale) - 0.5
  if interpolation == 'bilinear':
    source = ops.minimum(ops.maximum(source, 0.0), axis.side - 1.0)
    weights = ops.relu(1.0 - _distance(source + first, row))
  else:
    weights = _bicubic(source, first, axis.side, row)
  if isinstance(axis.inner, float):
    return weights
  inside = ops.logical_and(place >= 0.0, place < axis.inner)
  return weights * ops.expand_dims(ops.cast(inside, 'float32'), 2)


def _distance(place, row):
  """Returns float32 [n, length, any]."""
  return ops.abs(ops.expand_dims(place, 2) - row)


def _bicubic(source, first, side, row):
  """Returns weights by Keys with a = -0.5; no pixel outside of the box counts.

  TensorFlow has a table of them; here, places are rounded in the same way.
  """
  whole = ops.floor(source)
  part = ops.round((source - whole) * _TABLE) / _TABLE
  x = _distance(whole + part + first, row)
  near = (1.5 * x - 2.5) * x * x + 1.0
  far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
  weights = ops.where(x < 1.0, near, ops.where(x < 2.0, far, 0.0 * x))
  start = ops.expand_dims(first, 2)
  inside = ops.logical_and(row >= start, row < start + ops.expand_dims(side, 2))
  weights *= ops.cast(inside, 'float32')
  total = ops.sum(weights, 2, keepdims=True)
  return weights / ops.where(ops.equal(total, 0.0), 1.0, total)
