"""Five small classic networks, as TensorFlow 2 tutorials build them.

Each network is a row of `_NETWORKS`: a tuple of the layers below, in order,
before the last dense layer. Weights start as Keras's defaults (Glorot uniform,
zero biases); convolutions have biases, with batch norm too.

Dropout asks a collaborator for its random numbers, keyed by an example's
position in the run, so that they do not depend on the hardware.

  net = classics.build(
      'vgg16', image_shape=(32, 32, 3), num_classes=10,
      batch_norm_momentum=0.9, batch_norm_epsilon=1e-5, sync_batch_norm=False,
      draw_uniform=draw_uniform, dtype='float32')
  logits = net({'image': images, 'position': positions}, training=True)
"""
import dataclasses

import keras

from configs.process.errors import UserError


@dataclasses.dataclass(frozen=True)
class _Conv:
  filters: int
  kernel: int
  strides: int = 1
  padding: str = 'same'
  batch_norm: bool = True
  activation: str = 'relu'


@dataclasses.dataclass(frozen=True)
class _Pool:
  """Max-pooling of whole windows, every 2 pixels."""
  size: int


@dataclasses.dataclass(frozen=True)
class _Drop:
  rate: float


@dataclasses.dataclass(frozen=True)
class _Dense:
  units: int
  activation: str = 'relu'


@dataclasses.dataclass(frozen=True)
class _Cell:
  """Inception cell: four branches of so many channels each, side by side."""
  filters: int
  strides: int


@dataclasses.dataclass(frozen=True)
class _Flatten:
  pass


@dataclasses.dataclass(frozen=True)
class _Average:
  """Global average pooling."""


def _vgg_group(filters, convs):
  return (_Conv(filters, 3),) * convs + (_Pool(2), _Drop(0.2))


_NETWORKS = {
    'baseline': (
        _Conv(6, 5), _Pool(2), _Drop(0.2), _Flatten(), _Dense(128), _Drop(0.2)),
    'lenet5': (
        _Conv(6, 5, 1, 'valid', False, 'sigmoid'), _Pool(2),
        _Conv(16, 5, 1, 'valid', False, 'sigmoid'), _Pool(2),
        _Flatten(), _Dense(120, 'sigmoid'), _Dense(84, 'sigmoid')),
    'alexnet8': (
        _Conv(96, 3, padding='valid'), _Pool(3),
        _Conv(256, 3, padding='valid'), _Pool(3),
        _Conv(384, 3, batch_norm=False), _Conv(384, 3, batch_norm=False),
        _Conv(256, 3, batch_norm=False), _Pool(3),
        _Flatten(), _Dense(2048), _Drop(0.5), _Dense(2048), _Drop(0.5)),
    'vgg16': (
        *_vgg_group(64, 2), *_vgg_group(128, 2), *_vgg_group(256, 3),
        *_vgg_group(512, 3), *_vgg_group(512, 3),
        _Flatten(), _Dense(512), _Drop(0.2), _Dense(512), _Drop(0.2)),
    'inception10': (
        _Conv(16, 3), _Cell(16, 2), _Cell(16, 1), _Cell(32, 2), _Cell(32, 1),
        _Average()),
}
NAMES = tuple(_NETWORKS)


def build(name, *, image_shape, num_classes, batch_norm_momentum,
          batch_norm_epsilon, sync_batch_norm, draw_uniform, dtype):
  """Builds a classic network with fresh weights.

  Args:
    name: one of NAMES.
    image_shape: (h, w, c); any c.
    num_classes: length of the logits.
    batch_norm_momentum: weight of the old value in the moving statistics.
    batch_norm_epsilon: added to variances.
    sync_batch_norm: whether batch statistics span all replicas.
    draw_uniform: (position int64 [b], salt, shape) -> float32 [b, *shape] in
      [0, 1), a pure function; the salt tells the model's dropouts apart. Not
      called by lenet5 and inception10, which have none.
    dtype: Keras dtype policy of every layer but the last, which is float32.

  Returns:
    Keras functional model, {'image': float32 [b, h, w, c], standardised} and,
    if it has dropout, 'position': int64 [b] -> logits float32 [b, num_classes]
    (no softmax).

  Raises:
    UserError: unknown name, or an image too small for the network.
  """
  if name not in _NETWORKS:
    raise UserError(
        f'config.model.name={name!r} is unknown: choose one of '
        f'{", ".join(NAMES)}.')
  rows = _NETWORKS[name]
  _check_image(name, image_shape, _smallest_side(rows))

  inputs = {'image': keras.Input(image_shape, dtype='float32', name='image')}
  if any(isinstance(row, _Drop) for row in rows):
    inputs['position'] = keras.Input((), dtype='int64', name='position')
  layers = _Layers(batch_norm_momentum, batch_norm_epsilon, sync_batch_norm,
                   dtype)
  x = inputs['image']
  for index, row in enumerate(rows, 1):
    layer_name = f'layer{index}_{type(row).__name__.strip("_").lower()}'
    match row:
      case _Conv():
        x = layers.conv(x, layer_name, row)
      case _Cell():
        x = layers.cell(x, layer_name, row)
      case _Drop():
        x = Dropout(row.rate, draw_uniform, salt=index, dtype=dtype,
                    name=layer_name)(x, inputs['position'])
      case _:
        x = layers.simple(x, layer_name, row)
  logits = keras.layers.Dense(num_classes, dtype='float32', name='logits')(x)
  return keras.Model(inputs, logits, name=name)


