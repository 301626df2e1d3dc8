"""Applies operations to uint8 images, a different one to each image of a batch.

The operations are those of AutoAugment (Cubuk et al. 2018, table 6) and make
the same pixels as Pillow. Computing all fifteen for every image would be
expensive. Instead every image passes through three kernels, each with its own
parameters, which change nothing if the image's operation is of another class:

1. `_warp`: shears, translations and rotation are an affine map, one gather.
2. `_look_up`: operations that map values to values, channel by channel, are one
   gather.
3. `_enhance`: color and sharpness blend with another image, gray or smooth.

Values are whole numbers, or float32 that holds them exactly: the bits are the
same eagerly, in graphs and under XLA.

An image of 224 x 224 costs 7 ms of a CPU core, or 2 ms if compiled by XLA; one
of 32 x 32 costs 0.2 or 0.1 ms. A third of it is the histogram, which only two
of the operations need.
"""
import math

import numpy as np
import tensorflow as tf

OPERATIONS = (
    'identity', 'shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate',
    'auto_contrast', 'equalize', 'invert', 'solarize', 'posterize', 'color',
    'contrast', 'brightness', 'sharpness')
GEOMETRIC = OPERATIONS[1:6]
ENHANCING = OPERATIONS[11:]  # Share -1 is factor 0.1, share 1 is factor 1.9.

_OUTSIDE = 128  # Gray, in all channels.


def apply(images: tf.Tensor, operation: tf.Tensor,
          share: tf.Tensor) -> tf.Tensor:
  """Applies one operation to each image.

  `share` sets the strength (the ranges are those of Cubuk et al. 2018):
    shear_x, shear_y: 0.3 * share, about the upper left corner.
    translate_x, translate_y: 150/331 * share of the width or height; positive
      is to the left or up.
    rotate: 30 degrees * share about the center; positive is counterclockwise.
    solarize: inverts the values from 256 * (1 - share) up.
    posterize: keeps 8 - round(4 * share) bits.
    color, contrast, brightness, sharpness: factor 1 + 0.9 * share.
    identity, auto_contrast, equalize, invert: no strength.
  Larger shares are stronger: up to 2 for posterize, and from -10/9 to 10/9 for
  color, contrast, brightness and sharpness.

  Args:
    images: uint8 [b, h, w, c], c = 1 or 3.
    operation: int32 [b], indices into OPERATIONS.
    share: float32 [b]; at least 0 for solarize and posterize.

  Returns:
    uint8 [b, h, w, c].
  """
  h, w = images.shape[1:3]
  chosen = {name: operation == index for index, name in enumerate(OPERATIONS)}
  gray = luma(images)
  # Only one kernel changes an image, so the histogram, the gray image and the
  # smooth image may all be computed from the original image.
  values = _look_up(_tables(images, gray, chosen, share),
                    _warp(images, _affine_maps(chosen, share, h, w)))
  sharpness = chosen['sharpness'][:, tf.newaxis, tf.newaxis]
  inner = _is_inner(h)[:, tf.newaxis] & _is_inner(w)  # Pillow keeps borders.
  blended = (chosen['color'][:, tf.newaxis, tf.newaxis] | (sharpness & inner))
  gain = tf.where(blended, _gain(share)[:, tf.newaxis, tf.newaxis], 0)
  degenerate = tf.where(tf.expand_dims(sharpness, -1), _smooth(images),
                        tf.expand_dims(gray, -1))
  return _enhance(values, degenerate, tf.expand_dims(gain, -1))


def _affine_maps(chosen, share, h, w):
  """Returns the affine map m of each image: int32 [b, 6], 16.16 fixed point.

  As in Pillow, column x of row y is fetched from column (m0 * x + m1 * y + m2)
  / 2**16 and row (m3 * x + m4 * y + m5) / 2**16, both rounded down. The six
  numbers are computed in float64, as in Pillow: in float32 their rounding would
  depend on the compiler and on its cosine.
  """
  is_chosen = {name: tf.cast(chosen[name], tf.float64) for name in GEOMETRIC}
  amount = {name: mask * tf.cast(share, tf.float64)
            for name, mask in is_chosen.items()}
  angle = amount['rotate'] * math.radians(30)
  cos, sin = tf.cos(angle), tf.sin(angle)
  across = amount['shear_x'] * 0.3 - sin
  down = amount['shear_y'] * 0.3 + sin
  # From the fixed point of the map to the middle of the first pixel.
  x, y = (0.5 - is_chosen['rotate'] * (size / 2) for size in (w, h))
  first_column = (cos * x + across * y + (0.5 - x)
                  + amount['translate_x'] * (150 / 331 * w))
  first_row = (down * x + cos * y + (0.5 - y)
               + amount['translate_y'] * (150 / 331 * h))
  maps = tf.stack([cos, across, first_column, down, cos, first_row], -1)
  return tf.cast(tf.floor(maps * 2**16 + 0.5), tf.int32)


