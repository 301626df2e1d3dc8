"""A split of a data set, in memory or on disk: the same batches either way.

A source offers `size`, `num_classes`, `image_shape`, `read(indices, crop)` and
`explain(examples)`; example i is the i-th record of the split in file order.
Images of one size that fit are decoded once and kept in memory; all others are
read from their TFRecord files, as TFDS prepared them, when their turn comes.
Nothing here touches the network.
"""
import hashlib
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from configs.process import cache_folder, command_line
from configs.process.errors import UserError
from pipelines import decoding, on_disk, records, tfds_directory
from pipelines.options import Reading

_DIGITS = pathlib.Path(__file__).parent / 'digits.npz'
_LOOK_AT = 10  # Examples that are tried when a split is opened.


class InMemory(NamedTuple):
  """A split decoded once, gathered by index."""
  images: tf.Tensor  # uint8 [size, h, w, c], on the host.
  labels: tf.Tensor  # int32 [size], each in [0, num_classes).
  num_classes: int

  @property
  def size(self):
    return self.images.shape[0]

  @property
  def image_shape(self):
    """(h, w, c)."""
    return tuple(self.images.shape[1:])

  def read(self, indices, crop=None):
    """As OnDisk.read; the images have their size, so that crop is None."""
    assert crop is None

    def gather(index):
      example = index.pop('example')
      return {'image': tf.gather(self.images, example),
              'label': tf.gather(self.labels, example), **index}

    return indices.map(gather, num_parallel_calls=tf.data.AUTOTUNE,
                       deterministic=True)

  def explain(self, examples):
    """None: all of them are there."""
    del examples


def load(name, split, reading=Reading(), image_size=0):
  """Opens one split of a data set.

  Args:
    name: 'digits', or a TFDS name such as 'cifar10' or 'cifar10:3.0.2'.
    split: a split name or a TFDS slice of one, such as 'train[:90%]'.
    reading: Reading.
    image_size: pixels a side that pictures are cropped and resized to; 0:
      they all have one size.

  Returns:
    InMemory or on_disk.OnDisk.

  Raises:
    UserError: the data set or split is unknown, not prepared, not one of
      images with labels, empty, or cannot be read.
  """
  if name == 'digits':
    return _load_digits(split, image_size)
  found = tfds_directory.builder(name, reading.data_dir)
  source = _open(found, name, split, reading, image_size)
  decoded = source.size * np.prod(source.image_shape, dtype=np.int64)
  if image_size or decoded > reading.memory_gib * 2**30:
    return source
  return _decoded(source) or source


def pictures(source, most=None):
  """The images of a source, or `most` of them evenly spaced.

  Args:
    source: InMemory or OnDisk.
    most: int; read for OnDisk only.

  Yields:
    uint8 [any, h, w, c]. Pictures that are skipped as bad are left out.
  """
  if isinstance(source, InMemory):
    yield source.images.numpy()
    return
  count = min(source.size, most or source.size)
  examples = np.arange(count) * source.size // count
  for batch in on_disk.read_examples(source, examples):
    yield batch['image'][batch['weight'] > 0]


def digest(source):
  """Hex digits that tell a split from others, from what `load` has read.

  Args:
    source: InMemory, told by all of its content, or OnDisk, told by the number,
      order and lengths of its records: other pictures are hardly ever as long.
  """
  if isinstance(source, InMemory):
    content = source.images.numpy().tobytes() + source.labels.numpy().tobytes()
  else:
    content = source.records.digest().encode()
  kind = f'{source.num_classes} {source.image_shape}'.encode()
  return hashlib.sha256(kind + content).hexdigest()


def _load_digits(split, image_size):
  """1,797 images 8x8x1 of 10 classes; every fifth is for the test."""
  if image_size:
    raise UserError(
        f'config.data.image_size={image_size} crops and resizes pictures from '
        'disk, and the embedded digits all have 8 x 8 pixels: give 0.')
  with np.load(_DIGITS) as archive:
    images, labels = archive['x'], archive['y']
  # 0..16 as stored; 0..255 like every other data set.
  images = (images.astype(np.uint16) * 255 // 16).astype(np.uint8)[..., None]
  test = np.arange(len(labels)) % 5 == 0
  parts = {'train': ~test, 'test': test}
  if split not in parts:
    raise UserError(
        f'Split {split!r} of digits does not exist: choose one of '
        f'{", ".join(parts)}.')
  return _in_memory(images[parts[split]], labels[parts[split]], 10)


def _in_memory(images, labels, num_classes):
  with tf.device('CPU:0'):
    return InMemory(tf.constant(images), tf.constant(labels, tf.int32),
                    num_classes)


def _open(found, name, split, reading, image_size):
  """OnDisk, after a look at its first examples."""
  features = found.info.features
  height, width, channels = features['image'].shape
  channels = channels or 3
  source = on_disk.OnDisk(
      records.Records(
          tfds_directory.spans(found, name, split),
          remedy=tfds_directory.remedy(found, name), check_crc=reading.check_crc,
          cache_folder=cache_folder.make('records')),
      features['label'].num_classes,
      decoding.CenterCrop((image_size, image_size, channels)),
      skip_bad_images=reading.skip_bad_images)
  first = range(min(_LOOK_AT, source.size))
  try:
    encoded, labels = source.fetch(tf.constant(list(first), tf.int64))
  except tf.errors.OpError as error:
    raise source.explain(first) or error from error
  if max(labels.numpy()) < 0:
    raise UserError(
        f'Split {split!r} of {name} has examples without a label: choose '
        f'another of {", ".join(sorted(found.info.splits))}.')
  if not image_size:
    if not (height and width):
      height, width = _common_size(source, encoded)
    source.crop = decoding.Whole((height, width, channels))
  return source


def _common_size(source, encoded):
  """(h, w) of some pictures; UserError if they differ. Bad ones do not count.
  """
  shapes = {}
  for example, picture in enumerate(encoded):
    try:
      shape = decoding.whole(picture, source.image_shape[-1]).shape
    except tf.errors.OpError:
      continue
    if shapes and shape not in shapes.values():
      raise on_disk.differing_sizes(
          source.records.name(example), shape, next(iter(shapes.values())))
    shapes[example] = shape
  if not shapes:
    raise source.explain([0])
  return tuple(next(iter(shapes.values()))[:2])


def _decoded(source):
  """InMemory of all of OnDisk; None if a picture is to be skipped as bad."""
  images = np.empty((source.size, *source.image_shape), np.uint8)
  labels = np.empty(source.size, np.int32)
  done = 0
  for batch in on_disk.read_examples(source, np.arange(source.size)):
    if not batch['weight'].all():
      return None
    stop = done + len(batch['label'])
    images[done:stop], labels[done:stop] = batch['image'], batch['label']
    done = stop
  if len(np.unique(labels)) == 1:
    command_line.warn(
        f'all {source.size} examples have the label {labels[0]}: a network '
        'that always answers so is right, and nothing is learned.')
  return _in_memory(images, labels, source.num_classes)
