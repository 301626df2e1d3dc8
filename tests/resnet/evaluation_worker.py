"""A worker that evaluates a known classifier on splits of some sizes.

Prints a line of JSON for each split and batch; tests/workers_test.py starts it.
"""
import json

from absl import flags
import keras
import numpy as np
import tensorflow as tf

from configs import schema
from configs.process import command_line
from pipelines import sources
from resnet import state as state_lib
from resnet.distribution import workers
from resnet.distribution.group import Group
from resnet.evaluation import evaluator
from resnet.execution import execution_flags

_CLASSES = 10


def parse(argv):
  """Defines and reads the flags."""
  execution_flags.define()
  flags.DEFINE_multi_integer('examples', [], 'Sizes of splits.')
  flags.DEFINE_multi_integer('batches', [], 'Evaluation batches.')
  return command_line.parse_flags(argv)


def main(_):
  """Evaluates all pairs; returns the exit code."""
  return workers.run(
      lambda: execution_flags.make_strategy(workers_allowed=True), _evaluate)


def split(size):
  """(images uint8 [size, 1, 1, 1], labels int32 [size]) of one pixel each."""
  rng = np.random.default_rng(size)
  return (rng.integers(0, 256, (size, 1, 1, 1), np.uint8),
          rng.integers(0, _CLASSES, size).astype(np.int32))


def _evaluate(strategy):
  with strategy.scope():
    image = keras.Input((1, 1, 1), name='image')
    # The pixel is the logit of class 0; those of all others are 0.
    logits = keras.layers.Dense(
        _CLASSES, use_bias=False, kernel_initializer=lambda shape, dtype:
            tf.one_hot([0], _CLASSES, dtype=dtype))(
                keras.layers.Flatten()(image))
    model = keras.Model({'image': image}, logits)
    state = state_lib.create(
        model, optimizer='sgd', precision='float32',
        mean=np.zeros(1, np.float32), stddev=np.full(1, 255, np.float32))
  for size in flags.FLAGS.examples:
    images, labels = split(size)
    source = sources.InMemory(
        tf.constant(images), tf.constant(labels), _CLASSES)
    for batch in flags.FLAGS.batches:
      config = schema.Config(eval_batch=batch)
      evaluate = evaluator.Evaluate(
          config, strategy, model, state, source, jit='false', keeps_seen=True)
      values, seen = evaluate(), evaluate.seen()
      if Group.of(strategy).is_chief:
        print(json.dumps({
            'size': size, 'batch': batch, **values, 'worst': seen.worst,
            'confusion': seen.confusion.tolist()}))
  return command_line.DONE
