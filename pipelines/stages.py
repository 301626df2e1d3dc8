"""The stages of the input from disk, each as an endless stream of its own.

From 'read' to 'augmentation', each stream does all that the one before it does
and one thing more, so the difference is what a stage costs. Three more streams
are for comparison. 'free decoding' does what 'batch' does, but all pictures are
black: what is left is the cost of moving them. 'sequential' is the plain
pipeline of TensorFlow's guides: file after file, with the same decoding and
cropping. 'ceiling' does nothing but decode pictures that are in memory already.
"""
from collections.abc import Callable, Iterator
import os
from typing import Any, NamedTuple

import tensorflow as tf

from configs import schema
from pipelines import augmentation, batches, decoding
from pipelines.array_records import ArrayRecords
from pipelines.on_disk import Crop, OnDisk

_FEATURES = {'image': tf.io.FixedLenFeature([], tf.string)}
_IN_MEMORY = 256  # Pictures of the ceiling.


class _Part(NamedTuple):
  """A crop that does a part of what another does."""
  shape: tuple[int, ...]
  crop: Crop
  pixels: Callable[[tf.Tensor, Any], tf.Tensor]

  def draws(self, positions: tf.Tensor) -> Any:
    """Returns the draws of the other crop."""
    return self.crop.draws(positions)

  def __call__(self, encoded: tf.Tensor, draws: Any) -> tf.Tensor:
    """Returns uint8 of `shape`."""
    return self.pixels(encoded, draws)


def streams(config: schema.Config,
            source: OnDisk) -> dict[str, Callable[[], Iterator]]:
  """Returns functions that start the streams, by the names of the stages.

  Args:
    config: what is trained, with data.image_size.
    source: its training split.

  Returns:
    {stage: function without arguments that returns an iterator}. In the first
    tensor of each element, the first dimension is config.global_batch.
  """
  n = config.global_batch
  crop = decoding.random_crop(config, source.image_shape[-1])
  whole = lambda encoded: decoding.whole(encoded, crop.shape[-1])
  # Only a pixel or a row: copying all of them belongs to 'batch'.
  decode = _Part(crop.shape[-1:], crop, lambda encoded, _: whole(encoded)[0, 0])
  resize = _Part(crop.shape[1:], crop, lambda *picture: crop(*picture)[0])
  free = _Part(crop.shape, crop, lambda *_: tf.zeros(crop.shape, tf.uint8))
  training = lambda part: _train(config, source, part)
  # TensorFlow itself reads no ArrayRecord files.
  sequential = {} if isinstance(source.records, ArrayRecords) else {
      'sequential': lambda: _mapped(
          _with_draws(_sequential(source), crop, n), crop, n)}
  return {
      'read': lambda: iter(_records(config, source).prefetch(2)),
      'decode': lambda: iter(training(decode)),
      'crop and resize': lambda: iter(training(resize)),
      'batch': lambda: iter(training(crop)),
      'augmentation': lambda: map(_augmenter(config), training(crop)),
      'free decoding': lambda: iter(training(free)),
      **sequential,
      'ceiling': lambda: _mapped(
          _in_memory(source), lambda encoded: tf.shape(whole(encoded)), n),
  }


def _train(config, source: batches.Readable, crop: Crop | None = None):
  return batches.train(
      source, seed=config.seed, global_batch=config.global_batch, first_step=0,
      last_step=2**40, crop=crop)


def _records(config, source):
  """Returns encoded pictures in training order: data set of string [n]."""
  class Encoded:
    """A source whose batches are the records that OnDisk reads."""
    size = source.size

    def read(self, indices: tf.data.Dataset,
             crop: Crop | None = None) -> tf.data.Dataset:
      """Reads records without decoding them."""
      del crop
      return indices.map(lambda index: source.fetch(index['example'])[0],
                         num_parallel_calls=2, deterministic=True)

  return _train(config, Encoded())


def _mapped(pictures, function, n):
  """Maps pictures on all cores, in order, and iterates over batches of n."""
  mapped = pictures.map(
      function, num_parallel_calls=len(os.sched_getaffinity(0)),
      deterministic=True)
  return iter(mapped.batch(n, drop_remainder=True).prefetch(2))


def _with_draws(pictures, crop, n):
  """Pairs each picture with the random numbers of its crop."""
  draws = tf.data.Dataset.range(2**20).batch(n).map(
      crop.draws).unbatch().repeat()
  return tf.data.Dataset.zip(pictures, draws)


def _sequential(source):
  """Returns encoded pictures in the order of the files, repeated forever."""
  paths = [span.path for span in source.records.spans]

  def picture(record):
    features: Any = tf.io.parse_single_example(record, _FEATURES)
    return features['image']

  return tf.data.TFRecordDataset(paths).repeat().map(picture)


def _in_memory(source):
  """Returns the first encoded pictures, read once and repeated forever."""
  examples = tf.range(min(_IN_MEMORY, source.size), dtype=tf.int64)
  return tf.data.Dataset.from_tensor_slices(source.fetch(examples)[0]).repeat()


def _augmenter(config):
  """Returns a function that augments batches as the training step does."""
  mean = tf.zeros([])

  @tf.function(autograph=False)
  def augmented(batch):
    targets = tf.one_hot(batch['label'], 1000)
    return augmentation.apply(
        batch['image'], targets, batch['position'], mean, seed=config.seed,
        config=config.augment)[0]

  return augmented
