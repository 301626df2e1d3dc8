"""A split of a data set, in memory or on disk: the same batches either way.

A source has `size`, `num_classes`, `image_shape`, `identity`, `read(indices,
crop)` and `explain(examples)`; example i is the i-th record of the split in
file order.
Images of one size that fit into memory are decoded once and kept there. All
others are read from their TFRecord files, as TFDS prepared them, when they are
needed, and kept encoded if that fits. Nothing here touches the network.
"""
from collections.abc import Iterable, Iterator
import hashlib
import math
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from configs.process import cache_folder, command_line
from configs.process.errors import UserError
from pipelines import (
  array_cache,
  decoding,
  identity,
  on_disk,
  records,
  tfds_directory,
)
from pipelines.options import Reading

_DIGITS = pathlib.Path(__file__).parent / 'digits.npz'
_LOOK_AT = 10  # Examples that are read when a split is opened.
_LEAST_CACHED = 2**20  # Bytes. Fewer are decoded in a fraction of a second.
_DEFAULT_READING = Reading()


class InMemory(NamedTuple):
  """A split that is decoded once and gathered by index."""
  images: tf.Tensor  # uint8 [size, h, w, c], on the host.
  labels: tf.Tensor  # int32 [size], each in [0, num_classes).
  num_classes: int
  known: identity.Identity | None = None  # None: found out from the content.
  cache_key: str | None = None  # See cache_key.

  @property
  def size(self) -> int:
    """Number of examples."""
    return len(self.images)

  @property
  def image_shape(self) -> tuple[int, ...]:
    """(h, w, c)."""
    return tuple(self.images.shape[1:])  # pyright: ignore[reportReturnType]

  @property
  def identity(self) -> identity.Identity:
    """What tells this split from others."""
    if self.known:
      return self.known
    content = self.images.numpy().tobytes() + self.labels.numpy().tobytes()
    return identity.Identity(
        tuple(map(str, range(self.num_classes))), self.image_shape, None,
        self.size, hashlib.sha256(content).hexdigest())

  def read(self, indices: tf.data.Dataset,
           crop: on_disk.Crop | None = None) -> tf.data.Dataset:
    """Turns indices into batches, as OnDisk.read does.

    Args:
      indices: see OnDisk.read.
      crop: None, since the images already have their size.
    """
    assert crop is None

    @tf.autograph.experimental.do_not_convert  # Converting takes 0.1 s.
    def gather(index):
      example = index.pop('example')
      return {'image': tf.gather(self.images, example),
              'label': tf.gather(self.labels, example), **index}

    return indices.map(gather, num_parallel_calls=tf.data.AUTOTUNE,
                       deterministic=True)

  def explain(self, examples: Iterable[int]) -> None:
    """Returns None: all examples can be read."""
    del examples


Source = InMemory | on_disk.OnDisk


def load(name: str, split: str, reading: Reading = _DEFAULT_READING,
         image_size: int = 0) -> Source:
  """Opens one split of a data set, and decodes it if it fits into memory.

  Args:
    name: 'digits', or a TFDS name such as 'cifar10' or 'cifar10:3.0.2'.
    split: a split's name or a TFDS slice of one, such as 'train[:90%]'.
    reading: how to read it.
    image_size: side in pixels that pictures are cropped and resized to; 0: the
      pictures all have one size and keep it.

  Raises:
    UserError: the data set or split is unknown, not prepared, empty, without
      images and labels, or cannot be read.
  """
  return decoded(open_split(name, split, reading, image_size), reading)


def open_split(name: str, split: str, reading: Reading = _DEFAULT_READING,
               image_size: int = 0) -> Source:
  """Opens one split of a data set, but decodes nothing. Otherwise as `load`."""
  if name == 'digits':
    return _load_digits(split, image_size)
  found = tfds_directory.builder(name, reading.data_dir)
  return _open(found, name, split, reading, image_size)


def decoded(source: Source, reading: Reading = _DEFAULT_READING) -> Source:
  """Returns a split in memory if it fits, or the split as it is.

  Encoded pictures that fit are kept in memory once they have been read.
  """
  if isinstance(source, InMemory):
    return source
  most = reading.memory_gib * 2**30
  size = source.size * np.prod(source.image_shape, dtype=np.int64)
  if isinstance(source.crop, decoding.Whole) and size <= most:  # Crops differ.
    in_memory = _kept(source) or _decoded(source)
    if in_memory:
      return in_memory
  source.records.keep(most)
  return source


def pictures(source: Source, most: int | None = None) -> Iterator[np.ndarray]:
  """Reads the images of a source, or a sample of them.

  Args:
    source: the split.
    most: how many to read from disk at most, evenly spaced; None: all. Images
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
  if not source.records.checks_crc or _bytes(source) < _LEAST_CACHED:
    return None
  code = pathlib.Path(decoding.__file__).read_bytes()
  return array_cache.key(source.identity, source.crop, tf.__version__,
                         hashlib.sha256(code).hexdigest())


def _load_digits(split, image_size):
  """Loads 1,797 images [8, 8, 1] of 10 classes; every fifth is for testing."""
  if image_size:
    raise UserError(
        f'config.data.image_size={image_size} crops and resizes pictures on '
        'disk, but the embedded digits are all 8 x 8 pixels: set it to 0.')
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


def _in_memory(images, labels, num_classes, known=None, key=None):
  """Makes InMemory of arrays; the images must not be changed any more."""
  with tf.device('CPU:0'):
    return InMemory(_constant(images), tf.constant(labels, tf.int32),
                    num_classes, known, key)


def _constant(array):
  """Returns a tensor, which shares the memory of an array if it is aligned.

  tf.constant copies arrays, and makes a second copy on the way.
  """
  if array.ctypes.data % array_cache.ALIGNMENT:  # TensorFlow would abort.
    return tf.constant(array)
  return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _open(found, name, split, reading, image_size):
  """Returns OnDisk, after a look at its first examples."""
  features = found.info.features
  height, width, channels = features['image'].shape
  channels = channels or 3
  source = on_disk.OnDisk(
      records.Records(
          tfds_directory.spans(found, name, split),
          remedy=tfds_directory.remedy(found, name),
          check_crc=reading.check_crc,
          cache_folder=cache_folder.make('records')),
      features['label'].names,
      decoding.CenterCrop((image_size, image_size, channels)),
      version=str(found.version),
      skip_bad_images=reading.skip_bad_images)
  first = range(min(_LOOK_AT, source.size))
  try:
    encoded, labels = source.fetch(tf.constant(list(first), tf.int64))
  except tf.errors.OpError as error:
    raise source.explain(first) or error from error
  if max(labels.numpy()) < 0:
    raise UserError(
        f'Split {split!r} of {name} has examples without a label: choose '
        f'another split; {name} has {", ".join(sorted(found.info.splits))}.')
  if not image_size:
    if not (height and width):
      height, width = _common_size(source, encoded)
    source.crop = decoding.Whole((height, width, channels))
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
  return _in_memory(images, labels, source.num_classes, source.identity,
                    cache_key(source))
