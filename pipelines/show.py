"""Draws a contact sheet: what a recipe's augmentation makes of its pictures.

  python -m pipelines.show --config=imagenet_resnet50 --data_dir=DIR

A row is a picture: at the left as evaluation sees it, then as training might.
With mixup or cutmix, rows 1 and 2, 3 and 4, ... are mixed with each other.
"""
import os

from absl import flags
import numpy as np
import tensorflow as tf

from configs import loading
from configs.process import command_line
from configs.process.errors import UserError
from pipelines import (
  augmentation,
  batches,
  decoding,
  pixel_statistics,
  reading_flags,
  sources,
)

_SMALLEST_CELL = 64  # Pixels a side; smaller images are enlarged.
_GAP = 2


def parse(argv):
  """Defines and reads the flags: (Config, recipe's name, other arguments)."""
  reading_flags.define()
  flags.adopt_module_key_flags(reading_flags)
  flags.DEFINE_string('output', None, 'The PNG file to write; none: '
                      '<recipe>.png.')
  flags.DEFINE_integer('rows', 8, 'Pictures, an even number.', lower_bound=2)
  flags.DEFINE_integer('columns', 8, 'Draws of each picture.', lower_bound=1)
  return loading.parse(argv)


def main(parsed):
  """Writes the sheet; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  values = flags.FLAGS
  if values.rows % 2:
    raise UserError(f'--rows={values.rows} is odd, and mixup and cutmix mix '
                    f'pairs of rows: give {values.rows + 1}.')
  source = sources.load(config.data.name, config.data.train_split,
                        reading_flags.get(), config.data.image_size)
  sheet = draw(config, source, values.rows, values.columns)
  path = os.path.expanduser(values.output or f'{recipe}.png')
  try:
    with open(path, 'wb') as file:
      file.write(tf.io.encode_png(sheet).numpy())
  except OSError as error:
    raise UserError(f'--output={path} cannot be written ({error.strerror}): '
                    'give a file in a folder you may write to.') from error
  print(f'{path}: {values.rows} pictures of {config.data.name}, each as it is '
        f'and {values.columns} times as trained on.')
  return command_line.DONE


def draw(config, source, rows, columns):
  """The sheet.

  Args:
    config: configs.schema.Config.
    source: its training split, see sources.py.
    rows: int, even: pictures, the first of the run.
    columns: int: draws of each.

  Returns:
    uint8 [any, any, 1 or 3].
  """
  mean, _ = pixel_statistics.mean_and_stddev(config.data, source)
  examples = batches.train_examples(
      tf.range(rows, dtype=tf.int64) % source.size, size=source.size,
      seed=config.seed, global_batch=rows)
  crop = None
  if config.data.image_size:
    crop = decoding.RandomCrop(
        source.image_shape, config.seed, config.augment.smallest_crop)
  cells = [_images(source, examples, 0, None)]
  for column in range(columns):
    position = tf.range(rows, dtype=tf.int64) + column * rows
    images, _ = augmentation.apply(
        _images(source, examples, column * rows, crop), tf.zeros([rows, 2]),
        position, mean, seed=config.seed, config=config.augment)
    cells.append(tf.cast(tf.round(tf.cast(images, tf.float32)), tf.uint8))
  return _arrange(np.stack(cells, 1))


def _images(source, examples, first_position, crop):
  """uint8 [rows, h, w, c] of some examples, as if at these positions."""
  indices = tf.data.Dataset.from_tensors({
      'example': examples, 'weight': tf.ones(len(examples)),
      'position': first_position + tf.range(len(examples), dtype=tf.int64)})
  try:
    return next(iter(source.read(indices, crop)))['image']
  except tf.errors.OpError as error:
    raise source.explain(examples.numpy()) or error from error


def _arrange(cells):
  """uint8 [rows, columns, h, w, c] -> one image, with white gaps."""
  scale = -(-_SMALLEST_CELL // min(cells.shape[2:4]))
  cells = cells.repeat(scale, 2).repeat(scale, 3)
  gaps = ((0, 0), (0, 0), (0, _GAP), (0, _GAP), (0, 0))
  cells = np.pad(cells, gaps, constant_values=255)
  rows, columns, h, w, c = cells.shape
  return cells.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
