"""Turns the bytes of a picture into uint8 pixels of a known size, on the host.

A crop is a NamedTuple with three parts: `shape` is the shape of the result;
`draws(positions)` returns the random numbers that the crop needs, for a whole
batch at once; and a call maps (encoded picture, draws of one position) to
pixels. JPEGs are decoded only inside the crop. Huffman decoding, which is four
fifths of the time, covers the whole picture; the rest of the work is saved for
the pixels outside.
PNG, BMP and GIF (its first frame) are decoded whole. Gray, palette, CMYK and
16-bit pictures are converted to the requested number of channels and to 8 bits.

Resizing is without antialiasing, for training and evaluation alike:
antialiasing costs more than decoding does (4.9 ms against 3.3 ms for a picture
of 500 x 400 pixels). It is bilinear, or bicubic with a = -0.5 (Keys 1981).
"""
from collections.abc import Callable
import math
from typing import NamedTuple

import tensorflow as tf

from configs import schema
from pipelines import padding, salts, threefry

_TRIES = 10


def center_crop(data: schema.Data, channels: int) -> 'CenterCrop':
  """Returns the crop for evaluation that the settings ask for."""
  size = data.eval_size or data.image_size
  return CenterCrop((size, size, channels), data.eval_crop, data.interpolation)


def random_crop(config: schema.Config, channels: int,
                size: int | None = None) -> 'RandomCrop':
  """Returns the crop for training that a config with data.image_size asks for.

  Args:
    config: what is trained.
    channels: of the pictures.
    size: side in pixels; None: data.image_size.
  """
  size, augment = size or config.data.image_size, config.augment
  low, high = augment.crop_ratio
  return RandomCrop(
      (size, size, channels), config.seed, augment.smallest_crop,
      augment.largest_crop, (low, high), config.data.interpolation)


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
  picture: tuple[int, ...]  # (h, w, c) of the pictures.
  margins: padding.Margins = ((0, 0),) * 3  # Zeros around them.

  @property
  def shape(self) -> tuple[int, ...]:
    """(h, w, c), margins included."""
    return tuple(size + sum(margin)
                 for size, margin in zip(self.picture, self.margins))

  def draws(self, positions: tf.Tensor) -> tuple[()]:
    """Returns (): nothing is random."""
    del positions
    return ()

  def __call__(self, encoded: tf.Tensor, draws: tuple[()]) -> tf.Tensor:
    """Decodes a picture to uint8 [h, w, c]; fails if it has another size."""
    del draws
    image = tf.ensure_shape(whole(encoded, self.picture[-1]), self.picture)
    return tf.pad(image, self.margins) if self.shape != self.picture else image


class CenterCrop(NamedTuple):
  """Takes the middle square, a share of the short side: evaluation.

  With 7/8, it is the middle 224 pixels of a short side resized to 256.
  """
  shape: tuple[int, ...]  # (h, w, c), h = w.
  share: float = 224 / 256
  interpolation: str = 'bilinear'

  def draws(self, positions: tf.Tensor) -> tuple[()]:
    """Returns (): nothing is random."""
    del positions
    return ()

  def __call__(self, encoded: tf.Tensor, draws: tuple[()]) -> tf.Tensor:
    """Decodes, crops and resizes a picture to uint8 [h, w, c]."""
    del draws
    return _crop_and_resize(
        encoded, self._box, self.shape, self.interpolation)

  def of_pixels(self, image: tf.Tensor) -> tf.Tensor:
    """Crops and resizes what is decoded already.

    Args:
      image: uint8 [any, any, c], or [n, any, any, c].

    Returns:
      uint8 [h, w, c], or [n, h, w, c].
    """
    return resized(cut(image, self._box), self.shape, self.interpolation)

  def _box(self, size):
    side = tf.maximum(tf.round(self.share * tf.reduce_min(size)), 1.0)
    sides = side * tf.ones(2)
    return tf.concat([tf.floor((size - sides) / 2), sides], 0)


class RandomCrop(NamedTuple):
  """Takes a box of random area and aspect ratio, keyed by (seed, position).

  Szegedy et al. 2014 (arXiv:1409.4842), section 6. The area is uniform in
  [smallest, largest] of the picture, and the aspect ratio, width / height, is
  between the two of `ratio`, uniform in its logarithm. The first of ten draws
  that fits inside the picture is used (if none fits, the first draw, cut to the
  picture), and placed anywhere inside.
  """
  shape: tuple[int, ...]  # (h, w, c), h = w.
  seed: int
  smallest: float = 0.08
  largest: float = 1.0
  ratio: tuple[float, float] = (3 / 4, 4 / 3)
  interpolation: str = 'bilinear'

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
    side = tf.sqrt(self.smallest + (self.largest - self.smallest) * area)
    low, high = (math.log(end) / 2 for end in self.ratio)
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

    return _crop_and_resize(encoded, box, self.shape, self.interpolation)


def cut(image: tf.Tensor, box: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
  """Cuts a box out of a picture, or out of pictures of one size.

  Args:
    image: [any, any, c] or [n, any, any, c].
    box: maps the picture's size, float32 [2] (height, width), to whole numbers,
      float32 [4] (top, left, height, width).
  """
  size = tf.cast(tf.shape(image)[-3:-1], tf.float32)
  top, left, height, width = tf.unstack(tf.cast(box(size), tf.int32))
  batch = len(image.shape) - 3
  return tf.slice(image, [*[0] * batch, top, left, 0],
                  [*[-1] * batch, height, width, -1])


def resized(image: tf.Tensor, shape: tuple[int, ...],
            interpolation: str) -> tf.Tensor:
  """Resizes a picture, or pictures of one size.

  Args:
    image: uint8 [any, any, c] or [n, any, any, c].
    shape: (h, w, c) of the result. Where a dimension is a tensor, the result
      has no static one.
    interpolation: 'bilinear' or 'bicubic'.

  Returns:
    uint8 [h, w, c] or [n, h, w, c].
  """
  # The kernel takes half the time if its input is float32 already.
  image = tf.image.resize(
      tf.cast(image, tf.float32), shape[:2], interpolation)
  if interpolation != 'bilinear':  # It overshoots at edges.
    image = tf.clip_by_value(image, 0.0, 255.0)
  return tf.cast(tf.round(image), tf.uint8)


def _crop_and_resize(encoded, box, shape, interpolation):
  """Decodes a box of a picture and resizes it.

  Args:
    encoded: string scalar.
    box: see `cut`.
    shape: (h, w, c) of the result, which is uint8.
    interpolation: 'bilinear' or 'bicubic'.
  """
  def jpeg():
    size = tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.float32)
    return tf.io.decode_and_crop_jpeg(
        encoded, tf.cast(box(size), tf.int32), shape[-1])

  image = tf.cond(tf.io.is_jpeg(encoded), jpeg,
                  lambda: cut(whole(encoded, shape[-1]), box))
  return tf.ensure_shape(resized(image, shape, interpolation), shape)
