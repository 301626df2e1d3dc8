"""A split that stays on disk: any record of its TFRecord files at any time.

Reading in a global permutation costs no more than reading in sequence: the
records of a batch are asked for all at once, and decoding them takes a hundred
times as long as fetching them.
"""
import os

import numpy as np
import tensorflow as tf

from configs.process.errors import UserError
from pipelines import decoding, records

_READS = 2  # Batches of records that are read at a time.
_FEATURES = {'image': tf.io.FixedLenFeature([], tf.string, ''),
             'label': tf.io.FixedLenFeature([], tf.int64, -1)}


class OnDisk:
  """A source (see sources.py) over TFDS examples with 'image' and 'label'."""

  def __init__(self, found, num_classes, crop, *, skip_bad_images=False):
    """Makes a source.

    Args:
      found: records.Records.
      num_classes: int.
      crop: what makes pixels of pictures where `read` is given nothing else;
        see decode.py.
      skip_bad_images: whether a picture that cannot be read becomes a black
        one of weight 0, instead of an error.
    """
    self.records, self.num_classes, self.crop = found, num_classes, crop
    self._skip_bad_images, self._failure = skip_bad_images, None

  @property
  def size(self):
    return len(self.records)

  @property
  def image_shape(self):
    """(h, w, c)."""
    return self.crop.shape

  def read(self, indices, crop=None):
    """Turns indices into batches, in their order.

    Records are read a batch at a time; pictures are decoded one by one, as
    many at once as this process has cores.

    Args:
      indices: tf.data.Dataset of {'example': int64 [b], 'position': int64 [b],
        'weight': float32 [b]} with static b.
      crop: see decode.py; None: the source's own.

    Returns:
      tf.data.Dataset of {'image': uint8 [b, *crop.shape], 'label': int32 [b],
      'position', 'weight'}. Iterating it raises a tf.errors.OpError where
      something cannot be read: `explain` knows what.
    """
    crop = crop or self.crop

    def fetch(index):
      encoded, label = self.fetch(index.pop('example'))
      return {'image': encoded, 'label': label,
              'draws': crop.draws(index['position']), **index}

    def decode_one(example):
      encoded, draws = example['image'], example.pop('draws')
      if self._skip_bad_images:
        image, good = _decode_or_blacken(crop, encoded, draws)
        return {**example, 'image': image, 'weight': example['weight'] * good}
      return {**example, 'image': crop(encoded, draws)}

    b = indices.element_spec['position'].shape[0]
    stream = indices.map(fetch, num_parallel_calls=_READS, deterministic=True)
    stream = stream.unbatch().map(
        decode_one, num_parallel_calls=len(os.sched_getaffinity(0)),
        deterministic=True)
    return stream.batch(b, drop_remainder=True)

  def fetch(self, examples):
    """int64 [b] -> encoded pictures, string [b], and labels, int32 [b]."""
    serialized = tf.numpy_function(
        self._read_records, [examples], tf.string, stateful=False)
    features = tf.io.parse_example(
        tf.ensure_shape(serialized, examples.shape), _FEATURES)
    return features['image'], tf.cast(features['label'], tf.int32)

  def explain(self, examples):
    """Why one of some examples cannot be read.

    Args:
      examples: iterable of ints.

    Returns:
      UserError that names it; None if all can be read.
    """
    for example in examples:
      if self._failure:
        break
      try:
        encoded, _ = self.fetch(tf.constant([example], tf.int64))
        shape = decoding.whole(encoded[0], self.image_shape[-1]).shape
      except tf.errors.OpError as error:
        return self._failure or UserError(
            f'{self.records.name(example)} is not a picture that can be '
            f'decoded ({error.message.partition(" [Op:")[0]}): take it out of '
            'the data set, or give --skip_bad_images to go on without it.')
      if isinstance(self.crop, decoding.Whole) and shape != self.image_shape:
        return differing_sizes(self.records.name(example), shape,
                               self.image_shape)
    return self._failure

  def _read_records(self, numbers):
    """An object array of bytes; keeps the error, which TensorFlow garbles."""
    try:
      return np.array(self.records.read(numbers), object)
    except records.DamagedRecord as error:
      if self._skip_bad_images:
        return np.array([self._record_or_nothing(n) for n in numbers], object)
      self._failure = error
      raise
    except UserError as error:
      self._failure = error
      raise

  def _record_or_nothing(self, number):
    try:
      return self.records.read([number])[0]
    except records.DamagedRecord:
      return b''  # Parsed as an example whose picture is empty.


def read_examples(source, examples):
  """Reads some examples of a source, in order.

  Args:
    source: OnDisk.
    examples: int array [n], n > 0.

  Yields:
    NumPy batches as of `read`, n examples in all.

  Raises:
    UserError: one of them cannot be read.
  """
  b = min(len(examples), 64)
  padding = -len(examples) % b
  padded = np.concatenate([examples, np.repeat(examples[-1:], padding)])
  indices = tf.data.Dataset.from_tensor_slices({
      'example': padded.astype(np.int64),
      'position': np.arange(len(padded)),
      'weight': np.ones(len(padded), np.float32)}).batch(b, drop_remainder=True)
  done = 0
  try:
    for batch in source.read(indices).prefetch(2).as_numpy_iterator():
      keep = batch['position'] < len(examples)
      yield {key: value[keep] for key, value in batch.items()}
      done += b
  except tf.errors.OpError as error:
    raise source.explain(examples[done:]) or error from error


def differing_sizes(name, shape, others):
  """UserError for pictures of different sizes that nothing makes equal."""
  return UserError(
      f'Pictures differ in size ({name} has {shape[0]} x {shape[1]} pixels, '
      f'others {others[0]} x {others[1]}): set --config.data.image_size=224, '
      'say, to crop and resize them all.')


def _decode_or_blacken(crop, encoded, draws):
  """crop(encoded, draws) and 1.0; a black image and 0.0 if it cannot decode.

  A data set of its own for each picture is the only place where TensorFlow
  goes on after an error. Costs 0.25 ms a picture.
  """
  black = tf.zeros(crop.shape, tf.uint8)
  either = tf.data.Dataset.from_tensors((encoded, draws)).map(
      lambda e, d: (crop(e, d), 1.0)).ignore_errors(log_warning=False)
  either = either.concatenate(tf.data.Dataset.from_tensors((black, 0.0)))
  return either.take(1).get_single_element()
