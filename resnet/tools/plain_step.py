"""The plainest TensorFlow training step, which the training loop is held to.

Forward, backward and Keras's optimizer, on one batch that never changes: no
input, augmentation, metrics or weight decay.
"""
from collections.abc import Callable
import dataclasses
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from configs import schema
from resnet import network
from resnet.distribution import strategy as strategy_lib
from resnet.models.batch_norm import BatchNorm


class Images(NamedTuple):
  """What a network needs to know about the images that it is built for."""
  image_shape: tuple[int, ...]  # (h, w, c)
  num_classes: int


class Plain(NamedTuple):
  """A training step that is ready to run."""
  run: Callable[[int], object]  # Makes this many updates, then waits for them.
  weights: int  # Numbers that training changes.
  fused_norms: int  # Batch norms that take one kernel each way.


def make(config: schema.Config, strategy: tf.distribute.Strategy,
         images: Images, jit: str, *, keras_batch_norm: bool) -> Plain:
  """Makes the least that trains a config's network, on one batch.

  On several replicas it is the same step in strategy.run, without XLA, which
  cannot compile Keras's optimizers there.

  Args:
    config: what to train.
    strategy: the devices.
    images: what the network is built for.
    jit: 'true', 'false' or 'auto'.
    keras_batch_norm: whether to use Keras's batch norm instead of ours.

  Returns:
    The step. Its first update traces and compiles.
  """
  replicas = strategy.num_replicas_in_sync
  batch_size = strategy_lib.replica_batch(config.global_batch, replicas)
  with strategy.scope():
    model = _build(config, strategy, images, keras_batch_norm)
    optimizer = keras.optimizers.SGD(
        config.schedule.peak * 1e-3, config.optimizer.momentum,
        nesterov=config.optimizer.nesterov)
    optimizer.build(model.trainable_variables)
  inputs, labels = _batch(model, images, batch_size)

  def step():
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
          labels, model(inputs, training=True)))
    optimizer.apply_gradients(zip(
        tape.gradient(loss, model.trainable_variables),
        model.trainable_variables))
    return loss

  if replicas > 1:
    compiled = tf.function(lambda: strategy.experimental_local_results(
        strategy.run(step))[0])
  else:
    compiled = tf.function(step, jit_compile=strategy_lib.use_xla(
        jit, strategy, config.model.sync_batch_norm))
  return Plain(
      lambda steps: [compiled() for _ in range(steps)][-1].numpy(),
      sum(int(np.prod(v.shape)) for v in model.trainable_variables),
      sum(isinstance(layer, BatchNorm) for layer in model.layers))


def _build(config, strategy, images, keras_batch_norm):
  """Returns the network of a config, with fresh weights."""
  channels = images.image_shape[-1]
  data = dataclasses.replace(  # Otherwise they would be measured.
      config.data, mean=(0.0,) * channels, stddev=(1.0,) * channels)
  model, _ = network.build(dataclasses.replace(config, data=data), strategy,
                           images)  # pyright: ignore[reportArgumentType]
  return _with_keras_batch_norm(model, config) if keras_batch_norm else model


def _with_keras_batch_norm(model, config):
  """Returns a model with Keras's batch norm in place of ours; it shares the
  other layers, and with them their weights.
  """
  def other(layer):
    if not isinstance(layer, BatchNorm):
      return layer
    return keras.layers.BatchNormalization(
        momentum=config.model.batch_norm_momentum,
        epsilon=config.model.batch_norm_epsilon, dtype=layer.dtype_policy,
        name=layer.name)

  weights = model.get_weights()
  clone = keras.models.clone_model(model, clone_function=other)
  clone.set_weights(weights)
  return clone


def _batch(model, images, size):
  """Returns (inputs of the model, labels) of random images."""
  numbers = np.random.default_rng(0)
  shape = (size, *images.image_shape)
  offered = {
      'image': tf.constant(numbers.standard_normal(shape, np.float32)),
      'position': tf.range(size, dtype=tf.int64)}
  labels = numbers.integers(images.num_classes, size=size, dtype=np.int32)
  return {name: offered[name] for name in model.input}, tf.constant(labels)
