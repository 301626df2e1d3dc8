"""A split of a data set, in memory or on disk: the same batches either way.

A source has `size`, `num_classes`, `image_shape`, `identity`, `read(indices,
crop)` and `explain(examples)`; example i is the i-th record of the split in
file order.
Images of one size that fit into memory are decoded once and kept there. All
others are read from their files, TFRecord or ArrayRecord as TFDS prepared them,
when they are needed, and kept encoded if that fits. Synthetic images are made
when they are needed. Nothing here touches the network.
"""
from collections.abc import Iterator
import hashlib
import math
import pathlib

import numpy as np
import tensorflow as tf

from configs import schema
from configs.process import cache_folder, command_line
from configs.process.errors import UserError
from pipelines import (
  array_cache,
  array_records,
  decoding,
  digits,
  in_memory,
  on_disk,
  padding,
  records,
  synthetic,
  tfds_directory,
)
from pipelines.options import Reading

_LOOK_AT = 10  # Examples that are read when a split is opened.
_LEAST_CACHED = 2**20  # Bytes. Fewer are decoded in a fraction of a second.
_DEFAULT_READING = Reading()
_DEFAULT_SYNTHETIC = schema.Synthetic()


Source = in_memory.InMemory | synthetic.Synthetic | on_disk.OnDisk
InMemory = in_memory.InMemory


def load(data: schema.Data | str, split: str,
         reading: Reading = _DEFAULT_READING, *,
         made: schema.Synthetic = _DEFAULT_SYNTHETIC) -> Source:
  """Opens one split of a data set, and decodes it if it fits into memory.

  Args:
    data: the settings. A name alone stands for the defaults of the others:
      'digits', 'synthetic', or a TFDS name such as 'cifar10' or
      'cifar10:3.0.2'.
    split: a split's name or a TFDS slice of one, such as 'train[:90%]'.
    reading: how to read it.
    made: what 'synthetic' consists of.

  Raises:
    UserError: the data set or split is unknown, not prepared, empty, without
      images and labels, or cannot be read.
  """
  return decoded(open_split(data, split, reading, made=made), reading)


def open_split(data: schema.Data | str, split: str,
               reading: Reading = _DEFAULT_READING, *,
               made: schema.Synthetic = _DEFAULT_SYNTHETIC) -> Source:
  """Opens one split of a data set, but decodes nothing. Otherwise as `load`."""
  if isinstance(data, str):
    data = schema.Data(data)
  if data.name == 'digits':
    return digits.load(split, data.image_size, data.pad_to)
  if data.name == 'synthetic':
    return synthetic.load(split, made, data.eval_size or data.image_size)
  found = tfds_directory.builder(data.name, reading.data_dir)
  return _open(found, data, split, reading)


def decoded(source: Source, reading: Reading = _DEFAULT_READING) -> Source:
  """Returns a split in memory if it fits, or the split as it is.

  Encoded pictures that fit are kept in memory once they have been read.
  """
  if not isinstance(source, on_disk.OnDisk):
    return source
  most = reading.memory_gib * 2**30
  size = source.size * np.prod(source.image_shape, dtype=np.int64)
  if isinstance(source.crop, decoding.Whole) and size <= most:  # Crops differ.
    whole = _kept(source) or _decoded(source)
    if whole:
      return whole
  source.records.keep(most)
  return source


def pictures(source: Source, most: int | None = None) -> Iterator[np.ndarray]:
  """Reads the images of a source, or a sample of them.

  Args:
    source: the split.
    most: how many to read or make at most, evenly spaced; None: all. Images
      in memory are all taken.

  Yields:
    uint8 [any, h, w, c], without pictures that are skipped as bad.

  Raises:
    UserError: all of them are bad.
  """
  if isinstance(source, InMemory):
    yield source.images.numpy()
    return
  count = min(source.size, most or source.size)
  examples = np.arange(count) * source.size // count
  good = False
  for batch in on_disk.read_examples(source, examples):
    good |= batch['weight'].any()
    yield batch['image'][batch['weight'] > 0]
  if not good:
    raise on_disk.all_bad(source, examples[:1], 'the training split')


def digest(source: Source) -> str:
  """Returns hex digits that identify a split by its whole identity."""
  return hashlib.sha256(repr(source.identity).encode()).hexdigest()


