"""The stages of the input from disk, each as an endless stream of its own.

From 'read' to 'augmentation', each stream does all that the one before it does
and one thing more, so the difference is what a stage costs. Two more streams
are for comparison. 'sequential' is the plain pipeline of TensorFlow's guides:
file after file, with the same decoding and cropping. 'ceiling' does nothing but
decode pictures that are in memory already.
"""
from collections.abc import Callable, Iterator
import os
from typing import Any

import tensorflow as tf

from configs import schema
from pipelines import augmentation, batches, decoding
from pipelines.on_disk import Crop, OnDisk

_FEATURES = {'image': tf.io.FixedLenFeature([], tf.string)}
_IN_MEMORY = 256  # Pictures of the ceiling.


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
  crop = decoding.RandomCrop(
      source.image_shape, config.seed, config.augment.smallest_crop)
  decode = lambda encoded: tf.shape(decoding.whole(encoded, 3))
  # Only one row of the pixels: copying all of them belongs to 'batch'.
  crop_one_row = lambda encoded, draws: crop(encoded, draws)[0]
  records = lambda: _records(config, source)
  with_draws = lambda pictures: _with_draws(pictures, crop, n)
  training = lambda: _train(config, source, crop)
  return {
      'read': lambda: iter(records().prefetch(2)),
      'decode': lambda: _mapped(records().unbatch(), decode, n),
      'crop and resize': lambda: _mapped(
          with_draws(records().unbatch()), crop_one_row, n),
      'batch': lambda: iter(training()),
      'augmentation': lambda: map(_augmenter(config), training()),
      'sequential': lambda: _mapped(with_draws(_sequential(source)), crop, n),
      'ceiling': lambda: _mapped(_in_memory(source), decode, n),
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