def _warp(images, maps):
  """Fetches each pixel from where `maps`, int32 [b, 6], points; 128 outside."""
  b, h, w, c = images.shape
  x, y = tf.range(w), tf.range(h)[:, tf.newaxis]
  m = tf.unstack(maps[..., tf.newaxis, tf.newaxis], axis=1)  # Six [b, 1, 1].
  columns = tf.bitwise.right_shift(m[0] * x + m[2] + m[1] * y, 16)
  rows = tf.bitwise.right_shift(m[3] * x + m[5] + m[4] * y, 16)
  inside = (columns >= 0) & (columns < w) & (rows >= 0) & (rows < h)
  first = tf.range(b)[:, tf.newaxis, tf.newaxis] * (h * w)
  index = tf.where(inside, first + rows * w + columns, b * h * w)
  pixels = tf.concat([tf.reshape(images, [-1, c]),
                      tf.fill([1, c], tf.constant(_OUTSIDE, tf.uint8))], 0)
  return tf.gather(pixels, index)


def _look_up(tables, images):
  """Maps values through `tables`, uint8 [b, c, 256]."""
  b, _, _, c = images.shape
  first = tf.reshape(tf.range(b * c) * 256, [b, 1, 1, c])
  return tf.gather(tf.reshape(tables, [-1]), tf.cast(images, tf.int32) + first)


