"""What the layers of a trained network become: Keras's own, for inference.

Everything is float32. A layer of Keras's stays what it is. Ours become:

  BatchNorm, StillBatchNorm    the convolution before it, or BatchNormalization
  GroupedConv, MaxPool         Conv2D, MaxPooling2D
  BlurPool                     a reflected border, AveragePooling2D twice
  SubsampleAndPad              MaxPooling2D of single pixels, zeros as channels
  Dropout, StochasticDepth     nothing
"""
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from resnet.models.batch_norm import BatchNorm
from resnet.models.blur_pool import BlurPool
from resnet.models.classics import StillBatchNorm
from resnet.models.dropout import Dropout
from resnet.models.grouped_conv import GroupedConv
from resnet.models.layers import SubsampleAndPad
from resnet.models.max_pool import MaxPool

NORMS = (BatchNorm, StillBatchNorm, keras.layers.BatchNormalization)
_OF_KERAS = {GroupedConv: keras.layers.Conv2D,
             MaxPool: keras.layers.MaxPooling2D}
_DROPS = (Dropout, keras.layers.Dropout)

Values = Mapping[str, np.ndarray]  # By the paths of variables.


class NotPlain(Exception):
  """A layer that Keras does not have; the message names it."""


def apply(layer: keras.Operation, inputs: Sequence[keras.KerasTensor],
          values: Values) -> Any:
  """Adds what stands for a layer to a graph.

  Args:
    layer: of the trained network.
    inputs: of what stands for it.
    values: of all variables of the network.

  Returns:
    Its result, a KerasTensor.

  Raises:
    NotPlain: nothing can.
  """
  x = inputs[0]
  if isinstance(layer, _DROPS):
    return x
  if isinstance(layer, BlurPool):
    return _blur(x, layer.stride, layer.name)
  if isinstance(layer, SubsampleAndPad):
    return _subsample(x, layer.filters, layer.stride, layer.name)
  if isinstance(layer, NORMS):
    return _norm(x, layer, values)
  if not isinstance(layer, keras.layers.Layer):  # A function of keras.ops.
    return layer(x if len(inputs) == 1 else inputs)
  new = _same(layer)
  result = new(x if len(inputs) == 1 else inputs)
  new.set_weights([values[v.path] for v in layer.weights])
  return result


def folds(layer: keras.Operation) -> bool:
  """Returns whether a batch norm after a layer can become a part of it."""
  return (isinstance(layer, keras.layers.Conv2D)
          and layer.activation is keras.activations.linear
          and layer.data_format == 'channels_last')


def apply_folded(conv: Any, norm: keras.layers.Layer, x: keras.KerasTensor,
                 values: Values) -> Any:
  """Adds a convolution that does what another and its batch norm do.

  Args:
    conv: a layer of the trained network that `folds`.
    norm: the batch norm of its result, one of NORMS.
    x: its input.
    values: of all variables of the network.

  Returns:
    Its result, a KerasTensor.
  """
  scale, offset = scale_and_offset(norm, values)
  new = _same(conv, use_bias=True)
  result = new(x)
  kernel = values[conv.kernel.path] * scale
  if conv.use_bias:
    offset = offset + values[conv.bias.path] * scale
  new.set_weights([kernel.astype(np.float32), offset.astype(np.float32)])
  return result


def scale_and_offset(norm: keras.layers.Layer, values: Values
                     ) -> tuple[np.ndarray, np.ndarray]:
  """Returns float64 [c] twice: a batch norm is x * scale + offset."""
  gamma, beta, mean, variance = _statistics(norm, values)
  scale = gamma / np.sqrt(variance + norm.epsilon)  # pyright: ignore[reportAttributeAccessIssue]
  return scale, beta - mean * scale


def _statistics(norm, values):
  """Returns float64 [c]: gamma, beta, mean and variance of a batch norm."""
  def value(name, default):
    variable = getattr(norm, name, None)
    return default if variable is None else (
        values[variable.path].astype(np.float64))

  one = np.ones(norm.input.shape[-1])
  return (value('gamma', one), value('beta', 0 * one),
          value('moving_mean', 0 * one), value('moving_variance', one))


def _norm(x, layer, values):
  new = keras.layers.BatchNormalization(
      epsilon=layer.epsilon, dtype='float32', name=layer.name)
  result = new(x)
  new.set_weights(_statistics(layer, values))
  return result


def _same(layer, **changes):
  """Returns a layer of Keras's with the settings of another, in float32."""
  kind = _OF_KERAS.get(type(layer), type(layer))
  if not kind.__module__.startswith('keras.'):
    raise NotPlain(f'{layer.name} is a {kind.__name__}')
  return kind.from_config({**layer.get_config(), 'dtype': 'float32',
                           **changes})


def _blur(x, stride, name):
  x = keras.ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], 'reflect')
  for part, strides in enumerate((1, stride), 1):
    x = keras.layers.AveragePooling2D(
        2, strides, dtype='float32', name=f'{name}_{part}')(x)
  return x


def _subsample(x, filters, stride, name):
  x = keras.layers.MaxPooling2D(
      1, stride, dtype='float32', name=f'{name}_pixels')(x)
  zeros = filters - x.shape[-1]
  return keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, zeros]])
