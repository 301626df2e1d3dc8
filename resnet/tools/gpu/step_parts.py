"""The two compiled functions of a step, each to be called by itself.

They run in a loop on the device, as in the trainer: from Python, passing some
hundred tensors to a call would take longer than the call.
"""
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from configs import schema
from pipelines import batches, sources
from resnet import bound_steps, compilation, network

_SCALE, _STEP = 4, 6  # Which argument of each function a call passes on.


class Parts(NamedTuple):
  """Functions of a number of calls, on one batch; each waits for the device."""
  forward_backward: Callable[[int], object]
  update: Callable[[int], object]
  weights: int  # Numbers that training changes.


def make(config: schema.Config, strategy: tf.distribute.Strategy,
         source: sources.InMemory, jit: str) -> Parts:
  """Makes the functions. Their first calls trace and compile.

  Args:
    config: what is trained.
    strategy: one device.
    source: the images, one batch.
    jit: 'true', 'false' or 'auto'.
  """
  model, state = network.build(config, strategy, source)
  forward_backward = bound_steps.forward_backward(
      config, model,
      compilation.augment(config, strategy, jit, source.size))
  update = bound_steps.update(
      config, model, total_steps=config.train_steps, warmup_steps=0)
  batch = next(iter(batches.train(
      source, seed=config.seed, global_batch=config.global_batch,
      first_step=0, last_step=1)))
  with tf.device(strategy.extended.worker_devices[0]):
    batch, params, slots, statistics, scale, good, rate, step, mean, stddev = (
        tf.nest.map_structure(tf.identity, (
            batch, state.params, state.slots, state.statistics,
            state.loss_scale, state.good_steps, state.rate_scale, state.step,
            state.mean, state.stddev)))
    gradients = [1e-3 * p for p in params]
  compile_first = compilation.compiler(
      strategy, jit, config.model.sync_batch_norm)
  compile_second = compilation.compiler(strategy, jit)
  return Parts(
      _looped(compile_first(_touched(forward_backward)),
              (params, statistics, mean, stddev, scale, batch), _SCALE),
      _looped(compile_second(_touched(update)),
              (params, slots, gradients, scale, good, rate, step), _STEP),
      sum(p.shape.num_elements() for p in params))


def _touched(function):
  """Makes a function return its result, and a number that needs all of it."""
  def touched(*arguments):
    result = function(*arguments)
    return result, tf.add_n([
        tf.cast(tf.reshape(part, [-1])[0], tf.float32)
        for part in tf.nest.flatten(result)])
  return touched


def _looped(function, arguments, passed_on):
  """Returns a function that calls another some times, one after the other.

  Args:
    function: returns (result, a float32 scalar).
    arguments: its arguments.
    passed_on: which of them, a scalar, each call hands to the next one.
  """
  before, first, after = (arguments[:passed_on], arguments[passed_on],
                          arguments[passed_on + 1:])

  def goes_on(left, _):
    with compilation.host():
      return left > 0

  def body(left, value):
    _, touched = function(*before, value, *after)
    with compilation.host():
      left -= 1
    return left, value + tf.cast(tf.math.is_nan(touched), value.dtype)

  @tf.function(autograph=False)
  def run(count):
    return tf.while_loop(goes_on, body, [count, first])[1]

  def call(count):
    with compilation.host():
      count = tf.constant(count)
    return run(count).numpy()

  return call
