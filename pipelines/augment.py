"""What happens to training images inside the compiled step, from uint8.

Every random number is keyed by (seed, position): an image is changed in the
same way whatever batch, replica or worker it is in. The functions are pure and
run eagerly, in graphs and under XLA with the same bits.
"""
import tensorflow as tf

from pipelines import threefry

# Each use of random numbers has a salt of its own, or two would be correlated.
_CROP_AND_FLIP = 1
DROPOUT = 1000  # and above, one a layer.


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
  draws = threefry.uniform(seed, positions, _CROP_AND_FLIP, (3,))
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
    images: uint8 [b, h, w, c].
    mean: float32 [c] or [h, w, c], in units of 0..255.
    stddev: float32 [c], positive, in units of 0..255.

  Returns:
    float32 [b, h, w, c], standardised.
  """
  return (tf.cast(images, tf.float32) - mean) * (1.0 / stddev)
