"""Changes brightness, contrast and colors of uint8 images at random.

The functions are pure functions of (seed, position) for the compiled step: an
image is changed in the same way whatever batch it is in.
"""
import tensorflow as tf

from pipelines import operations, salts, threefry

# ITU-R 601 luma in 65536ths, as in Pillow. Sums of these multiples of whole
# levels are exact in float32: the gray image is the same on every device.
_LUMA = (19595 / 65536, 38470 / 65536, 7471 / 65536)


def jitter(images: tf.Tensor, positions: tf.Tensor, *, seed: int,
           brightness: float, contrast: float, saturation: float) -> tf.Tensor:
  """Multiplies brightness, then contrast, then saturation by random factors.

  The factor for a strength x is uniform in [max(0, 1 - x), 1 + x]. Brightness
  blends with black, contrast with the mean gray level of the image, saturation
  with the gray image. Values are clipped to 0..255 after each change and
  rounded at the end. A strength of 0 adds nothing to the graph.

  Howard 2013 (arXiv:1312.5402) describes these color manipulations, in addition
  to those of Krizhevsky et al. 2012. There each strength is 0.5 and the order
  is random; here the order is fixed.

  Args:
    images: uint8 [b, h, w, c], c = 1 or 3; saturation has no effect for c = 1.
    positions: int64 [b].
    seed: of the run, in [0, 2**32).
    brightness: strength, at least 0.
    contrast: strength, at least 0.
    saturation: strength, at least 0.

  Returns:
    uint8 [b, h, w, c].
  """
  if images.shape[-1] == 1:
    saturation = 0
  if not (brightness or contrast or saturation):
    return images
  draws = threefry.uniform(seed, positions, salts.COLOR, (3, 1, 1, 1))
  pixels = tf.cast(images, tf.float32)
  if brightness:
    pixels = _scale(pixels, 0.0, draws[:, 0], brightness)
  if contrast:
    pixels = _scale(pixels, _mean_gray(pixels), draws[:, 1], contrast)
  if saturation:
    pixels = _scale(pixels, _gray(pixels), draws[:, 2], saturation)
  return tf.cast(tf.round(pixels), images.dtype)


def grayscale(images: tf.Tensor, positions: tf.Tensor, *, seed: int,
              probability: float) -> tf.Tensor:
  """Turns some of the images gray; they keep their number of channels.

  Args:
    images: uint8 [b, h, w, c], c = 1 or 3; no effect for c = 1.
    positions: int64 [b].
    seed: of the run, in [0, 2**32).
    probability: share of the images; 0: off.

  Returns:
    uint8 [b, h, w, c].
  """
  if not probability or images.shape[-1] == 1:
    return images
  draws = threefry.uniform(seed, positions, salts.GRAYSCALE, (1, 1, 1))
  return tf.where(draws < probability,
                  tf.expand_dims(operations.luma(images), -1), images)


def _scale(pixels, center, draw, strength):
  """Scales the distance from `center` by a factor that depends on `draw`."""
  lowest = max(0.0, 1 - strength)
  factor = lowest + draw * (1 + strength - lowest)
  return tf.clip_by_value(center + factor * (pixels - center), 0.0, 255.0)


def _gray(pixels):
  """Returns the gray image, float32 [b, h, w, 1]."""
  if pixels.shape[-1] == 1:
    return pixels
  red, green, blue = tf.split(pixels, 3, -1)
  return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _mean_gray(pixels):
  """Returns the mean of the gray image, float32 [b, 1, 1, 1].

  Adds whole gray levels, as Pillow does: the sum is exact in any order. Under
  XLA on a CPU it costs 0.8 times a sum of floats and a quarter of one sum per
  channel.
  """
  _, h, w, _ = pixels.shape
  levels = tf.cast(tf.round(_gray(pixels)), tf.int32)
  total = tf.reduce_sum(levels, [1, 2, 3], keepdims=True)
  return tf.cast(total, tf.float32) / (h * w)
