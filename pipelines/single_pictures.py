"""Makes the pixels of one picture exactly as evaluation makes them.

A run's data settings and the shape of its images are all that it takes: no data
set. Everything here is TensorFlow alone, so the same code serves tf.data, eager
calls and graphs that are exported.

With data.image_size, any picture is cropped and resized as in evaluation.
Without it, all pictures of the data set have one size:

1. A picture of that size is taken as it is.
2. With data.pad_to, a picture that fits into that size gets a border of zeros.
3. Any other picture is resized to it, after a crop to the middle of the same
   aspect ratio; nothing tells how a data set of one size would have been made
   of such a picture. With data.pad_to it fills the border as well, because a
   run does not record the size without it.

Pictures become what decoding.whole makes of them: gray or RGB as the network
needs, 8 bits (the higher ones of 16), colors without alpha, the first frame of
an animation. Neither this module nor evaluation reads the EXIF orientation:
`prepare --image_folder` turns pictures upright before it stores them. To get
the same pixels from a file, pass it through picture_file.read first, which is
what prepare does. It also refuses the files that TensorFlow misreads.

  preprocessing = Preprocessing.of(config.data, image_shape)
  image = preprocessing.encoded(tf.io.read_file('cat.jpg'))
"""
from typing import NamedTuple

import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from pipelines import decoding

_CHANNELS = (1, 3)  # What pictures can be decoded to.


class Preprocessing(NamedTuple):
  """From a picture of any size to the pixels of one image."""
  shape: tuple[int, ...]  # (h, w, c) of the result.
  crop: decoding.CenterCrop | None  # None: data of one size.
  pads: bool  # Whether what is smaller gets a border of zeros; without a crop.
  interpolation: str = 'bilinear'

  @classmethod
  def of(cls, data: schema.Data, image_shape: tuple[int, ...]
         ) -> 'Preprocessing':
    """Returns the preprocessing of a run.

    Args:
      data: its data settings.
      image_shape: (h, w, c) of its images, see pipelines/identity.py.
    """
    shape = tuple(image_shape)
    crop = decoding.CenterCrop(shape, data.eval_crop, data.interpolation)
    return cls(shape, crop if data.image_size else None,
               bool(data.pad_to), data.interpolation)

  def encoded(self, picture: tf.Tensor) -> tf.Tensor:
    """Decodes a picture.

    Args:
      picture: string scalar: the bytes of a JPEG, PNG, GIF, BMP or WebP.

    Returns:
      uint8 [h, w, c].

    Raises:
      UserError: while tracing, if the network's images are not pictures.
    """
    channels = self.shape[-1]
    if channels not in _CHANNELS:
      raise UserError(
          f'The network takes images of {channels} channels, but pictures '
          'have 1 or 3: give arrays of pixels instead of picture files.')
    if channels == 3:
      return self._decoded(picture)
    in_colors = self._replace(
        shape=_colored(self.shape),
        crop=self.crop and self.crop._replace(shape=_colored(self.crop.shape)))
    return tf.cond(
        _decodes_to_gray(picture), lambda: self._decoded(picture),
        lambda: tf.image.rgb_to_grayscale(in_colors._decoded(picture)))

  def pixels(self, image: tf.Tensor) -> tf.Tensor:
    """Crops, resizes or pads a picture, or pictures of one size.

    Gives the same bits as `encoded`, except for some JPEGs: with
    data.image_size, `encoded` decodes only what is inside the crop. Where the
    colors are stored at half the width, a quarter of such JPEGs differ by up to
    10 of 255 at the edge of the crop, and by 0.04 on average.

    Args:
      image: uint8 [any, any, c] or [n, any, any, c], upright.

    Returns:
      uint8 [h, w, c] or [n, h, w, c].
    """
    if self.crop:
      image = self.crop.of_pixels(image)
    else:
      image = self._fitted(image)
    return tf.ensure_shape(image, [*image.shape[:-3], *self.shape])

  def _decoded(self, picture):
    if self.crop:  # Decodes no more of a JPEG than it needs.
      return self.crop(picture, ())
    return self.pixels(decoding.whole(picture, self.shape[-1]))

  def _fitted(self, image):
    """Does 1 to 3 of the docstring above, without a branch.

    Resizing a picture to the size that it has changes no bit.
    """
    shape = tf.constant(self.shape[:2])
    size = tf.shape(image)[-3:-1]
    fits = tf.reduce_all(size <= shape) if self.pads else False
    inner = tf.where(fits, size, shape) if self.pads else shape

    def box(size):
      aspect = tf.cast(inner, tf.float32)
      sides = tf.round(aspect * tf.reduce_min(size / aspect))
      sides = tf.clip_by_value(sides, 1.0, size)
      return tf.concat([tf.floor((size - sides) / 2), sides], 0)

    image = decoding.cut(image, box)
    if not self.pads:
      return decoding.resized(image, self.shape, self.interpolation)
    height, width = tf.unstack(inner)
    image = decoding.resized(
        image, (height, width, self.shape[-1]), self.interpolation)
    added = shape - inner
    before = added // 2  # As in padding.margins.
    none = [[0, 0]] * (len(image.shape) - 3)
    margins = tf.stack([before, added - before], 1)
    return tf.pad(image, tf.concat([*([none] if none else []), margins,
                                    [[0, 0]]], 0))


def _colored(shape):
  return (*shape[:2], 3)


def _decodes_to_gray(picture):
  """Returns whether TensorFlow (2.21) decodes a picture to one channel.

  It does so with JPEGs, unless they are CMYK, and PNGs.
  """
  return tf.cond(
      tf.io.is_jpeg(picture),
      lambda: tf.not_equal(tf.io.extract_jpeg_shape(picture)[2], 4),
      lambda: tf.equal(tf.strings.substr(picture, 0, 4), b'\x89PNG'))
