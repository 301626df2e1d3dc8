"""Measures the mean and standard deviation of pixels, to standardize the input.
"""
from collections.abc import Iterable
import math
from typing import NamedTuple

import numpy as np

from configs import schema
from configs.process.errors import UserError
from pipelines import array_cache, sources, synthetic

# Of pictures on disk, which have to be cropped and resized, and of images that
# are made when they are read, a sample of this size is measured: its mean is
# within 1 of 255 of that of all pictures, and measuring it takes seconds.
_MOST_PICTURES = 2000
_EXACT_IN_FLOAT32 = 256  # Images: 256 * 255**2 < 2**24.
_FLOATS_AT_ONCE = 2**20
_VERSION = 1  # Of what is cached.


class PixelStatistics(NamedTuple):
  """Statistics in units of 0..255."""
  pixel_mean: np.ndarray  # float32 [h, w, c]
  mean: np.ndarray  # float32 [c]
  stddev: np.ndarray  # float32 [c], positive.


def measure(pictures: Iterable[np.ndarray]) -> PixelStatistics:
  """Measures images that come in parts, by exact sums of integers.

  Args:
    pictures: parts, uint8 [any, h, w, c].

  Returns:
    The statistics, the same however the images are divided into parts.
  """
  size = 0
  sums = squares = np.zeros([1, 1, 1], np.int64)
  for images in pictures:
    step = _images_at_once(images)
    for first in range(0, len(images), step):
      # Whole numbers below 2**24, which float32 adds up exactly.
      x = images[first:first + step].astype(np.float32)
      sums = sums + x.sum(0).astype(np.int64)
      squares = squares + np.einsum('i...,i...->...', x, x).astype(np.int64)
      size += len(x)
  total = size * sums.size // sums.shape[-1]  # Of each channel.
  mean = sums.sum((0, 1)) / total
  variance = squares.sum((0, 1)) / total - mean**2
  # A channel without variance (all black, say) must not divide by zero.
  stddev = np.sqrt(np.maximum(variance, 1.0))
  return PixelStatistics(*(value.astype(np.float32)
                           for value in (sums / size, mean, stddev)))


def _images_at_once(images):
  """Returns how many to convert to float32 at once: few, for the cache."""
  pixels = math.prod(images.shape[1:])
  return max(1, min(_EXACT_IN_FLOAT32, _FLOATS_AT_ONCE // pixels))


def mean_and_stddev(data: schema.Data, source: sources.Source
                    ) -> tuple[np.ndarray, np.ndarray]:
  """Returns what images are standardized with: from the config, or measured.

  Args:
    data: the settings.
    source: the training split.

  Returns:
    (mean, float32 [c] or, with data.center 'pixel', [h, w, c]; standard
    deviation, float32 [c]), in units of 0..255.

  Raises:
    UserError: the config has values for another number of channels.
  """
  _check_channels(data, source.image_shape[-1])
  mean, stddev = (np.asarray(given, np.float32)
                  for given in (data.mean, data.stddev))
  if not (data.mean and data.stddev):
    sampled = data.image_size or isinstance(source, synthetic.Synthetic)
    measured = _measured(source, _MOST_PICTURES if sampled else None)
    if not data.mean:
      mean = measured.pixel_mean if data.center == 'pixel' else measured.mean
    if not data.stddev:
      stddev = measured.stddev
  return mean, stddev


def _measured(source, most):
  """Returns the statistics of a source, or of a sample; from the cache, if any.
  """
  shape = source.image_shape
  ends = np.cumsum([math.prod(shape), shape[-1]])
  key = sources.cache_key(source)
  if not key:
    return measure(sources.pictures(source, most))
  key = array_cache.key('statistics', _VERSION, key, most)
  kept = array_cache.read(key, 4 * int(ends[1] + shape[-1]))
  if kept is not None:
    pixel_mean, mean, stddev = np.split(kept.view('<f4'), ends)
    return PixelStatistics(pixel_mean.reshape(shape), mean, stddev)
  measured = measure(sources.pictures(source, most))
  content = np.concatenate([value.ravel() for value in measured])
  array_cache.write(key, content.astype('<f4').view(np.uint8))
  return measured


def _check_channels(data, channels):
  """Raises UserError if the config has values for other channels."""
  for name in ('mean', 'stddev'):
    given = getattr(data, name)
    if given and len(given) != channels:
      raise UserError(
          f'config.data.{name}={given} has {len(given)} values, but the images '
          f'of {data.name} have {channels} channels: give one value per '
          'channel, or () to measure them.')
