"""What happens to training images inside the compiled step, from uint8.

In this order: crop and flip, a policy of colours and shapes, colour jitter,
erasing, mixing with the neighbour. Every random number is keyed by (seed,
position): an image is changed in the same way whatever batch, replica or worker
it is in. The functions are pure and run eagerly, in graphs and under XLA. The
random crop of pictures from disk is decode.py's.
"""
import tensorflow as tf

from pipelines import color, erasing, mixing, policies, salts, threefry


def apply(images, targets, positions, mean, *, seed, config):
  """All that a recipe asks for; what it leaves off costs nothing.

  Args:
    images: uint8 [b, h, w, c].
    targets: float32 [b, classes].
    positions: int64 [b]; pairs 2k, 2k + 1 are neighbours if images are mixed.
    mean: float32 [c] or [h, w, c], in units of 0..255: fills what is erased.
    seed: Python int in [0, 2**32).
    config: configs.schema.Augment.

  Returns:
    (images uint8, or float32 in 0..255 if mixed, [b, h, w, c]; targets).
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


def crop_and_flip(images, positions, *, seed, padding, flip):
  """Shifts each image by up to `padding` pixels a side; flips half of them.

  The crop of a zero-padded image and the left-right flip are one gather of
  pixels, with no padded copy: He et al. 2015, section 4.2, has padding 4 on 32
  pixels. What comes in from outside the image is 0 (black).

  Args:
    images: uint8 [b, h, w, c].
    positions: int64 [b].
    seed: Python int in [0, 2**32).
    padding: Python int, pixels.
    flip: Python bool.

  Returns:
    uint8 [b, h, w, c].
  """
  if not padding and not flip:
    return images
  b, h, w, c = images.shape
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


def standardize(images, mean, stddev):
  """(images - mean) / stddev in float32.

  Args:
    images: uint8 or float32 [b, h, w, c], in units of 0..255.
    mean: float32 [c] or [h, w, c], in units of 0..255.
    stddev: float32 [c], positive, in units of 0..255.

  Returns:
    float32 [b, h, w, c], standardised.
  """
  return (tf.cast(images, tf.float32) - mean) * (1.0 / stddev)
