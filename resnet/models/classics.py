"""Five small classic networks, as TensorFlow 2 tutorials build them.

Each network is a row of `_NETWORKS`: its layers in order, except the last dense
one. Weights start with Keras's defaults (Glorot uniform, zero biases).
Convolutions have biases even where batch norm follows. Inception10 calls its
batch norm with training=False, always: it stays at its initial statistics, and
only its scale and offset learn.

Dropout gets its random numbers from a function that is passed in. They are
keyed by an example's position in the run, so they do not depend on the
hardware.

  net = classics.build(
      'vgg16', image_shape=(32, 32, 3), num_classes=10,
      batch_norm_momentum=0.9, batch_norm_epsilon=1e-5, sync_batch_norm=False,
      draw_uniform=draw_uniform, dtype='float32')
  logits = net({'image': images, 'position': positions}, training=True)
"""
from collections.abc import Callable, Sequence
import dataclasses

import keras
import tensorflow as tf

from configs.process.errors import UserError
from resnet.models.dropout import Dropout
from resnet.models.layers import Layers, network_input


@dataclasses.dataclass(frozen=True)
class _Conv:
  filters: int
  kernel: int
  strides: int = 1
  padding: str = 'same'
  norm: str = 'batch'  # Or 'still', see StillBatchNorm; or 'none'.
  activation: str = 'relu'


@dataclasses.dataclass(frozen=True)
class _Pool:
  """Max-pooling with stride 2."""
  size: int
  padding: str = 'valid'


@dataclasses.dataclass(frozen=True)
class _Drop:
  rate: float


@dataclasses.dataclass(frozen=True)
class _Dense:
  units: int
  activation: str = 'relu'


@dataclasses.dataclass(frozen=True)
class _Cell:
  """An Inception cell: four branches side by side, each of `filters` channels.
  """
  filters: int
  strides: int = 1


@dataclasses.dataclass(frozen=True)
class _Flatten:
  pass


@dataclasses.dataclass(frozen=True)
class _Average:
  """Global average pooling."""


_Simple = _Conv | _Pool | _Dense | _Cell | _Flatten | _Average
_Row = _Simple | _Drop


def _still(filters, kernel, strides=1):
  return _Conv(filters, kernel, strides, norm='still')


def _vgg_group(filters, convs):
  return (_Conv(filters, 3),) * convs + (_Pool(2, 'same'), _Drop(0.2))


_NETWORKS: dict[str, tuple[_Row, ...]] = {
    'baseline': (
        _Conv(6, 5), _Pool(2, 'same'), _Drop(0.2),
        _Flatten(), _Dense(128), _Drop(0.2)),
    'lenet5': (
        _Conv(6, 5, 1, 'valid', 'none', 'sigmoid'), _Pool(2),
        _Conv(16, 5, 1, 'valid', 'none', 'sigmoid'), _Pool(2),
        _Flatten(), _Dense(120, 'sigmoid'), _Dense(84, 'sigmoid')),
    'alexnet8': (
        _Conv(96, 3, padding='valid'), _Pool(3),
        _Conv(256, 3, padding='valid'), _Pool(3),
        _Conv(384, 3, norm='none'), _Conv(384, 3, norm='none'),
        _Conv(256, 3, norm='none'), _Pool(3),
        _Flatten(), _Dense(2048), _Drop(0.5), _Dense(2048), _Drop(0.5)),
    'vgg16': (
        *_vgg_group(64, 2), *_vgg_group(128, 2), *_vgg_group(256, 3),
        *_vgg_group(512, 3), *_vgg_group(512, 3),
        _Flatten(), _Dense(512), _Drop(0.2), _Dense(512), _Drop(0.2)),
    'inception10': (
        _still(16, 3), _Cell(16, 2), _Cell(16), _Cell(32, 2), _Cell(32),
        _Average()),
}
NAMES = tuple(_NETWORKS)


