"""From the bytes of one picture to uint8 pixels of a known size, on the host.

A crop is a NamedTuple with three things: `shape`, of what it makes; `draws(
positions)`, the random numbers it needs, for a whole batch at once; and a call
(encoded, draws of one) -> pixels. JPEGs are decoded only where the crop needs
them: four fifths of the time is Huffman decoding, the rest is saved outside.
PNG, BMP and GIF (its first frame) are decoded whole. Grey, palette, CMYK and
16-bit pictures come out with the channels and depth asked for.

Resizing is bilinear without antialiasing, for training and evaluation alike:
antialiasing costs more than decoding does (4.9 ms against 3.3 ms a picture of
500 x 400 pixels).
"""
import math
from typing import NamedTuple

import tensorflow as tf

from pipelines import salts, threefry

_TRIES = 10
_ASPECTS = (3 / 4, 4 / 3)
# Evaluation resizes the short side to 256 and takes the middle 224 of it.
_EVAL_SHARE = 224 / 256


def whole(encoded, channels):
  """A whole picture: string scalar -> uint8 [h, w, channels], static or not."""
  return tf.io.decode_image(encoded, channels, expand_animations=False)


class Whole(NamedTuple):
  """Pictures that have one size already."""
  shape: tuple  # (h, w, c)

  def draws(self, positions):
    """Nothing is random here."""
    del positions
    return ()

  def __call__(self, encoded, draws):
    """uint8 [h, w, c]; fails on a picture of another size."""
    return tf.ensure_shape(whole(encoded, self.shape[-1]), self.shape)


class CenterCrop(NamedTuple):
  """The middle square of 7/8 of the short side: 224 of 256, for evaluation."""
  shape: tuple  # (h, w, c), h = w.

  def draws(self, positions):
    """Nothing is random here."""
    del positions
    return ()

  def __call__(self, encoded, draws):
    """uint8 [h, w, c]."""
    def box(size):
      sides = tf.round(_EVAL_SHARE * tf.reduce_min(size)) * tf.ones(2)
      return tf.concat([tf.floor((size - sides) / 2), sides], 0)

    return _crop_and_resize(encoded, box, self.shape)


class RandomCrop(NamedTuple):
  """A box of random area and aspect ratio: Szegedy et al. 2014, section 6.

  arXiv:1409.4842. Area uniform in [smallest, 1] of the picture, aspect ratio
  between 3/4 and 4/3, uniform in its logarithm; of ten draws the first that
  fits inside (if none does, the first, cut to the picture), and anywhere there.
  Keyed by (seed, position).
  """
  shape: tuple  # (h, w, c), h = w.
  seed: int
  smallest: float = 0.08

  def draws(self, positions):
    """float32 [b, 10, 4]: height and width as shares of the square root of the
    picture's area, and where in the room that is left: top and left."""
    uniform = threefry.uniform(
        self.seed, positions, salts.RANDOM_CROP, (_TRIES, 4))
    side = tf.sqrt(self.smallest + (1 - self.smallest) * uniform[..., 0])
    low, high = (math.log(aspect) / 2 for aspect in _ASPECTS)
    skew = tf.exp(low + (high - low) * uniform[..., 1])
    return tf.stack([side / skew, side * skew, uniform[..., 2],
                     uniform[..., 3]], -1)

  def __call__(self, encoded, draws):
    """uint8 [h, w, c]."""
    def box(size):  # Few operations: each costs 3 us a picture.
      unit = tf.sqrt(tf.reduce_prod(size))
      fits = tf.reduce_all(draws[:, :2] * unit <= size, 1)
      draw = draws[tf.argmax(fits)]
      sides = tf.clip_by_value(tf.round(draw[:2] * unit), 1.0, size)
      return tf.concat([tf.floor(draw[2:] * (size - sides + 1)), sides], 0)

    return _crop_and_resize(encoded, box, self.shape)


def _crop_and_resize(encoded, box, shape):
  """uint8 of `shape` from a part of a picture.

  Args:
    encoded: string scalar.
    box: float32 (height, width) -> whole float32 (top, left, height, width).
    shape: (h, w, c).
  """
  def jpeg():
    size = tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.float32)
    return tf.io.decode_and_crop_jpeg(
        encoded, tf.cast(box(size), tf.int32), shape[-1])

  def other():
    image = whole(encoded, shape[-1])
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    top, left, height, width = tf.unstack(tf.cast(box(size), tf.int32))
    return tf.slice(image, [top, left, 0], [height, width, -1])

  image = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
  image = tf.image.resize(image, shape[:2])
  return tf.ensure_shape(tf.cast(tf.round(image), tf.uint8), shape)