class Dropout(keras.layers.Layer):
  """Dropout whose mask is a function of each example's position in the run.

  Called as layer(x float [b, ...], position int64 [b], training=...). While
  training, an element is kept, divided by 1 - rate, where draw(position, salt,
  x.shape[1:]) >= rate, and 0 elsewhere. Otherwise x passes as it is.
  """

  def __init__(self, rate, draw, salt, **kwargs):
    super().__init__(**kwargs)
    self.rate = rate
    self.draw = draw
    self.salt = salt

  def call(self, x, position, training=None):
    if not training:
      return x
    keep = self.draw(position, self.salt, tuple(x.shape[1:])) >= self.rate
    return keras.ops.where(keep, x / (1 - self.rate), keras.ops.zeros_like(x))

  def compute_output_shape(self, x_shape, position_shape):
    del position_shape
    return x_shape


@dataclasses.dataclass(frozen=True)
class _Layers:
  """Adds named layers to a graph; every method takes and returns a tensor."""
  momentum: float
  epsilon: float
  sync: bool
  dtype: str

  def conv(self, x, name, row):
    x = keras.layers.Conv2D(row.filters, row.kernel, row.strides, row.padding,
                            dtype=self.dtype, name=name)(x)
    if row.batch_norm:
      x = keras.layers.BatchNormalization(
          momentum=self.momentum, epsilon=self.epsilon, synchronized=self.sync,
          dtype=self.dtype, name=f'{name}_bn')(x)
    return keras.layers.Activation(
        row.activation, dtype=self.dtype, name=f'{name}_{row.activation}')(x)

  def cell(self, x, name, row):
    """[b, h, w, c] -> [b, ceil(h / strides), ceil(w / strides), 4 filters]."""
    one = _Conv(row.filters, 1, row.strides)
    pooled = keras.layers.MaxPooling2D(
        3, 1, 'same', dtype=self.dtype, name=f'{name}_pool')(x)
    branches = [self.conv(x, f'{name}_1x1', one)]
    for kernel in (3, 5):
      prefix = f'{name}_{kernel}x{kernel}'
      y = self.conv(x, f'{prefix}_conv1', one)
      branches.append(
          self.conv(y, f'{prefix}_conv2', _Conv(row.filters, kernel)))
    branches.append(self.conv(pooled, f'{name}_pool_conv', one))
    return keras.layers.Concatenate(dtype=self.dtype, name=name)(branches)

  def simple(self, x, name, row):
    kwargs = {'dtype': self.dtype, 'name': name}
    match row:
      case _Pool(size):
        layer = keras.layers.MaxPooling2D(size, 2, **kwargs)
      case _Dense(units, activation):
        layer = keras.layers.Dense(units, activation, **kwargs)
      case _Flatten():
        layer = keras.layers.Flatten(**kwargs)
      case _Average():
        layer = keras.layers.GlobalAveragePooling2D(**kwargs)
    return layer(x)


def _smallest_side(rows):
  """Returns the smallest side of an image that leaves a pixel at the end."""
  side = 1
  for row in reversed(rows):
    match row:
      case _Pool(size):
        side = 2 * (side - 1) + size
      case _Conv(kernel=kernel, padding='valid'):
        side += kernel - 1
  return side


def _check_image(name, image_shape, smallest):
  height, width = image_shape[:2]
  if min(height, width) < smallest:
    raise UserError(
        f'Images of {height} x {width} pixels are too small for {name}: give '
        f'images of at least {smallest} x {smallest} pixels, or another '
        'config.model.name.')