def build(name: str, *, image_shape: tuple[int, ...], num_classes: int,
          batch_norm_momentum: float, batch_norm_epsilon: float,
          sync_batch_norm: bool, draw_uniform: Callable, dtype: str,
          deterministic: bool = False) -> keras.Model:
  """Builds a classic network with fresh weights.

  Args:
    name: one of NAMES.
    image_shape: (h, w, c); any c.
    num_classes: length of the logits.
    batch_norm_momentum: weight of the old value in the moving statistics, which
      inception10 does not have.
    batch_norm_epsilon: added to variances.
    sync_batch_norm: whether batch statistics span all replicas.
    draw_uniform: (position int64 [b], salt, shape) -> float32 [b, *shape] in
      [0, 1), a pure function; the salt tells the model's dropouts apart. Never
      called by lenet5 and inception10, which have no dropout.
    dtype: Keras dtype policy of every layer but the last, which is float32.
    deterministic: whether gradients must be the same bits in every run, also on
      GPUs.

  Returns:
    Keras functional model, {'image': float32 [b, h, w, c], standardized} and,
    if it has dropout, 'position': int64 [b] -> logits float32 [b, num_classes]
    (no softmax).

  Raises:
    UserError: the name is unknown, or the image too small for the network.
  """
  if name not in _NETWORKS:
    raise UserError(
        f'config.model.name={name!r} is unknown: choose one of '
        f'{", ".join(NAMES)}.')
  rows = _NETWORKS[name]
  _check_image(name, image_shape, _smallest_side(rows))
  inputs = {'image': network_input('image', image_shape)}
  if any(isinstance(row, _Drop) for row in rows):
    inputs['position'] = network_input('position', (), 'int64')
  layers = Layers(batch_norm_momentum, batch_norm_epsilon, sync_batch_norm,
                  dtype, deterministic)
  x = inputs['image']
  for index, row in enumerate(rows, 1):
    layer_name = f'layer{index}_{type(row).__name__.strip("_").lower()}'
    if isinstance(row, _Drop):
      x = Dropout(row.rate, draw_uniform, salt=index, dtype=dtype,
                  name=layer_name)(x, inputs['position'])
    else:
      x = _add(layers, x, layer_name, row)
  logits = keras.layers.Dense(num_classes, dtype='float32', name='logits')(x)
  return keras.Model(inputs, logits, name=name)


def _add(layers: Layers, x: keras.KerasTensor, name: str,
         row: _Simple) -> keras.KerasTensor:
  """Adds a row of `_NETWORKS`, other than dropout, to the graph."""
  match row:
    case _Conv():
      return _conv(layers, x, name, row)
    case _Cell():
      return _cell(layers, x, name, row)
    case _Pool(size, padding):
      return layers.max_pool(x, name, size, 2, padding)
    case _Dense(units, activation):
      layer = keras.layers.Dense(
          units, activation, dtype=layers.dtype, name=name)
    case _Flatten():
      layer = keras.layers.Flatten(dtype=layers.dtype, name=name)
    case _Average():
      layer = keras.layers.GlobalAveragePooling2D(
          dtype=layers.dtype, name=name)
  return layer(x)


def _conv(layers, x, name, row):
  x = keras.layers.Conv2D(row.filters, row.kernel, row.strides, row.padding,
                          dtype=layers.dtype, name=name)(x)
  if row.norm == 'still':
    x = StillBatchNorm(
        layers.batch_norm_epsilon, dtype=layers.dtype, name=f'{name}_bn')(x)
  elif row.norm == 'batch':
    x = layers.norm(x, f'{name}_bn')
  return keras.layers.Activation(
      row.activation, dtype=layers.dtype, name=f'{name}_{row.activation}')(x)


def _cell(layers, x, name, row):
  """[b, h, w, c] -> [b, ceil(h / strides), ceil(w / strides), 4 filters]."""
  one = _still(row.filters, 1, row.strides)
  pooled = layers.max_pool(x, f'{name}_pool', 3, 1, 'same')
  branches = [_conv(layers, x, f'{name}_1x1', one)]
  for kernel in (3, 5):
    prefix = f'{name}_{kernel}x{kernel}'
    y = _conv(layers, x, f'{prefix}_conv1', one)
    branches.append(
        _conv(layers, y, f'{prefix}_conv2', _still(row.filters, kernel)))
  branches.append(_conv(layers, pooled, f'{name}_pool_conv', one))
  return keras.layers.Concatenate(dtype=layers.dtype, name=name)(branches)


class StillBatchNorm(keras.layers.Layer):
  """Batch norm that stays at its initial statistics: mean 0, variance 1.

  They are no variables, since they never change.
  """

  def __init__(self, epsilon: float, **kwargs):
    """Makes the layer; `epsilon` is added to the variance."""
    super().__init__(**kwargs)
    self.epsilon = epsilon

  def build(self, input_shape):
    """Makes the scale and the offset, float32 [c]."""
    shape = (input_shape[-1],)
    self.gamma, self.beta = (
        self.add_weight(name=name, shape=shape, dtype='float32',
                        initializer=initializer, autocast=False)
        for name, initializer in (('gamma', 'ones'), ('beta', 'zeros')))

  def call(self, x):
    """Scales and shifts each channel of float [b, h, w, c]."""
    channels = self.gamma.shape
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=self.gamma, offset=self.beta, mean=tf.zeros(channels),
        variance=tf.ones(channels), epsilon=self.epsilon, is_training=False).y


def _smallest_side(rows: Sequence[_Row]) -> int:
  """Returns the smallest side of an image that leaves a pixel at the end."""
  side = 1
  for row in reversed(rows):
    match row:
      case _Pool(size, padding):
        side = 2 * (side - 1) + (size if padding == 'valid' else 1)
      case _Conv(kernel=kernel, padding='valid'):
        side += kernel - 1
  return side


def _check_image(name, image_shape, smallest):
  height, width, _ = image_shape
  if min(height, width) < smallest:
    raise UserError(
        f'Images of {height} x {width} pixels are too small for {name}: give '
        f'images of at least {smallest} x {smallest} pixels, or another '
        'config.model.name.')
