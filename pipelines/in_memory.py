"""A split that is kept in memory: decoded once and gathered by index."""
from collections.abc import Iterable
import hashlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines import array_cache, identity, on_disk


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


def of_arrays(images: np.ndarray, labels: np.ndarray, num_classes: int,
              known: identity.Identity | None = None,
              cache_key: str | None = None) -> InMemory:
  """Makes a source of arrays; the images must not be changed any more."""
  with tf.device('CPU:0'):
    return InMemory(_constant(images), tf.constant(labels, tf.int32),
                    num_classes, known, cache_key)


def _constant(array):
  """Returns a tensor, which shares the memory of an array if it is aligned.

  tf.constant copies arrays, and makes a second copy on the way.
  """
  if array.ctypes.data % array_cache.ALIGNMENT:  # TensorFlow would abort.
    return tf.constant(array)
  return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