def cache_key(source: Source) -> str | None:
  """Returns what array_cache knows the pixels of a source by.

  Returns:
    A key that changes with the records and with how they are decoded; None:
    the pixels are not worth keeping, or were not compared with the checksums
    in the source's identity.
  """
  if isinstance(source, InMemory):
    return source.cache_key
  if isinstance(source, synthetic.Synthetic):
    return None
  if not source.records.checks_crc or _bytes(source) < _LEAST_CACHED:
    return None
  code = pathlib.Path(decoding.__file__).read_bytes()
  return array_cache.key(source.identity, source.crop, tf.__version__,
                         hashlib.sha256(code).hexdigest())


def _open(found, data, split, reading):
  """Returns OnDisk, after a look at its first examples."""
  features = found.info.features
  height, width, channels = features['image'].shape
  channels = channels or 3
  opened = (array_records.ArrayRecords
            if tfds_directory.file_format(found) == 'array_record'
            else records.Records)
  source = on_disk.OnDisk(
      opened(
          tfds_directory.spans(found, data.name, split),
          remedy=tfds_directory.remedy(found, data.name),
          check_crc=reading.check_crc,
          cache_folder=cache_folder.make('records')),
      features['label'].names,
      decoding.center_crop(data, channels),
      version=str(found.version),
      skip_bad_images=reading.skip_bad_images)
  first = range(min(_LOOK_AT, source.size))
  try:
    encoded, labels = source.fetch(tf.constant(list(first), tf.int64))
  except tf.errors.OpError as error:
    raise source.explain(first) or error from error
  if max(labels.numpy()) < 0:
    raise UserError(
        f'Split {split!r} of {data.name} has examples without a label: choose '
        f'another split; {data.name} has '
        f'{", ".join(sorted(found.info.splits))}.')
  if not data.image_size:
    if not (height and width):
      height, width = _common_size(source, encoded)
    source.crop = decoding.Whole(
        (height, width, channels),
        padding.margins(data.name, (height, width), data.pad_to))
  return source


def _common_size(source, encoded):
  """Returns (h, w) of some pictures, bad ones left out.

  Raises:
    UserError: they differ in size, or all of them are bad.
  """
  shapes = {}
  for example, picture in enumerate(encoded):
    try:
      pixels = decoding.whole(picture, source.image_shape[-1])
    except tf.errors.OpError:
      continue
    shape = pixels.numpy().shape
    if shapes and shape not in shapes.values():
      raise on_disk.differing_sizes(
          source.records.name(example), shape, next(iter(shapes.values())))
    shapes[example] = shape
  if not shapes:
    raise source.explain([0])
  return tuple(next(iter(shapes.values()))[:2])


def _kept(source):
  """Returns InMemory from the cache; None if it is not there."""
  key = cache_key(source)
  pixels = key and array_cache.read(key, _bytes(source))
  return None if pixels is None else _of_pixels(source, pixels)


def _decoded(source):
  """Decodes all of OnDisk to InMemory; None if a picture is skipped as bad."""
  pixels = array_cache.empty(_bytes(source))
  images, labels = _views(source, pixels)
  done = 0
  for batch in on_disk.read_examples(source, np.arange(source.size)):
    if not batch['weight'].all():
      return None
    stop = done + len(batch['label'])
    images[done:stop], labels[done:stop] = batch['image'], batch['label']
    done = stop
  key = cache_key(source)
  if key:
    array_cache.write(key, pixels)
  return _of_pixels(source, pixels)


def _bytes(source):
  """Returns the bytes of a decoded split: int32 labels behind the images."""
  return source.size * (math.prod(source.image_shape) + 4)


def _views(source, pixels):
  """Returns the (images, labels) in the array of a split."""
  images, labels = np.split(pixels, [-4 * source.size])
  return (images.reshape(source.size, *source.image_shape),
          labels.view('<i4'))


def _of_pixels(source, pixels):
  """Returns InMemory, made of the array of a split."""
  images, labels = _views(source, pixels)
  if (labels == labels[0]).all():
    command_line.warn(
        f'all {source.size} examples have the label {labels[0]}: a network '
        'that always predicts it is right, so there is nothing to learn.')
  return in_memory.of_arrays(images, labels, source.num_classes,
                             source.identity, cache_key(source))
