"""Synthetic images, made when they are read: noise with a mark of their class.

An image is a pure function of (split, example, shape, label), and its label is
its number modulo the number of classes: nothing is on disk, and a data set of
any length takes some MiB of memory. It is uniform noise in 0..191 plus the
mark of its class in 0..63, a mosaic of 8 x 8 cells, which is the same in all
splits. The rows of both come from fixed tables, where start and step are random
numbers of the example or of the class:

  image[j] = noise[(start + j * step) % rows]
             + marks[(start' + j // cell * step') % rows']

Making an image of 32 x 32 pixels takes 5 us of a CPU core; 224 x 224: 100 us.
A ResNet-8 learns 10 classes from 1,000 images of 32 x 32 in about 8 epochs.

  source = synthetic.load('train', schema.Synthetic(examples=10**6), 0)
"""
from collections.abc import Iterable
import hashlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from pipelines import identity, on_disk, salts, threefry

SPLITS = ('train', 'test', 'validation')
_VERSION = '1'  # Of the images.
_CELLS = 8  # Of a mark, in each direction.
_MARK = 64  # Levels of the marks; the others are noise.
_NOISE_BYTES = 2**22  # Fits into a cache of the CPU.
_MARK_BYTES, _MARK_ROWS = 2**24, 2**12  # At most.


class Synthetic(NamedTuple):
  """A source (see sources.py) of images that are made when they are read."""
  size: int  # Number of examples.
  image_shape: tuple[int, ...]  # (h, w, c), where `read` is given no crop.
  num_classes: int
  split: str  # One of SPLITS.

  @property
  def identity(self) -> identity.Identity:
    """What tells this split from others."""
    what = repr((self.split, self.size, self.image_shape, self.num_classes))
    return identity.Identity(
        tuple(map(str, range(self.num_classes))), self.image_shape, _VERSION,
        self.size, hashlib.sha256(what.encode()).hexdigest())

  def read(self, indices: tf.data.Dataset,
           crop: on_disk.Crop | None = None) -> tf.data.Dataset:
    """Turns indices into batches, as OnDisk.read does.

    Args:
      indices: see OnDisk.read.
      crop: only its shape counts: images are made in any size.
    """
    h, w, c = crop.shape if crop else self.image_shape
    noise, marks = _tables(w, c)

    @tf.autograph.experimental.do_not_convert  # Converting takes 0.1 s.
    def make(index):
      example = index.pop('example')
      label = tf.math.floormod(example, self.num_classes)
      images = _rows(noise, example, SPLITS.index(self.split), h, 1)
      images += _rows(marks, label, len(SPLITS), h, -(-h // _CELLS))
      return {'image': tf.reshape(images, [-1, h, w, c]),
              'label': tf.cast(label, tf.int32), **index}

    return indices.map(make, num_parallel_calls=tf.data.AUTOTUNE,
                       deterministic=True)

  def explain(self, examples: Iterable[int]) -> None:
    """Returns None: all examples can be made."""
    del examples


def load(split: str, made: schema.Synthetic, image_size: int) -> Synthetic:
  """Opens one split.

  Args:
    split: one of SPLITS.
    made: what the data set consists of.
    image_size: replaces made.size; 0: it does not.

  Raises:
    UserError: there is no such split.
  """
  if split not in SPLITS:
    raise UserError(
        f'Split {split!r} of synthetic does not exist: choose one of '
        f'{", ".join(SPLITS)}.')
  size = image_size or made.size
  return Synthetic(made.examples, (size, size, made.channels), made.classes,
                   split)


def _rows(table, keys, seed, h, height):
  """Takes the rows of each image from a table, each of them `height` times.

  Args:
    table: uint8 [rows, any], where rows is a power of two.
    keys: int64 [b], what the random numbers are keyed by, beside the seed.
    seed: of the random numbers.
    h: rows of an image.
    height: how often a row is repeated.

  Returns:
    uint8 [b, h, any].
  """
  rows = table.shape[0]
  draws = threefry.uniform(seed, keys, salts.SYNTHETIC, (2,))
  start, step = tf.unstack(tf.cast(draws * rows, tf.int32), axis=1)
  step = tf.bitwise.bitwise_or(step, 1)  # Odd: no row twice until all are used.
  place = start[:, tf.newaxis] + step[:, tf.newaxis] * (tf.range(h) // height)
  return tf.gather(table, tf.bitwise.bitwise_and(place, rows - 1))


def _tables(width, channels):
  """Returns the rows of noise and of marks: uint8 [rows, width * channels]."""
  row = width * channels
  noise = _bytes('noise', _rows_within(_NOISE_BYTES // row) * row)
  rows = min(_MARK_ROWS, _rows_within(_MARK_BYTES // row))
  marks = _bytes('marks', rows * _CELLS * channels)
  cells = np.arange(width) // -(-width // _CELLS)
  marks = marks.reshape(rows, _CELLS, channels)[:, cells].reshape(rows, row)
  with tf.device('CPU:0'):
    return (tf.constant(_scaled(noise.reshape(-1, row), 256 - _MARK)),
            tf.constant(_scaled(marks, _MARK)))


def _rows_within(most):
  """Returns the largest power of two that is not above `most`; at least 64."""
  return 2**(max(most, 64).bit_length() - 1)


def _bytes(name, count):
  """Returns random bytes that no version of a library can change."""
  return np.frombuffer(hashlib.shake_256(name.encode()).digest(count), np.uint8)


def _scaled(values, levels):
  """Maps 0..255 to 0..levels - 1."""
  return (values.astype(np.uint16) * levels // 256).astype(np.uint8)
