"""Blurs uint8 images with Gaussians of random widths.

A pure function of (seed, position) for the compiled step. All numbers are
multiples of powers of two that float32 holds exactly, so that sums do not
depend on their order: the bits are the same eagerly, in graphs and under XLA.

An image of 224 x 224 costs 6 ms of a CPU core, or 2 ms if compiled by XLA; one
of 32 x 32 costs 0.04 or 0.02 ms.
"""
from typing import cast

import numpy as np
import tensorflow as tf

from pipelines import salts, threefry

_WIDTHS = 1024  # Different Gaussians.
_SMALLEST, _LARGEST = 0.1, 2.0  # Standard deviations, in pixels.
_WEIGHT_BITS = 12
_PIXEL_BITS = 4  # Of a pixel's fraction, after the first of two passes.


def gaussian(images: tf.Tensor, positions: tf.Tensor, *, seed: int,
             probability: float) -> tf.Tensor:
  """Blurs some of the images.

  Chen et al. 2020 (SimCLR, arXiv:2002.05709), appendix A: the standard
  deviation is uniform in 0.1 to 2.0 pixels (here one of 1,024 values), and the
  kernel's side is 10 % of the image's, rounded to an odd number; here at least
  3. As in torchvision, pixels outside are those inside, mirrored at the border
  pixel. All images pass through the same convolution, so they cost the same
  whether they are blurred or not.

  Args:
    images: uint8 [b, h, w, c].
    positions: int64 [b].
    seed: of the run, in [0, 2**32).
    probability: share of the images that are blurred; 0: off.

  Returns:
    uint8 [b, h, w, c].
  """
  h, w = cast(tuple[int, int], images.shape[1:3])
  radius = kernel_radius(h, w)
  if not probability or not radius:
    return images
  draws = threefry.uniform(seed, positions, salts.BLUR, (2,))
  which = tf.cast(draws[:, 1] * _WIDTHS, tf.int32)
  # The last kernel leaves images as they are.
  which = tf.where(draws[:, 0] < probability, which, _WIDTHS)
  weights = tf.gather(tf.constant(kernels(radius), tf.float32), which)
  pixels = _rounded(_convolved(tf.cast(images, tf.float32), weights, 1),
                    _PIXEL_BITS)
  return tf.cast(_rounded(_convolved(pixels, weights, 2), 0), tf.uint8)


def kernel_radius(height: int, width: int) -> int:
  """Returns the pixels of the kernel on each side of its middle.

  0 for images of one row or column, which have nothing to mirror.
  """
  side = min(height, width)
  return min(max(1, side // 20), side - 1)


def kernels(radius: int) -> np.ndarray:
  """Returns the weights at distances 0 to `radius`: float64 [1025, radius + 1].

  They are multiples of 2**-12, and those of the whole kernel add up to 1. The
  last kernel is that of no blur.
  """
  widths = _SMALLEST + (_LARGEST - _SMALLEST) * (
      np.arange(_WIDTHS) + 0.5)[:, np.newaxis] / _WIDTHS
  weights = np.exp(-np.arange(radius + 1)**2 / (2 * widths**2))
  weights /= 2 * weights.sum(1, keepdims=True) - weights[:, :1]
  weights = np.round(weights * 2**_WEIGHT_BITS) / 2**_WEIGHT_BITS
  weights[:, 0] = 1 - 2 * weights[:, 1:].sum(1)
  return np.concatenate([weights, np.eye(1, radius + 1)])


def _convolved(pixels, weights, axis):
  """Convolves each image with a symmetric kernel along its rows or columns.

  Args:
    pixels: float32 [b, h, w, c].
    weights: float32 [b, radius + 1].
    axis: 1 or 2.
  """
  radius = weights.shape[1] - 1
  margins = [[0, 0]] * 4
  margins[axis] = [radius, radius]
  padded = tf.pad(pixels, margins, 'REFLECT')

  def part(first):
    begin = [0] * 4
    begin[axis] = first
    return tf.slice(padded, begin, pixels.shape)

  total = _column(weights, 0) * pixels
  for i in range(1, radius + 1):
    total += _column(weights, i) * (part(radius - i) + part(radius + i))
  return total


def _column(weights, i):
  return weights[:, i, tf.newaxis, tf.newaxis, tf.newaxis]


def _rounded(values, bits):
  """Rounds to multiples of 2**-bits, halves up."""
  return tf.floor(values * 2.0**bits + 0.5) * 2.0**-bits
