"""Strategies, networks and steps to measure, and how they are timed."""
from collections.abc import Callable
import dataclasses
import functools
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from configs import schema
from pipelines import sources
from resnet import network, trainer
from resnet.distribution import strategy as strategy_lib
from resnet.tools.gpu.job import Job

_CALL_STEPS = 5  # Updates of the first timed call; then more.
_WARM_UP_STEPS = 2
_MOST_STEPS = 100


class Timed(NamedTuple):
  """What updates took, without those that traced and compiled."""
  step_secs: float
  input_wait: float  # Share of the time.


def prepare(job: Job) -> None:
  """Splits the CPU, if that was asked for. TensorFlow must be untouched."""
  if job.virtual_devices:
    strategy_lib.make('one_device', virtual_devices=job.virtual_devices)


def strategy(job: Job, count: int) -> tf.distribute.Strategy:
  """Returns the strategy over the first devices, as users get it."""
  return _strategy(job.kind, count)


@functools.cache
def _strategy(kind, count):
  """Makes a strategy once in a process.

  Each strategy numbers its collectives from the same first number. A second one
  over the same devices would meet those of the first, with other shapes.
  """
  return strategy_lib.make(
      'mirrored', [f'{kind}:{index}' for index in range(count)])


def with_batch(config: schema.Config, batch: int, count: int,
               precision: str = '') -> schema.Config:
  """Returns a config that trains without end.

  Args:
    config: what is trained otherwise.
    batch: images per device.
    count: devices.
    precision: '': the config's.
  """
  augment = dataclasses.replace(config.augment, sizes=(), repeats=1)
  schedule = dataclasses.replace(config.schedule, warmup_epochs=0.0)
  model = dataclasses.replace(
      config.model, sync_batch_norm=config.model.sync_batch_norm and count > 1)
  return dataclasses.replace(
      config, global_batch=batch * count, augment=augment, schedule=schedule,
      model=model, precision=precision or config.precision, train_epochs=0.0,
      train_steps=10**8)


def load(job: Job) -> sources.Source:
  """Opens the training split."""
  data = job.config.data
  return sources.load(data, data.train_split, job.reading,
                      made=job.config.synthetic)


def constant(config: schema.Config, images: tuple[tuple[int, ...], int]
             ) -> tuple[schema.Config, sources.InMemory]:
  """Returns a config and random images in memory that it can be trained on.

  Args:
    config: of any data set.
    images: ((h, w, c), number of classes).
  """
  shape, classes = images
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (config.global_batch, *shape), np.uint8)
  labels = rng.integers(0, classes, config.global_batch, np.int32)
  data = dataclasses.replace(
      config.data, image_size=0, mean=(127.5,) * shape[-1],
      stddev=(64.0,) * shape[-1])
  with tf.device('CPU:0'):
    source = sources.InMemory(
        tf.constant(pixels), tf.constant(labels), classes)
  return dataclasses.replace(config, data=data), source


def shape_of(job: Job) -> tuple[tuple[int, ...], int]:
  """Returns ((h, w, c), number of classes) of the data set."""
  data = job.config.data
  source = sources.open_split(
      data, data.train_split, job.reading, made=job.config.synthetic)
  return source.image_shape, source.num_classes


def trained(config: schema.Config, strategy: tf.distribute.Strategy,
            source: sources.Source, jit: str) -> trainer.Train:
  """Returns the training calls for a config, ready to be called."""
  model, state = network.build(config, strategy, source)
  return trainer.Train(config, strategy, model, state, source, jit=jit,
                       first_step=0)


def time_training(train: trainer.Train, least_secs: float) -> Timed:
  """Times updates in calls, after some that trace and compile.

  Args:
    train: not called yet.
    least_secs: how long to time.
  """
  step = train(0, 1, False).step
  step = train(step, _WARM_UP_STEPS, False).step
  steps, secs, waited = 0, 0.0, 0.0
  most = _CALL_STEPS
  while secs < least_secs or not steps:
    call = train(step, most, False)
    steps, secs = steps + call.step - step, secs + call.seconds
    step, waited = call.step, waited + call.input_secs
    most = min(2 * most, train.steps_per_call, _MOST_STEPS)
  return Timed(secs / steps, waited / secs)


def time_calls(function: Callable[[], object], least_secs: float) -> float:
  """Returns the seconds of a call, in a row without waiting in between.

  The first calls trace and compile, and are not counted.
  """
  def repeat(count):
    for _ in range(count):
      function()
    tf.test.experimental.sync_devices()

  return time_repeats(repeat, least_secs)


def time_repeats(repeat: Callable[[int], object], least_secs: float) -> float:
  """Returns the seconds of a call, of a function that makes several.

  The first calls trace and compile, and are not counted.
  """
  for _ in range(2):
    repeat(1)
  count = 1
  while True:
    started = time.perf_counter()
    repeat(count)
    secs = time.perf_counter() - started
    if secs >= least_secs:
      return secs / count
    count *= 2
