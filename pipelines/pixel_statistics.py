"""Measures the mean and standard deviation of pixels, to standardize the input.
"""
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from configs import schema
from configs.process.errors import UserError
from pipelines import sources

# Of pictures on disk, which have to be cropped and resized, a sample of this
# size is measured: its mean is within 1 of 255 of that of all pictures, and
# measuring it takes seconds.
_MOST_PICTURES = 2000


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
  size, sums, counts = 0, np.zeros((), np.int64), np.zeros((), np.int64)
  for images in pictures:
    size += len(images)
    sums = sums + images.sum(0, dtype=np.int64)
    counts = counts + np.stack([
        np.bincount(images[..., channel].ravel(), minlength=256)
        for channel in range(images.shape[-1])])
  values, total = np.arange(256), counts.sum(1)
  mean = counts @ values / total
  variance = counts @ values**2 / total - mean**2
  # A channel without variance (all black, say) must not divide by zero.
  stddev = np.sqrt(np.maximum(variance, 1.0))
  return PixelStatistics(*(value.astype(np.float32)
                           for value in (sums / size, mean, stddev)))


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
    most = _MOST_PICTURES if data.image_size else None
    measured = measure(sources.pictures(source, most))
    if not data.mean:
      mean = measured.pixel_mean if data.center == 'pixel' else measured.mean
    if not data.stddev:
      stddev = measured.stddev
  return mean, stddev


def _check_channels(data, channels):
  """Raises UserError if the config has values for other channels."""
  for name in ('mean', 'stddev'):
    given = getattr(data, name)
    if given and len(given) != channels:
      raise UserError(
          f'config.data.{name}={given} has {len(given)} values, but the images '
          f'of {data.name} have {channels} channels: give one value per '
          'channel, or () to measure them.')
