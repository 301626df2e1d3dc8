"""Paints rectangles of uint8 images over with the mean of the data set.

The functions are pure functions of (seed, position) for the compiled step. The
pixels of a rectangle are found by comparing row and column numbers: no gather,
no scatter. Sizes and places become integers, or exact products of integers, as
early as possible, so that the last bit of a float never moves an edge between
eager runs and XLA.
"""
from typing import cast

import tensorflow as tf

from pipelines import salts, threefry

_ATTEMPTS = 10


def cutout(images: tf.Tensor, positions: tf.Tensor, fill: tf.Tensor, *,
           seed: int, side: int) -> tf.Tensor:
  """Paints over one square of each image.

  DeVries & Taylor 2017 (arXiv:1708.04552), section 3: the center is uniform
  over all pixels, and the square is cut off at the border.

  Args:
    images: uint8 [b, h, w, c].
    positions: int64 [b].
    fill: float32 [c] or [h, w, c], in units of 0..255: the mean of the data
      set, which is 0 after standardization.
    seed: of the run, in [0, 2**32).
    side: in pixels; 0: off.

  Returns:
    uint8 [b, h, w, c].
  """
  if not side:
    return images
  h, w = cast(tuple[int, int], images.shape[1:3])
  draws = threefry.uniform(seed, positions, salts.CUTOUT, (2,))
  centers = tf.cast(draws * tf.constant([h, w], tf.float32), tf.int32)
  return _paint(images, fill, centers - side // 2, tf.constant([[side, side]]))


def random_erasing(images: tf.Tensor, positions: tf.Tensor, fill: tf.Tensor, *,
                   seed: int, probability: float) -> tf.Tensor:
  """Paints over one rectangle in some of the images.

  Zhong et al. 2017 (arXiv:1708.04896), algorithm 1: the area is uniform in 0.02
  to 0.4 of the image's, and height / width is uniform in 0.3 to 1 / 0.3. (The
  ratio itself is uniform, not its logarithm, so more rectangles are tall than
  wide.) The first of ten such sizes that fits is placed uniformly inside the
  image, as in the authors' code; in the paper, size and place are drawn again
  until both fit.

  Args:
    images: uint8 [b, h, w, c].
    positions: int64 [b].
    fill: as for `cutout`. (The paper also fills with noise.)
    seed: of the run, in [0, 2**32).
    probability: share of the images that get a rectangle; 0: off.

  Returns:
    uint8 [b, h, w, c].
  """
  if not probability:
    return images
  h, w = cast(tuple[int, int], images.shape[1:3])
  draws = threefry.uniform(
      seed, positions, salts.ERASING, (3 + 2 * _ATTEMPTS,))
  chosen, places, areas, ratios = tf.split(
      draws, [1, 2, _ATTEMPTS, _ATTEMPTS], 1)
  areas = _between(areas, 0.02, 0.4) * (h * w)  # [b, attempts]
  ratios = _between(ratios, 0.3, 1 / 0.3)
  sizes = tf.stack([tf.sqrt(areas * ratios), tf.sqrt(areas / ratios)], -1)
  sizes = tf.cast(tf.round(sizes), tf.int32)  # [b, attempts, 2]
  fits = tf.reduce_all(sizes <= [h, w], -1) & (chosen < probability)
  attempts = tf.range(_ATTEMPTS)
  first = tf.reduce_min(
      tf.where(fits, attempts, _ATTEMPTS), 1, keepdims=True)
  used = tf.cast(attempts == first, tf.int32)  # All 0 if none fits.
  sizes = tf.reduce_sum(used[:, :, tf.newaxis] * sizes, 1)  # [b, 2]
  room = tf.cast([h + 1, w + 1] - sizes, tf.float32)
  return _paint(images, fill, tf.cast(places * room, tf.int32), sizes)


def _between(draws, low, high):
  """Maps [0, 1) to multiples of 1/4096 in [low, high): exact in float32."""
  low, high = round(low * 4096), round(high * 4096)
  steps = tf.cast(draws * (high - low), tf.int32)
  return tf.cast(low + steps, tf.float32) / 4096


def _paint(images, fill, corners, sizes):
  """Fills one rectangle of each image.

  Args:
    images: uint8 [b, h, w, c].
    fill: float32 [c] or [h, w, c].
    corners: int32 [b, 2], row and column of the upper left corner.
    sizes: int32 [b, 2] or [1, 2], height and width.
  """
  _, h, w, _ = images.shape
  rows = tf.range(h) - corners[:, :1]  # [b, h]
  columns = tf.range(w) - corners[:, 1:]
  rows = (rows >= 0) & (rows < sizes[:, :1])
  columns = (columns >= 0) & (columns < sizes[:, 1:])
  inside = (rows[:, :, tf.newaxis, tf.newaxis]
            & columns[:, tf.newaxis, :, tf.newaxis])
  return tf.where(inside, tf.cast(tf.round(fill), images.dtype), images)
