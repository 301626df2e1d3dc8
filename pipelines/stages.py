"""The stages of the input from disk, each an endless stream of its own.

Each stream does all that the one before it does and one thing more, so that
what a stage costs is the difference. `sequential` is the plain pipeline of
TensorFlow's guides, file after file, with the same decoding and cropping, and
`ceiling` decodes pictures that are in memory already and does nothing else.
"""
import os

import tensorflow as tf

from pipelines import augmentation, batches, decoding

_FEATURES = {'image': tf.io.FixedLenFeature([], tf.string)}
_IN_MEMORY = 256  # Pictures of the ceiling.


def streams(config, source):
  """Functions that start a stream whose elements have `global_batch` images.

  Args:
    config: configs.schema.Config with data.image_size.
    source: on_disk.OnDisk, its training split.

  Returns:
    {stage: -> iterator}.
  """
  crop = decoding.RandomCrop(
      source.image_shape, config.seed, config.augment.smallest_crop)
  cores = len(os.sched_getaffinity(0))
  arguments = dict(seed=config.seed, global_batch=config.global_batch,
                   first_step=0, last_step=2**40)
  records = lambda: _records(source, arguments)
  pictures = lambda: records().unbatch()
  decoded = lambda encoded: tf.shape(decoding.whole(encoded, 3))
  ours = lambda: batches.train(source, crop=crop, **arguments)
  group = lambda stream: iter(
      stream.batch(config.global_batch, drop_remainder=True).prefetch(2))
  parallel = dict(num_parallel_calls=cores, deterministic=True)
  return {
      'read': lambda: iter(records().prefetch(2)),
      'decode': lambda: group(pictures().map(decoded, **parallel)),
      'crop and resize': lambda: group(
          _with_draws(pictures(), crop, config).map(
              lambda *picture: crop(*picture)[0], **parallel)),
      'batch': lambda: iter(ours()),
      'augmentation': lambda: map(_augmenter(config), ours()),
      'sequential': lambda: group(
          _with_draws(_sequential(source), crop, config).map(crop, **parallel)),
      'ceiling': lambda: group(
          _in_memory(source).map(decoded, **parallel)),
  }


def _records(source, arguments):
  """Encoded pictures in training order, string [n]."""
  class Encoded:  # A source whose batches are what OnDisk reads.
    size = source.size

    def read(self, indices, crop=None):
      del crop
      return indices.map(lambda index: source.fetch(index['example'])[0],
                         num_parallel_calls=2, deterministic=True)

  return batches.train(Encoded(), **arguments)


def _with_draws(pictures, crop, config):
  """Zips pictures with the random numbers of their crops."""
  draws = tf.data.Dataset.range(2**20).batch(config.global_batch).map(
      crop.draws).unbatch().repeat()
  return tf.data.Dataset.zip(pictures, draws)


def _sequential(source):
  """Encoded pictures in the order of the files, again and again."""
  paths = [span.path for span in source.records.spans]
  return tf.data.TFRecordDataset(paths).repeat().map(
      lambda record: tf.io.parse_single_example(record, _FEATURES)['image'])


def _in_memory(source):
  examples = tf.range(min(_IN_MEMORY, source.size), dtype=tf.int64)
  return tf.data.Dataset.from_tensor_slices(source.fetch(examples)[0]).repeat()


def _augmenter(config):
  """batch -> augmented images, as the training step does it, on this CPU."""
  mean = tf.zeros([])

  @tf.function
  def augmented(batch):
    targets = tf.one_hot(batch['label'], 1000)
    return augmentation.apply(batch['image'], targets, batch['position'], mean,
                         seed=config.seed, config=config.augment)[0]

  return augmented
