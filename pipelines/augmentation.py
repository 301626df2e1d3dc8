"""Augments training images inside the compiled step, starting from uint8.

The operations come in this order: crop, flips and shift; a policy of color and
shape operations; color jitter; grayscale; blur; erasing; mixing with the
neighbor. Every random number
is keyed by (seed, position), so an image is changed in the same way whatever
batch, replica or worker it is in. The functions are pure and give the same
result eagerly, in graphs and under XLA. The random crop of pictures from disk
happens on the host, in decoding.py.
"""
import math
from typing import cast

import tensorflow as tf

from configs import schema
from pipelines import (
  blur,
  color,
  erasing,
  mixing,
  policies,
  salts,
  threefry,
)


def apply(images: tf.Tensor, targets: tf.Tensor, positions: tf.Tensor,
          mean: tf.Tensor, *, seed: int, config: schema.Augment,
          mix_until: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
  """Applies every augmentation of a recipe; those that are off cost nothing.

  Args:
    images: uint8 [b, h, w, c].
    targets: float32 [b, classes].
    positions: int64 [b]; if images are mixed, positions 2k and 2k + 1 are
      neighbors.
    mean: float32 [c] or [h, w, c], in units of 0..255; fills erased pixels.
    seed: of the run, in [0, 2**32).
    config: the settings.
    mix_until: the position from which on nothing is mixed, see
      mixing.mix_until; None: never.

  Returns:
    (images [b, h, w, c], targets float32 [b, classes]); the images are uint8,
    or float32 in units of 0..255 if they were mixed.

  Raises:
    ValueError: images are to be mixed and b is odd or unknown, while tracing.
  """
  images = crop_and_flip(
      images, positions, seed=seed, padding=config.crop_padding,
      flip=config.flip, vertical_flip=config.vertical_flip, shift=config.shift)
  if config.policy == 'rand_augment':
    images = policies.rand_augment(
        images, positions, seed=seed, layers=config.layers,
        magnitude=config.magnitude)
  elif config.policy == 'trivial_augment':
    images = policies.trivial_augment(images, positions, seed=seed)
  elif config.policy != 'none':
    images = policies.auto_augment(
        images, positions, seed=seed,
        policy=config.policy.removeprefix('auto_'))
  images = color.jitter(
      images, positions, seed=seed, brightness=config.brightness,
      contrast=config.contrast, saturation=config.saturation)
  images = color.grayscale(
      images, positions, seed=seed, probability=config.grayscale)
  images = blur.gaussian(
      images, positions, seed=seed, probability=config.blur)
  if config.cutout:
    images = erasing.cutout(
        images, positions, mean, seed=seed, side=config.cutout)
  if config.erasing:
    images = erasing.random_erasing(
        images, positions, mean, seed=seed, probability=config.erasing)
  if config.mixup or config.cutmix:
    return mixing.mix(images, targets, positions, seed=seed,
                      mixup=config.mixup, cutmix=config.cutmix,
                      probability=config.mix_probability, until=mix_until)
  return images, targets


def crop_and_flip(images: tf.Tensor, positions: tf.Tensor, *, seed: int,
                  padding: int, flip: bool, vertical_flip: bool = False,
                  shift: float = 0.0) -> tf.Tensor:
  """Crops, flips and shifts each image at random, in this order.

  Cropping moves an image by up to `padding` pixels. Equivalent to a random crop
  of the zero-padded image (He et al. 2015, section 4.2, pad 32 x 32 pixels by
  4): pixels from outside the image are 0 (black). A shift also moves it, by
  whole pixels, but pixels from outside are the nearest ones inside. All of it
  is one gather of pixels, without a padded copy.

  Args:
    images: uint8 [b, h, w, c].
    positions: int64 [b].
    seed: of the run, in [0, 2**32).
    padding: the largest move in each direction, in pixels.
    flip: whether half of the images are flipped left to right.
    vertical_flip: whether half of the images are flipped upside down.
    shift: the largest shift in each direction, as a share of the sides; see
      most_shifted.

  Returns:
    uint8 [b, h, w, c].
  """
  if not (padding or flip or vertical_flip or shift):
    return images
  b, h, w, c = cast(tuple[int, int, int, int], images.shape)
  rows, columns = _unshifted(positions, seed, shift, h, w)
  if vertical_flip:
    draws = threefry.uniform(seed, positions, salts.VERTICAL_FLIP, (1,))
    rows = tf.where(draws < 0.5, h - 1 - rows, rows)
  draws = threefry.uniform(seed, positions, salts.CROP_AND_FLIP, (3,))
  crops = tf.cast(draws[:, :2] * (2 * padding + 1), tf.int32) - padding
  if flip:
    columns = tf.where(draws[:, 2:] < 0.5, w - 1 - columns, columns)
  rows, columns = rows + crops[:, :1], columns + crops[:, 1:]
  outside = b * h * w
  rows = tf.where((rows >= 0) & (rows < h),
                  tf.range(b)[:, tf.newaxis] * (h * w) + rows * w, outside)
  columns = tf.where((columns >= 0) & (columns < w), columns, outside)
  pixels = tf.concat(
      [tf.reshape(images, [-1, c]), tf.zeros([1, c], images.dtype)], 0)
  index = tf.minimum(
      rows[:, :, tf.newaxis] + columns[:, tf.newaxis, :], outside)
  return tf.gather(pixels, index)


def most_shifted(share: float, side: int) -> int:
  """Returns the largest shift in pixels: a share of a side, rounded down."""
  return math.floor(share * side + 1e-6)  # 0.29 * 100 is 28.999999999999996.


def _unshifted(positions, seed, shift, h, w):
  """Returns the rows, int32 [b or 1, h], and columns that shifting fetches."""
  rows, columns = tf.range(h)[tf.newaxis], tf.range(w)[tf.newaxis]
  if not shift:
    return rows, columns
  most = tf.constant([most_shifted(shift, side) for side in (h, w)])
  draws = threefry.uniform(seed, positions, salts.SHIFT, (2,))
  steps = tf.cast(
      draws * tf.cast(2 * most + 1, tf.float32), tf.int32) - most
  return (tf.clip_by_value(rows + steps[:, :1], 0, h - 1),
          tf.clip_by_value(columns + steps[:, 1:], 0, w - 1))


def standardize(images: tf.Tensor, mean: tf.Tensor,
                stddev: tf.Tensor) -> tf.Tensor:
  """Returns (images - mean) / stddev in float32.

  Args:
    images: uint8 or float32 [b, h, w, c], in units of 0..255.
    mean: float32 [c] or [h, w, c], in units of 0..255.
    stddev: float32 [c], positive, in units of 0..255.

  Returns:
    float32 [b, h, w, c], standardized.
  """
  return (tf.cast(images, tf.float32) - mean) * (1.0 / stddev)
