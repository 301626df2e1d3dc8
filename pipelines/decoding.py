"""Turns the bytes of a picture into uint8 pixels of a known size, on the host.

A crop is a NamedTuple with three parts: `shape` is the shape of the result;
`draws(positions)` returns the random numbers that the crop needs, for a whole
batch at once; and a call maps (encoded picture, draws of one position) to
pixels. JPEGs are decoded only inside the crop. Huffman decoding, which is four
fifths of the time, covers the whole picture; the rest of the work is saved for
the pixels outside.
PNG, BMP and GIF (its first frame) are decoded whole. Gray, palette, CMYK and
16-bit pictures are converted to the requested number of channels and to 8 bits.

Resizing is bilinear without antialiasing, for training and evaluation alike:
antialiasing costs more than decoding does (4.9 ms against 3.3 ms for a picture
of 500 x 400 pixels).
"""
import math
from typing import NamedTuple

import tensorflow as tf

from pipelines import salts, threefry

_TRIES = 10
_ASPECTS = (3 / 4, 4 / 3)
# Evaluation resizes the short side to 256 and takes the middle 224 of it.
_EVAL_SHARE = 224 / 256


def whole(encoded: tf.Tensor, channels: int) -> tf.Tensor:
  """Decodes a whole picture.

  Args:
    encoded: string scalar.
    channels: 1 or 3.

  Returns:
    uint8 [h, w, channels]; the shape is not static in a graph.
  """
  return tf.io.decode_image(encoded, channels, expand_animations=False)


class Whole(NamedTuple):
  """Takes whole pictures, which all have one size already."""
  shape: tuple[int, ...]  # (h, w, c)

  def draws(self, positions: tf.Tensor) -> tuple[()]:
    """Returns (): nothing is random."""
    del positions
    return ()

  def __call__(self, encoded: tf.Tensor, draws: tuple[()]) -> tf.Tensor:
    """Decodes a picture to uint8 [h, w, c]; fails if it has another size."""
    del draws
    return tf.ensure_shape(whole(encoded, self.shape[-1]), self.shape)


class CenterCrop(NamedTuple):
  """Takes the middle square, 7/8 of the short side (224 of 256): evaluation."""
  shape: tuple[int, ...]  # (h, w, c), h = w.

  def draws(self, positions: tf.Tensor) -> tuple[()]:
    """Returns (): nothing is random."""
    del positions
    return ()

  def __call__(self, encoded: tf.Tensor, draws: tuple[()]) -> tf.Tensor:
    """Decodes, crops and resizes a picture to uint8 [h, w, c]."""
    del draws

    def box(size):
      sides = tf.round(_EVAL_SHARE * tf.reduce_min(size)) * tf.ones(2)
      return tf.concat([tf.floor((size - sides) / 2), sides], 0)

    return _crop_and_resize(encoded, box, self.shape)


class RandomCrop(NamedTuple):
  """Takes a box of random area and aspect ratio, keyed by (seed, position).

  Szegedy et al. 2014 (arXiv:1409.4842), section 6. The area is uniform in
  [smallest, 1] of the picture, and the aspect ratio lies between 3/4 and 4/3,
  uniform in its logarithm. The first of ten draws that fits inside the picture
  is used (if none fits, the first draw, cut to the picture), and placed
  anywhere inside.
  """
  shape: tuple[int, ...]  # (h, w, c), h = w.
  seed: int
  smallest: float = 0.08

  def draws(self, positions: tf.Tensor) -> tf.Tensor:
    """Draws ten boxes for each position.

    Args:
      positions: int64 [b].

    Returns:
      float32 [b, 10, 4]: height and width, as shares of the square root of the
      picture's area; top and left, in [0, 1), as shares of the free room.
    """
    uniform = threefry.uniform(
        self.seed, positions, salts.RANDOM_CROP, (_TRIES, 4))
    area, aspect, top, left = tf.unstack(uniform, axis=-1)
    side = tf.sqrt(self.smallest + (1 - self.smallest) * area)
    low, high = (math.log(end) / 2 for end in _ASPECTS)
    skew = tf.exp(low + (high - low) * aspect)
    return tf.stack([side / skew, side * skew, top, left], -1)

  def __call__(self, encoded: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Decodes, crops and resizes a picture.

    Args:
      encoded: string scalar.
      draws: float32 [10, 4], see `draws`.

    Returns:
      uint8 [h, w, c].
    """
    def box(size):  # Few operations: each costs 3 us per picture.
      unit = tf.sqrt(tf.reduce_prod(size))
      fits = tf.reduce_all(draws[:, :2] * unit <= size, 1)
      draw = draws[tf.argmax(fits)]
      sides = tf.clip_by_value(tf.round(draw[:2] * unit), 1.0, size)
      return tf.concat([tf.floor(draw[2:] * (size - sides + 1)), sides], 0)

    return _crop_and_resize(encoded, box, self.shape)


def _crop_and_resize(encoded, box, shape):
  """Decodes a box of a picture and resizes it.

  Args:
    encoded: string scalar.
    box: maps the picture's size, float32 [2] (height, width), to whole numbers,
      float32 [4] (top, left, height, width).
    shape: (h, w, c) of the result, which is uint8.
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
  # The kernel takes half the time if its input is float32 already.
  image = tf.image.resize(tf.cast(image, tf.float32), shape[:2])
  return tf.ensure_shape(tf.cast(tf.round(image), tf.uint8), shape)
