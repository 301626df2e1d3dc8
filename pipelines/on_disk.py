"""A split that stays on disk: reads any record of its files.

Reading in the order of a global permutation costs no more than reading in
sequence: all records of a batch are requested at once, and decoding them takes
a hundred times as long as fetching them. Small pictures are decoded in chunks,
because passing an element from one stage of tf.data to the next (40 us) costs
more than decoding one of them.
"""
from collections.abc import Iterable, Iterator, Sequence
import functools
import os
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from configs.process.errors import TryAgain, UserError
from pipelines import decoding, identity, records

_READS = 2  # Batches whose records are read at the same time.
# Small pictures in a chunk, at most. Photographs are decoded one at a time:
# eight in a chunk took a CPU half as long again.
_CHUNK = 8
_SMALL = 2**13  # Bytes of a record, on average.
_FEATURES = {'image': tf.io.FixedLenFeature([], tf.string, ''),
             'label': tf.io.FixedLenFeature([], tf.int64, -1)}


class Crop(Protocol):
  """Makes pixels of an encoded picture; decoding.py has the crops."""

  @property
  def shape(self) -> tuple[int, ...]:
    """(h, w, c) of what it makes."""
    ...

  def draws(self, positions: tf.Tensor) -> Any:
    """Returns random numbers for positions, int64 [b]; () if it needs none."""
    ...

  def __call__(self, encoded: tf.Tensor, draws: Any) -> tf.Tensor:
    """Returns uint8 [h, w, c]; draws are those of one position."""
    ...


class Readable(Protocol):
  """The part of a source that is needed to read some of its examples."""

  def read(self, indices: tf.data.Dataset,
           crop: Crop | None = None) -> tf.data.Dataset:
    """Turns indices into batches, in their order; see OnDisk.read."""
    ...

  def explain(self, examples: Iterable[int]) -> UserError | TryAgain | None:
    """Finds out why one of some examples cannot be read."""
    ...


