"""Augments training images inside the compiled step, starting from uint8.

The operations come in this order: crop and flip; a policy of color and shape
operations; color jitter; erasing; mixing with the neighbor. Every random number
is keyed by (seed, position), so an image is changed in the same way whatever
batch, replica or worker it is in. The functions are pure and give the same
result eagerly, in graphs and under XLA. The random crop of pictures from disk
happens on the host, in decoding.py.
"""
from typing import cast

import tensorflow as tf

from configs import schema
from pipelines import color, erasing, mixing, policies, salts, threefry


def apply(images: tf.Tensor, targets: tf.Tensor, positions: tf.Tensor,
          mean: tf.Tensor, *, seed: int, config: schema.Augment
          ) -> tuple[tf.Tensor, tf.Tensor]:
  """Applies every augmentation of a recipe; those that are off cost nothing.

  Args:
    images: uint8 [b, h, w, c].
    targets: float32 [b, classes].
    positions: int64 [b]; if images are mixed, positions 2k and 2k + 1 are
      neighbors.
    mean: float32 [c] or [h, w, c], in units of 0..255; fills erased pixels.
    seed: of the run, in [0, 2**32).
    config: the settings.

  Returns:
    (images [b, h, w, c], targets float32 [b, classes]); the images are uint8,
    or float32 in units of 0..255 if they were mixed.

  Raises:
    ValueError: images are to be mixed and b is odd or unknown, while tracing.
  """
  images = crop_and_flip(images, positions, seed=seed,
                         padding=config.crop_padding, flip=config.flip)
  if config.policy == 'rand_augment':
    images = policies.rand_augment(
        images, positions, seed=seed, layers=config.layers,
        magnitude=config.magnitude)
  elif config.policy != 'none':
    images = policies.auto_augment(
        images, positions, seed=seed,
        policy=config.policy.removeprefix('auto_'))
  images = color.jitter(
      images, positions, seed=seed, brightness=config.brightness,
      contrast=config.contrast, saturation=config.saturation)
  if config.cutout:
    images = erasing.cutout(
        images, positions, mean, seed=seed, side=config.cutout)
  if config.erasing:
    images = erasing.random_erasing(
        images, positions, mean, seed=seed, probability=config.erasing)
  if config.mixup or config.cutmix:
    return mixing.mix(images, targets, positions, seed=seed,
                      mixup=config.mixup, cutmix=config.cutmix)
  return images, targets


def crop_and_flip(images: tf.Tensor, positions: tf.Tensor, *, seed: int,
                  padding: int, flip: bool) -> tf.Tensor:
  """Shifts each image by up to `padding` pixels and flips half of the images.

  Equivalent to a random crop of the zero-padded image (He et al. 2015, section
  4.2, pad 32 x 32 pixels by 4) and a left-right flip, but done by one gather of
  pixels, without a padded copy. Pixels from outside the image are 0 (black).

  Args:
    images: uint8 [b, h, w, c].
    positions: int64 [b].
    seed: of the run, in [0, 2**32).
    padding: the largest shift in each direction, in pixels.
    flip: whether to flip.

  Returns:
    uint8 [b, h, w, c].
  """
  if not padding and not flip:
    return images
  b, h, w, c = cast(tuple[int, int, int, int], images.shape)
  draws = threefry.uniform(seed, positions, salts.CROP_AND_FLIP, (3,))
  shifts = tf.cast(draws[:, :2] * (2 * padding + 1), tf.int32) - padding
  rows = shifts[:, :1] + tf.range(h)  # [b, h]
  columns = tf.range(w)[tf.newaxis]
  if flip:
    columns = tf.where(draws[:, 2:] < 0.5, w - 1 - columns, columns)
  columns = columns + shifts[:, 1:]  # [b, w]
  outside = b * h * w
  rows = tf.where((rows >= 0) & (rows < h),
                  tf.range(b)[:, tf.newaxis] * (h * w) + rows * w, outside)
  columns = tf.where((columns >= 0) & (columns < w), columns, outside)
  pixels = tf.concat(
      [tf.reshape(images, [-1, c]), tf.zeros([1, c], images.dtype)], 0)
  index = tf.minimum(
      rows[:, :, tf.newaxis] + columns[:, tf.newaxis, :], outside)
  return tf.gather(pixels, index)


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