def _tables(images, gray, chosen, share):
  """Returns the new value of each value: uint8 [b, c, 256]."""
  b, h, w, c = images.shape
  levels = tf.range(256)
  share = share[:, tf.newaxis, tf.newaxis]
  dropped = tf.cast(tf.round(4 * share), tf.int32)  # Bits.
  gain = _gain(share)
  # The mean is rounded half up; an int32 sum can hold 2**23 pixels.
  total = tf.reduce_sum(tf.cast(gray, tf.int32), [1, 2])
  mean = (total + h * w // 2) // (h * w)
  histogram = _histogram(
      images, chosen['auto_contrast'] | chosen['equalize'])
  tables = {
      'auto_contrast': _auto_contrast(histogram),
      'equalize': _equalize(histogram),
      'invert': 255 - levels,
      'solarize': tf.where(tf.cast(levels, tf.float32) < 256 * (1 - share),
                           levels, 255 - levels),
      'posterize': tf.bitwise.left_shift(
          tf.bitwise.right_shift(levels, dropped), dropped),
      'contrast': _enhance(levels, mean[:, tf.newaxis, tf.newaxis], gain),
      'brightness': _enhance(levels, 0, gain),
  }
  is_chosen = tf.stack([chosen[name] for name in tables], -1)
  is_chosen = tf.concat(
      [is_chosen, ~tf.reduce_any(is_chosen, -1, keepdims=True)], -1)
  tables = tf.stack([
      tf.broadcast_to(tf.cast(table, tf.float32), [b, c, 256])
      for table in [*tables.values(), levels]], 1)
  # A product, not tf.where: XLA would recompute all of this for each pixel.
  table = tf.einsum('bt,btcv->bcv', tf.cast(is_chosen, tf.float32), tables)
  return tf.cast(table, tf.uint8)


def _histogram(images, wanted):
  """Counts the pixels of each value: int32 [b, c, 256]; 0 if not `wanted`."""
  b, _, _, c = images.shape
  bins = b * c * 256
  first = tf.reshape(tf.range(b * c) * 256, [b, 1, 1, c])
  # Negative segments are dropped, which saves a GPU most of the additions.
  first = tf.where(tf.reshape(wanted, [b, 1, 1, 1]), first, -bins)
  segments = tf.reshape(tf.cast(images, tf.int32) + first, [-1])
  counts = tf.math.unsorted_segment_sum(
      tf.ones_like(segments), segments, bins)
  return tf.reshape(counts, [b, c, 256])


def _auto_contrast(histogram):
  """Returns tables that stretch each channel to 0..255: int32 [b, c, 256]."""
  levels = tf.range(256)
  lowest = tf.reduce_min(
      tf.where(histogram > 0, levels, 255), -1, keepdims=True)
  highest = tf.reduce_max(
      tf.where(histogram > 0, levels, 0), -1, keepdims=True)
  width = tf.maximum(highest - lowest, 0)
  scaled = tf.gather(tf.constant(_SCALED), tf.squeeze(width, -1))
  stretched = scaled - tf.gather(scaled, lowest, batch_dims=2)
  stretched = tf.cast(tf.clip_by_value(stretched, 0, 255), tf.int32)
  return tf.where(width > 0, stretched, levels)


def _scaled():
  """Returns level * (255 / width) as Pillow rounds it: float64 [width, level].

  Pillow's auto contrast is the difference of two of these, rounded down: in one
  image out of seven it turns the highest value into 254 instead of 255. A
  product would not reproduce that, because compilers fuse it with the
  difference and round differently; hence this table of half a MiB.
  """
  widths = np.maximum(np.arange(256), 1)[:, np.newaxis]
  return np.arange(256) * (255.0 / widths)


_SCALED = _scaled()


def _equalize(histogram):
  """Returns tables that equalize each channel: int32 [b, c, 256]."""
  levels = tf.range(256)
  below = tf.cumsum(histogram, axis=-1, exclusive=True)
  step = tf.reduce_max(
      tf.where(histogram > 0, below, 0), -1, keepdims=True) // 255
  spread = (below + step // 2) // tf.maximum(step, 1)
  return tf.where(step > 0, tf.minimum(spread, 255), levels)


def luma(images: tf.Tensor) -> tf.Tensor:
  """Returns Pillow's gray image, ITU-R 601-2.

  Args:
    images: uint8 [b, h, w, c], c = 1 or 3.

  Returns:
    uint8 [b, h, w].
  """
  if images.shape[-1] == 1:
    return tf.squeeze(images, -1)
  red, green, blue = (
      tf.cast(channel, tf.float32) for channel in tf.unstack(images, axis=-1))
  # Below 2**24: float32 is exact.
  total = red * 19595 + green * 38470 + blue * 7471 + 0x8000
  return tf.cast(total * 2.0**-16, tf.uint8)


def _smooth(images):
  """Applies Pillow's SMOOTH filter, [1 1 1, 1 5 1, 1 1 1] / 13, inside.

  At the border the result is not Pillow's: pixels from outside count as 0.
  """
  h, w = images.shape[1:3]
  # Slices of int16 are 3 times as fast as float32 and 5 times as conv2d.
  padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
  rows = tf.add_n([tf.cast(padded[:, i:i + h], tf.int16) for i in range(3)])
  total = tf.add_n([rows[:, :, i:i + w] for i in range(3)]
                   + [4 * tf.cast(images, tf.int16)])
  # Rounds. No sum is closer to a half than 1/26, so that the order of the
  # operations does not matter.
  return tf.cast((tf.cast(total, tf.float32) + 6.5) * (1 / 13), tf.uint8)


def _is_inner(size):
  """Returns whether each place is neither first nor last: bool [size]."""
  return (tf.range(size) > 0) & (tf.range(size) < size - 1)


def _gain(share):
  """Returns 0.9 * share in multiples of 2**-15, which make _enhance exact."""
  return tf.round(share * (0.9 * 2**15)) * 2.0**-15


def _enhance(values, degenerate, gain):
  """Returns values + gain * (values - degenerate), rounded down: uint8."""
  values = tf.cast(values, tf.float32)
  difference = values - tf.cast(degenerate, tf.float32)
  # 2**-8 compensates for the rounding of the gain: 18.999 must not become 18.
  return tf.cast(tf.clip_by_value(
      values + gain * difference + 2.0**-8, 0, 255), tf.uint8)