class OnDisk:
  """A source (see sources.py) of TFDS examples with an image and a label."""

  def __init__(self, found: records.Records, classes: Sequence[str],
               crop: Crop, *, version: str | None = None,
               skip_bad_images: bool = False):
    """Makes a source.

    Args:
      found: the records of the split.
      classes: names of the data set's classes, in the order of their labels.
      crop: turns pictures into pixels where `read` is given no other crop.
      version: of the data set.
      skip_bad_images: whether a picture that cannot be read becomes a black
        one of weight 0 instead of raising an error.
    """
    self.records, self.classes, self.crop = found, tuple(classes), crop
    self._version, self._skip_bad_images = version, skip_bad_images
    self._failure: UserError | TryAgain | None = None

  @property
  def size(self) -> int:
    """Number of examples."""
    return len(self.records)

  @property
  def num_classes(self) -> int:
    """Number of classes."""
    return len(self.classes)

  @property
  def image_shape(self) -> tuple[int, ...]:
    """(h, w, c)."""
    return self.crop.shape

  @property
  def identity(self) -> identity.Identity:
    """What tells this split from others; reads nothing."""
    return identity.Identity(self.classes, self.image_shape, self._version,
                             self.size, self.records.digest())

  def read(self, indices: tf.data.Dataset,
           crop: Crop | None = None) -> tf.data.Dataset:
    """Turns indices into batches, in their order.

    Records are read a batch at a time. Pictures, or chunks of small ones, are
    decoded in parallel, as many as this process has cores, whatever batches
    they are in.

    Args:
      indices: data set of {'example': int64 [b], 'position': int64 [b],
        'weight': float32 [b]} with static b.
      crop: turns pictures into pixels; None: the source's own.

    Returns:
      Data set of {'image': uint8 [b, *crop.shape], 'label': int32 [b],
      'position', 'weight'}. Iterating over it raises a tf.errors.OpError where
      something cannot be read; `explain` says what.
    """
    crop = crop or self.crop

    spec: Any = indices.element_spec
    b = spec['position'].shape[0]
    k = self._chunk(b)

    def fetch(index):
      encoded, label = self.fetch(index.pop('example'))
      batch = {'image': encoded, 'label': label,
               'draws': crop.draws(index['position']), **index}
      return tf.nest.map_structure(lambda x: _reshaped(x, b // k, k), batch)

    def decode(chunk):
      images, good = self._decode(crop, chunk['image'], chunk.pop('draws'))
      return {**chunk, 'image': images, 'weight': chunk['weight'] * good}

    stream = indices.map(fetch, num_parallel_calls=_READS, deterministic=True)
    stream = stream.unbatch().map(
        decode, num_parallel_calls=len(os.sched_getaffinity(0)),
        deterministic=True)
    stream = stream.batch(b // k, drop_remainder=True).map(
        lambda batch: tf.nest.map_structure(lambda x: _reshaped(x, b), batch))
    options = tf.data.Options()
    # The cores decode pictures of their own; sharing out one costs 4 to 8 %.
    options.threading.max_intra_op_parallelism = 1
    return stream.with_options(options)

  def fetch(self, examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads examples, int64 [b], without decoding them.

    Returns:
      (encoded pictures, string [b]; labels, int32 [b]).
    """
    serialized = tf.numpy_function(
        self._read_records, [examples], tf.string, stateful=False)
    features: Any = tf.io.parse_example(
        tf.ensure_shape(serialized, examples.shape), _FEATURES)
    return features['image'], tf.cast(features['label'], tf.int32)

  def explain(self, examples: Iterable[int]) -> UserError | TryAgain | None:
    """Finds out why one of some examples cannot be read.

    Returns:
      An error that names the example; None if all of them can be read.
    """
    for example in examples:
      if self._failure:
        break
      try:
        encoded, _ = self.fetch(tf.constant([example], tf.int64))
        pixels = decoding.whole(encoded[0], self.image_shape[-1])
        shape = pixels.numpy().shape
      except tf.errors.OpError as error:
        return self._failure or UserError(
            f'{self.records.name(example)} is not a picture that can be '
            f'decoded ({error.message.partition(" [Op:")[0]}): remove it from '
            'the data set' + (
                '.' if self._skip_bad_images else
                ', or give --skip_bad_images to continue without it.'))
      if isinstance(self.crop, decoding.Whole) and shape != self.crop.picture:
        return differing_sizes(self.records.name(example), shape,
                               self.crop.picture)
    return self._failure

  def _chunk(self, batch):
    """Returns how many pictures of a batch are decoded by one call."""
    if self.records.mean_bytes > _SMALL:
      return 1
    return max(k for k in range(1, _CHUNK + 1) if batch % k == 0)

  def _decode(self, crop, encoded, draws):
    """Decodes a chunk of pictures.

    Args:
      crop: makes the pixels.
      encoded: string [k], with static k.
      draws: nest of [k, ...], see Crop.

    Returns:
      (uint8 [k, *crop.shape]; float32 [k], 0 for bad pictures, or 1.0).
    """
    one = (functools.partial(_decode_or_blacken, crop)
           if self._skip_bad_images else lambda *args: (crop(*args), 1.0))
    columns = [tf.unstack(x) for x in tf.nest.flatten((encoded, draws))]
    images, good = zip(*(
        one(*tf.nest.pack_sequence_as((encoded, draws), parts))
        for parts in zip(*columns)))
    if len(images) == 1:  # tf.stack would copy it.
      return images[0][tf.newaxis], tf.reshape(good[0], [1])
    return tf.stack(images), tf.stack(good)

  def _read_records(self, numbers):
    """Returns an object array of bytes; keeps the error for `explain`.

    TensorFlow turns an error raised here into one without its sentence.
    """
    try:
      return np.array(self.records.read(numbers), object)
    except records.DamagedRecord as error:
      if self._skip_bad_images:
        return np.array([self._record_or_nothing(n) for n in numbers], object)
      self._failure = error
      raise
    except (UserError, TryAgain) as error:
      self._failure = error
      raise

  def _record_or_nothing(self, number):
    try:
      return self.records.read(np.array([number]))[0]
    except records.DamagedRecord:
      return b''  # Parsed as an example whose picture is empty.


def read_examples(source: Readable,
                  examples: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
  """Reads some examples of a source, in order.

  Args:
    source: the split.
    examples: int [n], n > 0.

  Yields:
    Batches as from `read`, as NumPy arrays, with n examples in all.

  Raises:
    UserError: one of the examples cannot be read.
  """
  b = min(len(examples), 64)
  padding = -len(examples) % b
  padded = np.concatenate([examples, np.repeat(examples[-1:], padding)])
  columns: Any = {'example': padded.astype(np.int64),
                  'position': np.arange(len(padded)),
                  'weight': np.ones(len(padded), np.float32)}
  indices = tf.data.Dataset.from_tensor_slices(columns).batch(
      b, drop_remainder=True)
  done = 0
  try:
    stream: Any = source.read(indices).prefetch(2)
    for batch in stream.as_numpy_iterator():
      keep = batch['position'] < len(examples)
      yield {key: value[keep] for key, value in batch.items()}
      done += b
  except tf.errors.OpError as error:
    raise source.explain(examples[done:]) or error from error


def differing_sizes(name: str, shape: tuple[int, ...],
                    others: tuple[int, ...]) -> UserError:
  """Returns the error for pictures of different sizes that nothing resizes.

  Args:
    name: of one picture.
    shape: of that picture, (h, w, ...).
    others: the shape of the other pictures.
  """
  return UserError(
      f'Pictures differ in size ({name} has {shape[0]} x {shape[1]} pixels, '
      f'others have {others[0]} x {others[1]}): crop and resize all of them '
      'with, for example, --config.data.image_size=224.')


def all_bad(source: Readable, examples: Iterable[int], which: str) -> UserError:
  """Returns the error for images that were all skipped as bad.

  Args:
    source: the split.
    examples: the first of them.
    which: of which steps or split they are.
  """
  reason = (source.explain(examples)
            or 'the first can be read now, so rerun the same command.')
  return UserError(f'All images of {which} were skipped as bad: {reason}')


def _reshaped(tensor, *lengths):
  """Replaces the dimensions before those of one example by `lengths`."""
  old = 1 if len(lengths) == 2 else 2
  return tf.reshape(tensor, [*lengths, *tensor.shape[old:]])


def _decode_or_blacken(crop, encoded, draws):
  """Returns (crop(encoded, draws), 1.0), or (a black image, 0.0) if that fails.

  A separate data set for each picture is the only place where TensorFlow
  continues after an error. It costs 0.25 ms per picture.
  """
  black = tf.zeros(crop.shape, tf.uint8)
  either = tf.data.Dataset.from_tensors((encoded, draws)).map(
      lambda e, d: (crop(e, d), 1.0)).ignore_errors(log_warning=False)
  either = either.concatenate(tf.data.Dataset.from_tensors((black, 0.0)))
  return either.take(1).get_single_element()
