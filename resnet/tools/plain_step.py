"""The plainest TensorFlow training step, which the training loop is held to."""
from collections.abc import Callable

import keras
import tensorflow as tf

from configs import schema
from pipelines import augmentation, batches, sources
from pipelines.options import Reading
from resnet import network
from resnet.distribution import strategy as strategy_lib


def make(config: schema.Config, strategy: tf.distribute.Strategy,
         reading: Reading, jit: str) -> Callable[[], float]:
  """Makes the least that trains a config's network, on one batch.

  On several replicas it is the same step in strategy.run, without XLA, which
  cannot compile Keras's optimizers there.

  Args:
    config: what to train.
    strategy: the devices.
    reading: how to read the data set.
    jit: 'true', 'false' or 'auto'.

  Returns:
    A function that makes one update, waits for the devices, and returns the
    loss. Its first call traces and compiles.
  """
  source = sources.load(config.data.name, config.data.train_split, reading,
                        config.data.image_size)
  replicas = strategy.num_replicas_in_sync
  replica_batch = strategy_lib.replica_batch(config.global_batch, replicas)
  batch = next(iter(batches.evaluate(source, replica_batch=replica_batch)))
  with strategy.scope():
    model, state = network.build(config, strategy, source)
    images = augmentation.standardize(batch['image'], state.mean, state.stddev)
    optimizer = keras.optimizers.SGD(
        config.schedule.peak * 1e-3, config.optimizer.momentum,
        nesterov=config.optimizer.nesterov)
    optimizer.build(model.trainable_variables)
  offered = {'image': images, 'position': batch['position']}
  inputs = {name: offered[name] for name in model.input}

  def step():
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
          batch['label'], model(inputs, training=True)))
    optimizer.apply_gradients(zip(
        tape.gradient(loss, model.trainable_variables),
        model.trainable_variables))
    return loss

  if replicas > 1:
    replicated = tf.function(lambda: strategy.run(step))
    return lambda: strategy.experimental_local_results(replicated())[0].numpy()
  compiled = tf.function(step, jit_compile=strategy_lib.use_xla(
      jit, strategy, config.model.sync_batch_norm))
  return lambda: compiled().numpy()
