"""Residual networks as published tutorials build them, weight for weight.

Four are ResNet-18 with what each tutorial changed: a row of `_RESNETS_18`. The
other two are the residual networks of Keras's CIFAR-10 example, of any depth;
keras_v2 is not the network of He et al. 2016, which resnet.build has.
configs/tutorials/ has a recipe for each.

Initial weights are Keras's: Glorot uniform, He normal in Keras's own example,
and zero biases. Strides start at the pixel that 'same' padding gives them.

  net = tutorials.build(
      'keras_v1', depth=20, image_shape=(32, 32, 3), num_classes=10,
      batch_norm_momentum=0.99, batch_norm_epsilon=1e-3, sync_batch_norm=False,
      dtype='float32')
  logits = net({'image': images}, training=True)
"""
import dataclasses

import keras

from configs.process.errors import UserError
from resnet.models.layers import Layers, network_input, network_of

_LAYERS_PER_N = {'keras_v1': 6, 'keras_v2': 9}


@dataclasses.dataclass(frozen=True)
class _Resnet18:
  """In what the ResNet-18 of a tutorial differs from those of the others."""
  stem: tuple[int, int, str] = (3, 1, 'same')  # Kernel, stride, padding.
  stem_norm: bool = True
  pool: tuple[int, int] | None = None  # Size and stride of max-pooling.
  bias: bool = True  # Of convolutions.
  projects_always: bool = False  # Else only where the stride is 2.
  projection_norm: bool = False
  # Units of a dense layer on the flattened image; 0: global average pooling.
  hidden: int = 0


_RESNETS_18 = {
    'resnet18_cifar100': _Resnet18(pool=(2, 2), projects_always=True),
    'resnet18_mnist': _Resnet18(
        stem=(7, 2, 'same'), stem_norm=False, pool=(3, 2), projection_norm=True,
        hidden=1000),
    'resnet18_cifar10': _Resnet18(bias=False, projection_norm=True),
    'resnet18_flip': _Resnet18(stem=(3, 1, 'valid'), pool=(2, 1)),
}
NAMES = (*_LAYERS_PER_N, *_RESNETS_18)


def build(name: str, *, depth: int, image_shape: tuple[int, ...],
          num_classes: int, batch_norm_momentum: float,
          batch_norm_epsilon: float, sync_batch_norm: bool, dtype: str,
          deterministic: bool = False) -> keras.Model:
  """Builds the network of a tutorial with fresh weights.

  Args:
    name: one of NAMES.
    depth: of keras_v1, 6n + 2, and keras_v2, 9n + 2; the others have 18.
    image_shape: (h, w, c); the tutorials' are (32, 32, 3), or (32, 32, 1).
    num_classes: length of the logits.
    batch_norm_momentum: weight of the old value in the moving statistics.
    batch_norm_epsilon: added to variances.
    sync_batch_norm: whether batch statistics span all replicas.
    dtype: Keras dtype policy of every layer but the last, which is float32.
    deterministic: whether gradients must be the same bits in every run, also on
      GPUs.

  Returns:
    Keras functional model, {'image': float32 [b, h, w, c], standardized} ->
    logits float32 [b, num_classes] (no softmax).

  Raises:
    UserError: there is no network of this depth, or the image is too small.
  """
  layers = Layers(batch_norm_momentum, batch_norm_epsilon, sync_batch_norm,
                  dtype, deterministic)
  image = network_input('image', image_shape)
  if name in _RESNETS_18:
    _check_image(name, image_shape)
    parts = _Parts(layers, 'glorot_uniform', _RESNETS_18[name].bias)
    x = _resnet18(parts, image, _RESNETS_18[name])
  else:
    parts = _Parts(layers, 'he_normal', bias=True)
    blocks = _blocks(name, depth)
    x = (_keras_v1 if name == 'keras_v1' else _keras_v2)(parts, image, blocks)
  logits = keras.layers.Dense(
      num_classes, dtype='float32', name='logits',
      kernel_initializer=parts.initializer)(x)
  return network_of({'image': image}, logits, name, depth)


