"""Draws what a recipe's augmentation makes of its pictures."""
from typing import Any

import numpy as np
import tensorflow as tf

from configs import schema
from pipelines import augmentation, batches, decoding, pixel_statistics
from pipelines.on_disk import Crop
from pipelines.sources import Source

_SMALLEST_CELL = 64  # Pixels a side; smaller images are enlarged.
_GAP = 2


def mib(image_shape: tuple[int, ...], rows: int, columns: int) -> float:
  """Returns the size of a sheet; see `draw`."""
  h, w, c = image_shape
  scale = _scale(h, w)
  return rows * (columns + 1) * scale**2 * h * w * c / 2**20


def draw(config: schema.Config, source: Source, rows: int,
         columns: int) -> np.ndarray:
  """Draws one picture a row: first as evaluation sees it, then augmented.

  Args:
    config: the recipe.
    source: its training split.
    rows: even: the first pictures of the run.
    columns: how often each of them is augmented.

  Returns:
    uint8 [any, any, 1 or 3].
  """
  mean, _ = pixel_statistics.mean_and_stddev(config.data, source)
  examples = batches.train_examples(
      tf.math.floormod(tf.range(rows, dtype=tf.int64), source.size),
      size=source.size, seed=config.seed, global_batch=rows)
  crop = None
  if config.data.image_size:
    crop = decoding.random_crop(config, source.image_shape[-1],
                                config.data.eval_size or None)
  cells = [_images(source, examples, 0, None)]
  for column in range(columns):
    position = tf.range(rows, dtype=tf.int64) + column * rows
    images, _ = augmentation.apply(
        _images(source, examples, column * rows, crop), tf.zeros([rows, 2]),
        position, tf.constant(mean), seed=config.seed, config=config.augment)
    cells.append(tf.cast(tf.round(tf.cast(images, tf.float32)), tf.uint8))
  return _arrange(np.stack(cells, 1))


def png(sheet: np.ndarray) -> bytes:
  """Encodes uint8 [h, w, 1 or 3] as PNG."""
  return tf.io.encode_png(sheet).numpy()


def _images(source: Source, examples: tf.Tensor, first_position: int,
            crop: Crop | None) -> Any:
  """Returns uint8 [rows, h, w, c]: examples as read at these positions."""
  columns: Any = {
      'example': examples, 'weight': tf.ones(len(examples)),
      'position': first_position + tf.range(len(examples), dtype=tf.int64)}
  indices = tf.data.Dataset.from_tensors(columns)
  try:
    return next(iter(source.read(indices, crop)))['image']
  except tf.errors.OpError as error:
    raise source.explain(examples.numpy()) or error from error


def _scale(height, width):
  """Returns how often each pixel is repeated, in both directions."""
  return -(-_SMALLEST_CELL // min(height, width))


def _arrange(cells):
  """Turns uint8 [rows, columns, h, w, c] into one image with white gaps."""
  scale = _scale(*cells.shape[2:4])
  cells = cells.repeat(scale, 2).repeat(scale, 3)
  gaps = ((0, 0), (0, 0), (0, _GAP), (0, _GAP), (0, 0))
  cells = np.pad(cells, gaps, constant_values=255)
  rows, columns, h, w, c = cells.shape
  return cells.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)
