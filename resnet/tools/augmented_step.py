"""Training steps that differ in their augmentation only."""
from collections.abc import Callable
import dataclasses
from typing import NamedTuple

import tensorflow as tf

from configs import schema
from pipelines import batches, sources
from pipelines.options import Reading
from resnet import bound_steps, compilation, network


class Timed(NamedTuple):
  """Two functions of no arguments, for one batch; both wait for the device."""
  alone: Callable[[], object]  # The augmentation alone.
  step: Callable[[], object]  # Forward and backward with it.


class Maker:
  """Makes steps of one network on one batch, with different augmentations.

  Attributes:
    image_shape: (h, w, c) of the images.
  """

  def __init__(self, config: schema.Config, strategy: tf.distribute.Strategy,
               reading: Reading, jit: str):
    """Reads the first batch and builds the network.

    Args:
      config: what to train.
      strategy: the devices.
      reading: how to read the data set.
      jit: 'true', 'false' or 'auto'.
    """
    source = sources.load(config.data, config.data.train_split, reading,
                          made=config.synthetic)
    self._config, self._strategy, self._jit = config, strategy, jit
    self._model, self._state = network.build(config, strategy, source)
    self._batch = next(iter(batches.train(
        source, seed=config.seed, global_batch=config.global_batch,
        first_step=0, last_step=1)))
    self.image_shape, self._train_size = source.image_shape, source.size

  def __call__(self, augment: schema.Augment) -> Timed:
    """Returns functions that augment as asked; their first calls trace."""
    config = dataclasses.replace(self._config, augment=augment)
    augment_images = compilation.augment(
        config, self._strategy, self._jit, self._train_size)
    compiled = compilation.compiler(
        self._strategy, self._jit, config.model.sync_batch_norm)
    forward_backward = tf.function(
        compiled(bound_steps.forward_backward(
            config, self._model, augment_images)), autograph=False)
    alone = tf.function(compiled(augment_images), autograph=False)
    state, batch = self._state, self._batch
    mean, stddev, loss_scale, params, statistics = tf.nest.map_structure(
        tf.convert_to_tensor, (state.mean, state.stddev, state.loss_scale,
                               state.params, state.statistics))
    target = tf.one_hot(batch['label'], self._model.output_shape[-1])
    return Timed(
        lambda: alone(batch['image'], target, batch['position'],
                      mean)[0].numpy(),
        lambda: forward_backward(params, statistics, mean, stddev, loss_scale,
                                 batch)[2].numpy())
