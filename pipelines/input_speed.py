"""Measures streams of training images: speed, start and memory.

Two streams of images that fit into memory are compared: `training`, which is
the input that training uses, and `textbook`, a pipeline as TensorFlow's and
Keras's guides build it. stages.py has the streams from disk.

  speed = input_speed.measure(input_speed.training(config, source), 10_000)
"""
from collections.abc import Iterator
import resource
import statistics
import time
from typing import Any, NamedTuple

import tensorflow as tf

from configs import schema
from configs.process import host_memory
from configs.process.errors import UserError
from pipelines import (
  augmentation,
  batches,
  on_disk,
  records,
  sources,
  stages,
  tfds_directory,
)

_WARM_UP = 3  # Elements that trace the functions and fill the buffers.
_SHUFFLE_BUFFER = 10_000


class Speed(NamedTuple):
  """Images per second of one stream."""
  per_cpu_sec: float  # Of all threads of the process.
  per_sec: float


class Memory(NamedTuple):
  """Resident memory of the process during one epoch."""
  pictures: int  # Of the epoch.
  first_mib: float  # After the first pass over the files.
  last_mib: float  # At the end.


def training(config: schema.Config, source: sources.Source) -> Iterator:
  """Returns an endless stream of batches, cropped and flipped as in training.

  Args:
    config: what is trained.
    source: its training split.

  Returns:
    Iterator over uint8 [n, h, w, c], n = config.global_batch.
  """
  @tf.function(autograph=False)
  def crop_and_flip(batch):
    return augmentation.crop_and_flip(
        batch['image'], batch['position'], seed=config.seed,
        padding=config.augment.crop_padding, flip=config.augment.flip)

  return map(crop_and_flip, batches.train(
      source, seed=config.seed, global_batch=config.global_batch,
      first_step=0, last_step=2**40))


def textbook(config: schema.Config, source: sources.InMemory,
             data_dir: str | None) -> Iterator:
  """Returns an endless stream of the same images, built as in the guides.

  Reads and decodes records, shuffles a buffer, and pads, crops and flips image
  by image. The embedded digits have no records and are taken from memory.

  Args:
    config: what is trained.
    source: its training split; only the digits are taken from it.
    data_dir: the folder that holds data sets; None: TFDS's default.

  Returns:
    Iterator over uint8 [n, h, w, c], n = config.global_batch.

  Raises:
    UserError: TensorFlow cannot read its files.
  """
  if config.data.name == 'digits':
    images = tf.data.Dataset.from_tensor_slices(source.images)
  else:
    builder: Any = tfds_directory.builder(config.data.name, data_dir)
    if tfds_directory.file_format(builder) != 'tfrecord':
      raise UserError(
          f'{builder.data_dir} holds {tfds_directory.file_format(builder)} '
          'files, which the pipeline to compare with cannot read: give the '
          '--data_dir of the same data in TFRecord files.')
    images = builder.as_dataset(
        split=config.data.train_split, shuffle_files=True).map(
            lambda example: example['image'])
  stream = images.repeat().shuffle(_SHUFFLE_BUFFER).map(
      lambda image: _crop_and_flip(image, config.augment),
      num_parallel_calls=tf.data.AUTOTUNE)
  return iter(stream.batch(config.global_batch).prefetch(tf.data.AUTOTUNE))


def _crop_and_flip(image, augment):
  """Pads, crops and flips one image, as the guides do."""
  shape, padding = image.shape, augment.crop_padding
  image = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]])
  image = tf.image.random_crop(image, shape)
  return tf.image.random_flip_left_right(image) if augment.flip else image


def measure(stream: Iterator, images: int) -> Speed:
  """Takes at least `images` images from a stream and measures the speed.

  The stream should have no other owner: it ends with this call, so that its
  threads do not work ahead at the expense of the next measurement.
  """
  for _ in range(_WARM_UP):
    next(stream)
  host_memory.keep_freed()  # As the training loop does.
  cpu, wall, done = _cpu_secs(), time.perf_counter(), 0
  while done < images:
    done += tf.nest.flatten(next(stream))[0].shape[0]
  return Speed(done / (_cpu_secs() - cpu), done / (time.perf_counter() - wall))


def start_secs(config: schema.Config, source: sources.Source, step: int,
               times: int) -> float:
  """Returns the seconds until a stream that starts at `step` has a batch.

  Args:
    config: what is trained.
    source: its training split.
    step: the step of the first batch.
    times: number of starts; the result is their median.
  """
  def once():
    before = time.perf_counter()
    next(iter(batches.train(
        source, seed=config.seed, global_batch=config.global_batch,
        first_step=step, last_step=step + 100)))
    return time.perf_counter() - before

  return statistics.median(once() for _ in range(times))


def memory(config: schema.Config, source: on_disk.OnDisk,
           times: int) -> Memory:
  """Measures memory over one epoch of the data set repeated `times` times."""
  again = on_disk.OnDisk(
      records.Records([*source.records.spans] * times, remedy=''),
      source.classes, source.crop)
  stream = stages.streams(config, again)['batch']()
  sizes, done = [], 0
  while done < again.size:
    done += next(stream)['label'].shape[0]
    if done // source.size > len(sizes):
      sizes.append(_resident_mib())
  return Memory(again.size, sizes[0], sizes[-1])


def _resident_mib():
  with open('/proc/self/statm', encoding='utf-8') as file:
    return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def _cpu_secs():
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_utime + usage.ru_stime
