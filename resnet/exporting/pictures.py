"""The pictures that exports and evaluation are compared on."""
import io
from typing import NamedTuple

import numpy as np
from PIL import Image
import tensorflow as tf

from configs import schema
from configs.process import command_line
from configs.process.errors import first_line, TryAgain, UserError
from pipelines import decoding, on_disk, sources
from pipelines.options import Reading
from pipelines.single_pictures import Preprocessing

_ENCODED = {1: 'L', 3: 'RGB'}  # Channels -> Pillow's mode.


class Pictures(NamedTuple):
  """Pictures before they are cropped and resized."""
  pixels: list[np.ndarray]  # uint8 [any, any, c]
  encoded: list[bytes]  # The same pictures; empty: they cannot be encoded.
  source: str  # In words.

  def prepared(self, preprocessing: Preprocessing) -> np.ndarray:
    """Returns what evaluation makes of `pixels`: uint8 [n, h, w, c]."""
    return np.stack([preprocessing.pixels(tf.constant(image)).numpy()
                     for image in self.pixels])

  def decoded(self, preprocessing: Preprocessing) -> np.ndarray:
    """Returns what evaluation makes of `encoded`: uint8 [n, h, w, c]."""
    return np.stack([preprocessing.encoded(tf.constant(file)).numpy()
                     for file in self.encoded])


def take(config: schema.Config, image_shape: tuple[int, ...], count: int,
         reading: Reading) -> Pictures:
  """Returns pictures of the evaluation split; random ones if it is not there.

  Args:
    config: of the run.
    image_shape: (h, w, c) of what the network takes.
    count: how many, evenly spaced.
    reading: where the data are.
  """
  try:
    source = sources.open_split(config.data, config.data.eval_split, reading,
                                made=config.synthetic)
    if source.image_shape != image_shape:
      raise UserError(f'its images are {source.image_shape}, those of the run '
                      f'{image_shape}')
    return of_source(source, count,
                     f'{config.data.name} {config.data.eval_split}')
  except (UserError, TryAgain, tf.errors.OpError) as error:
    command_line.warn('The exports are compared on random pictures, because '
                      'the evaluation split cannot be read: '
                      f'{first_line(error, 1000)}.')
    return at_random(image_shape, count)


def of_source(source: sources.Source, count: int, name: str) -> Pictures:
  """Returns pictures of a split, evenly spaced; none that is damaged."""
  count = min(count, source.size)
  numbers = np.arange(count) * source.size // count
  if isinstance(source, on_disk.OnDisk):
    channels = source.image_shape[-1]
    files = source.fetch(tf.constant(numbers, tf.int64))[0].numpy().tolist()
    pairs = [(image, file) for file in files
             if (image := _decode(file, channels)) is not None]
    if not pairs:
      raise UserError('its pictures are damaged')
    return Pictures([image for image, _ in pairs], [f for _, f in pairs],
                    f'{len(pairs)} pictures of {name}')
  images = np.concatenate([
      batch['image'] for batch in on_disk.read_examples(source, numbers)])
  return _with_encoded(list(images), f'{len(images)} images of {name}')


def at_random(image_shape: tuple[int, ...], count: int) -> Pictures:
  """Returns random pixels of random sizes, around that of the images."""
  rng = np.random.default_rng(0)
  height, width, channels = image_shape
  sizes = [(height, width), *rng.integers(
      (1 + height // 2, 1 + width // 2), (2 * height, 2 * width),
      (max(count - 1, 0), 2))]
  return _with_encoded(
      [rng.integers(0, 256, (*size, channels), np.uint8) for size in sizes],
      f'{len(sizes)} pictures of random pixels')


def _decode(file, channels):
  try:
    return decoding.whole(tf.constant(file), channels).numpy()
  except tf.errors.OpError:
    return None


def _with_encoded(images, source):
  """Adds the images as PNGs, if they have as many channels as a picture."""
  files = [_png(image) for image in images if image.shape[-1] in _ENCODED]
  return Pictures(images, files, source)


def _png(image):
  content = io.BytesIO()
  mode = _ENCODED[image.shape[-1]]
  Image.fromarray(image[..., 0] if mode == 'L' else image).save(content, 'PNG')
  return content.getvalue()
