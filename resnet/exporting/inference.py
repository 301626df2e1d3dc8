"""What an export computes, from the pixels of images to logits.

  inference = build(restored, averaged=False)
  logits = inference.logits(pixels)
"""
from collections.abc import Callable
import functools
import hashlib
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from pipelines.single_pictures import Preprocessing
from resnet import bound_steps
from resnet import state as state_lib
from resnet.exporting import plain_network, plain_pixels
from resnet.exporting.plain_layers import NotPlain, Values
from resnet.inference.restored import Restored

Outputs = dict[str, tf.Tensor]


class Inference(NamedTuple):
  """A trained network with its preprocessing, ready to be written."""
  logits: Callable[[tf.Tensor], tf.Tensor]  # Of float32 [n, h, w, c], 0..255.
  network: keras.Model | None  # The same as Keras's own layers; None: it has
  not_plain: str  # others, and this says which.
  variables: list  # What has to be saved with `logits`.
  preprocessing: Preprocessing
  classes: tuple[str, ...]
  sigmoid: bool  # Whether classes do not exclude each other.

  def outputs(self, logits: tf.Tensor) -> Outputs:
    """Returns all that a network says of images."""
    activation = keras.ops.sigmoid if self.sigmoid else keras.ops.softmax
    return {'logits': logits, 'probabilities': activation(logits)}  # pyright: ignore[reportReturnType]

  def plain_model(self) -> keras.Model:
    """Returns pictures uint8 [n, any, any, c] -> outputs, of Keras's layers.

    Raises:
      NotPlain: the network has others.
    """
    if self.network is None:
      raise NotPlain(self.not_plain)
    pictures = self._pictures()
    pixels = plain_pixels.add(pictures, self.preprocessing)
    return keras.Model(pictures, self.outputs(self.network(pixels)))  # pyright: ignore[reportArgumentType]

  def function(self) -> Callable[[tf.Tensor], Outputs]:
    """Returns what `plain_model` does, for any network."""
    pictures = self._pictures()
    resize = keras.Model(
        pictures, plain_pixels.add(pictures, self.preprocessing))
    return lambda images: self.outputs(self.logits(resize(images)))

  def _pictures(self) -> keras.KerasTensor:
    channels = self.preprocessing.shape[-1]
    return keras.Input((None, None, channels), dtype='uint8', name='images')  # pyright: ignore[reportReturnType]


def build(restored: Restored, averaged: bool) -> Inference:
  """Returns a run's network with the weights of its checkpoint.

  Args:
    restored: the run.
    averaged: whether to take the averages of its weights.
  """
  config, model = restored.config, restored.model
  values = values_of(restored, averaged)
  shape = restored.image_shape
  mean, stddev = (np.array(v) for v in (restored.state.mean,
                                        restored.state.stddev))
  shared = {
      'preprocessing': Preprocessing.of(config.data, shape),
      'classes': restored.classes, 'sigmoid': config.loss == 'sigmoid'}
  try:
    network = _with_pixels(plain_network.build(model, values, shape), shape,
                           mean, stddev, config.data.eval_flip)
  except NotPlain as error:
    logits, variables = _of_foreign(restored, values, mean, stddev)
    return Inference(logits, None, str(error), variables, **shared)
  return Inference(network, network, '', [v.value for v in network.variables],
                   **shared)


def values_of(restored: Restored, averaged: bool) -> dict[str, np.ndarray]:
  """Returns the variables of a run's network, by path; or their averages."""
  model, state = restored.model, restored.state
  if averaged:
    state = state_lib.averaged(state)
  variables = [*model.trainable_variables, *model.non_trainable_variables]
  return {variable.path: np.array(value) for variable, value in zip(
      variables, [*state.params, *state.statistics], strict=True)}


def digest(values: Values) -> str:
  """Returns hex digits that identify the values of all variables."""
  found = hashlib.sha256()
  for path, value in sorted(values.items()):
    found.update(f'{path} {value.dtype} {value.shape}\0'.encode())
    found.update(np.ascontiguousarray(value).tobytes())
  return found.hexdigest()


def _with_pixels(network, shape, mean, stddev, flip):
  """Returns a network of pixels in 0..255; averages mirror images as well."""
  pixels = keras.Input(shape, dtype='float32', name='pixels')
  axes: Any = -1 if mean.ndim == 1 else (1, 2, 3)
  standardize = keras.layers.Normalization(
      axes, dtype='float32', name='standardize')
  standardize.build((None, *shape))
  standardize.adapt_mean.assign(mean)
  standardize.adapt_variance.assign(
      np.broadcast_to(np.square(stddev), mean.shape))
  standardize.finalize_state()

  def of(images):
    return network(standardize(images))

  logits = of(pixels)
  if flip:
    # The mean of pixels is that of an upright image, in training as well.
    logits = (logits + of(keras.ops.flip(pixels, 2))) / 2
  return keras.Model(pixels, logits, name='network')


def _of_foreign(restored, values, mean, stddev):
  """Returns (logits, variables) of a network that is left as it is."""
  model = restored.model
  params, statistics = (
      [tf.Variable(values[v.path], trainable=False) for v in variables]
      for variables in (model.trainable_variables,
                        model.non_trainable_variables))
  logits = functools.partial(
      bound_steps.logits(restored.config, model),
      mean=tf.constant(mean), stddev=tf.constant(stddev))

  def of(pixels):
    batch = {'image': pixels,
             'position': tf.zeros(tf.shape(pixels)[:1], tf.int64)}
    return logits([v.read_value() for v in params],
                  [v.read_value() for v in statistics], batch=batch)

  return of, [*params, *statistics]
