"""Mean and standard deviation of pixels: what standardises the input."""
from typing import NamedTuple

import numpy as np

from configs.process.errors import UserError
from pipelines import sources

# Of pictures on disk that have to be cropped and resized, so many are measured:
# the mean is then within 1 of 255 of that of all, and it takes seconds.
_MOST_PICTURES = 2000


class PixelStatistics(NamedTuple):
  """In units of 0..255."""
  pixel_mean: np.ndarray  # float32 [h, w, c]
  mean: np.ndarray  # float32 [c]
  stddev: np.ndarray  # float32 [c], positive.


def measure(pictures):
  """Measures images that come in parts, by exact integer sums.

  Args:
    pictures: iterable of uint8 [any, h, w, c].

  Returns:
    PixelStatistics: the same however the images are divided into parts.
  """
  size, sums, counts = 0, 0, 0
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


def mean_and_stddev(data, source):
  """What a config subtracts and divides by: given, or measured.

  Args:
    data: configs.schema.Data.
    source: its training split, see sources.py.

  Returns:
    float32 [c] or, with data.center 'pixel', [h, w, c]; float32 [c].

  Raises:
    UserError: the config gives values for another number of channels.
  """
  channels = source.image_shape[-1]
  for name in ('mean', 'stddev'):
    given = getattr(data, name)
    if given and len(given) != channels:
      raise UserError(
          f'config.data.{name}={given} has {len(given)} values and the images '
          f'of {data.name} have {channels} channels: give one a channel, or '
          'none to have them measured.')
  mean = np.asarray(data.mean, np.float32)
  stddev = np.asarray(data.stddev, np.float32)
  if not (data.mean and data.stddev):
    most = _MOST_PICTURES if data.image_size else None
    measured = measure(sources.pictures(source, most))
    if not data.mean:
      mean = measured.pixel_mean if data.center == 'pixel' else measured.mean
    if not data.stddev:
      stddev = measured.stddev
  return mean, stddev
