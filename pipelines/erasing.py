"""Rectangles of uint8 images, painted over with the data set's mean.

Pure functions of (seed, position), for the compiled step. What is painted over
is found by comparing row and column numbers: no gather, no scatter. The sizes
and places are integers and exact products of integers as early as can be, so
that no last bit of a float moves an edge between eager runs and XLA.
"""
import tensorflow as tf

from pipelines import salts, threefry

_ATTEMPTS = 10


def cutout(images, positions, fill, *, seed, side):
  """Paints over one square of each image.

  DeVries & Taylor 2017 (arXiv:1708.04552), section 3: the center is uniform
  over all pixels, and what sticks out at the border is cut off.

  Args:
    images: uint8 [b, h, w, c].
    positions: int64 [b].
    fill: float32 [c] or [h, w, c], in units of 0..255: the mean of the data
      set, so that it is 0 after standardisation.
    seed: Python int in [0, 2**32).
    side: Python int, pixels.

  Returns:
    uint8 [b, h, w, c].
  """
  if not side:
    return images
  _, h, w, _ = images.shape
  draws = threefry.uniform(seed, positions, salts.CUTOUT, (2,))
  centers = tf.cast(draws * tf.constant([h, w], tf.float32), tf.int32)
  return _paint(images, fill, centers - side // 2, tf.constant([[side, side]]))


def random_erasing(images, positions, fill, *, seed, probability):
  """Paints over one rectangle in some of the images.

  Zhong et al. 2017 (arXiv:1708.04896), algorithm 1: an area uniform in 0.02 to
  0.4 of the image's, height / width uniform in 0.3 to 1 / 0.3 (the ratio, not
  its logarithm: more rectangles stand than lie). Of ten such sizes the first
  that fits is used, placed uniformly inside of the image, as in the authors'
  code; in the paper size and place are drawn again until both fit.

  Args:
    images: uint8 [b, h, w, c].
    positions: int64 [b].
    fill: as for `cutout`. (The paper has noise, too.)
    seed: Python int in [0, 2**32).
    probability: Python float, the share of images with a rectangle.

  Returns:
    uint8 [b, h, w, c].
  """
  if not probability:
    return images
  _, h, w, _ = images.shape
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
  """Fills rectangles: corners int32 [b, 2] (row, column), sizes likewise."""
  _, h, w, _ = images.shape
  rows = tf.range(h) - corners[:, :1]  # [b, h]
  columns = tf.range(w) - corners[:, 1:]
  rows = (rows >= 0) & (rows < sizes[:, :1])
  columns = (columns >= 0) & (columns < sizes[:, 1:])
  inside = (rows[:, :, tf.newaxis, tf.newaxis]
            & columns[:, tf.newaxis, :, tf.newaxis])
  return tf.where(inside, tf.cast(tf.round(fill), images.dtype), images)