@dataclasses.dataclass(frozen=True)
class _Parts:
  """Adds the layers of one network to a graph."""
  layers: Layers
  initializer: str  # Of kernels.
  bias: bool  # Of convolutions.

  def conv(self, x, name, filters, kernel, stride=1, padding='same'):
    return keras.layers.Conv2D(
        filters, kernel, stride, padding, use_bias=self.bias,
        kernel_initializer=self.initializer, dtype=self.layers.dtype,
        name=name)(x)

  def norm(self, x, name):
    return self.layers.norm(x, f'{name}_bn')

  def norm_relu(self, x, name):
    return self.layers.norm_relu(x, f'{name}_bn', f'{name}_relu')

  def pre_activated(self, x, name, filters, kernel, stride=1):
    return self.conv(self.norm_relu(x, name), name, filters, kernel, stride)

  def basic(self, x, name, filters, stride):
    """Adds convolution, batch norm, ReLU, convolution, batch norm."""
    y = self.conv(x, f'{name}_conv1', filters, 3, stride)
    y = self.norm_relu(y, f'{name}_conv1')
    return self.norm(self.conv(y, f'{name}_conv2', filters, 3), f'{name}_conv2')

  def add(self, x, y, name):
    return keras.layers.Add(dtype=self.layers.dtype, name=f'{name}_add')([x, y])

  def add_relu(self, x, y, name):
    return self.layers.relu(self.add(x, y, name), f'{name}_out')

  def average(self, x):
    """Adds the mean over all pixels, [b, c]: 8x8 of them at 32x32."""
    return keras.layers.GlobalAveragePooling2D(
        dtype=self.layers.dtype, name='pool')(x)


def _resnet18(parts, x, row):
  """Returns what the last dense layer takes, [b, c]."""
  layers = parts.layers
  x = parts.conv(x, 'stem', 64, *row.stem)
  x = parts.norm_relu(x, 'stem') if row.stem_norm else layers.relu(
      x, 'stem_relu')
  if row.pool:
    x = layers.max_pool(x, 'stem_pool', *row.pool, 'same')
  for stage, index, name in _places(4, 2):
    filters = 64 * 2 ** (stage - 1)
    stride = 2 if stage > 1 and index == 1 else 1
    y = parts.basic(x, name, filters, stride)
    if stride > 1 or row.projects_always:
      x = parts.conv(x, f'{name}_shortcut', filters, 1, stride)
      if row.projection_norm:
        x = parts.norm(x, f'{name}_shortcut')
    x = parts.add_relu(x, y, name)
  if not row.hidden:
    return parts.average(x)
  x = keras.layers.Flatten(dtype=layers.dtype, name='flatten')(x)
  return keras.layers.Dense(
      row.hidden, 'relu', dtype=layers.dtype, name='hidden')(x)


def _keras_v1(parts, x, blocks):
  """Returns what the last dense layer takes, [b, 64]."""
  x = parts.norm_relu(parts.conv(x, 'stem', 16, 3), 'stem')
  for stage, index, name in _places(3, blocks):
    filters = 16 * 2 ** (stage - 1)
    stride = 2 if stage > 1 and index == 1 else 1
    y = parts.basic(x, name, filters, stride)
    if stride > 1:
      x = parts.conv(x, f'{name}_shortcut', filters, 1, stride)
    x = parts.add_relu(x, y, name)
  return parts.average(x)


def _keras_v2(parts, x, blocks):
  """Returns what the last dense layer takes, [b, 256]."""
  x = parts.norm_relu(parts.conv(x, 'stem', 16, 3), 'stem')
  for stage, index, name in _places(3, blocks):
    outer = 64 * 2 ** (stage - 1)
    inner = 16 if stage == 1 else outer // 2
    stride = 2 if stage > 1 and index == 1 else 1
    # The stem has activated the input of the very first convolution.
    first = parts.conv if (stage, index) == (1, 1) else parts.pre_activated
    y = first(x, f'{name}_conv1', inner, 1, stride)
    y = parts.pre_activated(y, f'{name}_conv2', inner, 3)
    y = parts.pre_activated(y, f'{name}_conv3', outer, 1)
    if index == 1:
      x = parts.conv(x, f'{name}_shortcut', outer, 1, stride)
    x = parts.add(x, y, name)
  return parts.average(parts.norm_relu(x, 'final'))


def _places(stages, blocks):
  """Yields (stage, index, name) of each block; both count from 1."""
  for stage in range(1, stages + 1):
    for index in range(1, blocks + 1):
      yield stage, index, f'stage{stage}_block{index}'


def _blocks(name, depth):
  """Returns how many blocks each stage of a Keras network has."""
  per_n = _LAYERS_PER_N[name]
  n, rest = divmod(depth - 2, per_n)
  if n < 1 or rest:
    below = max(n, 0)
    nearest = ' or '.join(
        str(per_n * k + 2) for k in (below, below + 1) if k > 0)
    raise UserError(
        f'config.model.depth={depth} does not exist in {name}, whose depths '
        f'are {per_n}n + 2: give {nearest}.')
  return n


def _check_image(name, image_shape):
  """Raises UserError if 'valid' padding leaves nothing of an image."""
  kernel, _, padding = _RESNETS_18[name].stem
  if padding == 'valid' and min(image_shape[:2]) < kernel:
    raise UserError(
        f'Images of {image_shape[0]} x {image_shape[1]} pixels are too small '
        f'for {name}: give images of at least {kernel} x {kernel} pixels.')
