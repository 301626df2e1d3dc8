"""Residual networks for ImageNet and for small images.

v1 is He et al. 2015 (arXiv:1512.03385); v1.5 moves the stride of a bottleneck
from its first 1x1 to its 3x3 convolution (Goyal et al. 2017, arXiv:1706.02677);
v2 is He et al. 2016 (arXiv:1603.05027), with the stride on the 3x3 as in the
released ImageNet models. Layers are named by their place, so variable paths are
the same in every process: 'stage2_block1_shortcut_conv/kernel'.

  net = model.build(
      image_shape=(224, 224, 3), num_classes=1000, family='imagenet', depth=50,
      version='v1.5', block='bottleneck', stem='imagenet', width=64,
      shortcut='B', zero_init_last_gamma=True, sync_batch_norm=False,
      batch_norm_momentum=0.9, batch_norm_epsilon=1e-5, dtype='float32')
  logits = net({'image': images}, training=False)
"""
import dataclasses
import sys

import keras

from configs.process.errors import UserError

# Depth -> residual blocks of each stage, and the kind of block.
IMAGENET_STAGES = {
    18: ((2, 2, 2, 2), 'basic'),
    34: ((3, 4, 6, 3), 'basic'),
    50: ((3, 4, 6, 3), 'bottleneck'),
    101: ((3, 4, 23, 3), 'bottleneck'),
    152: ((3, 8, 36, 3), 'bottleneck'),
    200: ((3, 24, 36, 3), 'bottleneck'),
}
# A CIFAR network of depth k * n + 2 has three stages of n blocks.
CIFAR_LAYERS_PER_N = {'basic': 6, 'bottleneck': 9}
FAMILIES = ('imagenet', 'cifar')
VERSIONS = ('v1', 'v1.5', 'v2')
STEM_STRIDES = {'imagenet': 4, 'cifar': 1}
SHORTCUTS = ('A', 'B', 'none')


def build(*, image_shape, num_classes, family, depth, version, block, stem,
          width, shortcut, zero_init_last_gamma, sync_batch_norm,
          batch_norm_momentum, batch_norm_epsilon, dtype, any_size=False):
  """Builds a residual network with fresh weights.

  Args:
    image_shape: (h, w, c); any c, odd sizes too.
    num_classes: length of the logits.
    family: 'imagenet' (four stages: width, 2, 4 and 8 times it; the depth names
      the block) or 'cifar' (three stages: width, 2 and 4 times it).
    depth: layers with weights on the longest path, as in the papers.
    version: 'v1', 'v1.5' (the same as v1 for basic blocks) or 'v2'.
    block: 'basic' (depth 6n + 2) or 'bottleneck' (depth 9n + 2); read for the
      'cifar' family alone.
    stem: 'imagenet' (7x7/2 convolution, 3x3/2 max-pooling) or 'cifar' (3x3/1).
    width: channels of the stem and of the first stage (before a bottleneck's
      expansion by 4); 64 and 16 in the papers.
    shortcut: where a block changes its shape, 'A' subsamples and adds channels
      of zeros, 'B' projects by a 1x1 convolution; 'none' is a plain network.
    zero_init_last_gamma: whether every block starts as its shortcut alone. v2
      has no batch norm after a block's last convolution, and a plain network
      would be cut through: both refuse it.
    sync_batch_norm: whether batch statistics span all replicas.
    batch_norm_momentum: weight of the old value in the moving statistics.
    batch_norm_epsilon: added to variances.
    dtype: Keras dtype policy of every layer but the last, which is float32.
    any_size: whether h and w may be others too, from image_shape's upwards.

  Returns:
    Keras functional model, {'image': float32 [b, h, w, c], standardised} ->
    logits float32 [b, num_classes] (no softmax).

  Raises:
    UserError: a choice, a depth or a combination that does not exist, or an
      image smaller than the network's total stride.
  """
  _check_choice('family', family, FAMILIES)
  _check_choice('version', version, VERSIONS)
  _check_choice('stem', stem, STEM_STRIDES)
  _check_choice('shortcut', shortcut, SHORTCUTS)
  if zero_init_last_gamma:
    _check_zero_gamma(version, shortcut)
  stage_blocks, block = _stages(family, depth, block)
  _check_image(image_shape, stem, len(stage_blocks))

  layers = _Layers(
      version=version, shortcut=shortcut, zero_last_gamma=zero_init_last_gamma,
      sync=sync_batch_norm, momentum=batch_norm_momentum,
      epsilon=batch_norm_epsilon, dtype=dtype)
  if any_size:
    image_shape = (None, None, image_shape[-1])
  image = keras.Input(image_shape, dtype='float32', name='image')
  x = layers.stem(image, stem, width)
  for stage, blocks in enumerate(stage_blocks, 1):
    convs = _convolutions(block, version, width * 2 ** (stage - 1))
    for index in range(1, blocks + 1):
      x = layers.block(x, stage, index, convs)
  x = layers.head(x)
  logits = keras.layers.Dense(
      num_classes, dtype='float32', name='logits',
      kernel_initializer=keras.initializers.RandomNormal(stddev=0.01))(x)
  return _model(image, logits, depth)


@dataclasses.dataclass(frozen=True)
class _Conv:
  """One convolution of a residual block; `strided` takes the block's stride."""
  filters: int
  kernel: int
  strided: bool


def _convolutions(block, version, width):
  """Returns the convolutions of every block of a stage of this width."""
  if block == 'basic':
    return (_Conv(width, 3, True), _Conv(width, 3, False))
  on_first = version == 'v1'
  return (_Conv(width, 1, on_first), _Conv(width, 3, not on_first),
          _Conv(4 * width, 1, False))


@dataclasses.dataclass(frozen=True)
class _Layers:
  """Adds named layers to a graph; every method takes and returns a tensor."""
  version: str
  shortcut: str
  zero_last_gamma: bool
  sync: bool
  momentum: float
  epsilon: float
  dtype: str

  def stem(self, x, kind, width):
    """Convolution, batch norm, ReLU, for ImageNet also max-pooling.

    v2 activates here too: its first unit takes the activated input on both
    paths and has no batch norm of its own before the first convolution.
    """
    imagenet = kind == 'imagenet'
    x = self.conv(x, 'stem_conv', width, 7 if imagenet else 3,
                  2 if imagenet else 1)
    x = self.norm_relu(x, 'stem_bn', 'stem_relu')
    if imagenet:
      x = self.pad(x, 'stem_pool_pad', 1)  # Zeros lose to what a ReLU let pass.
      x = keras.layers.MaxPooling2D(3, 2, dtype=self.dtype, name='stem_pool')(x)
    return x

  def block(self, x, stage, index, convs):
    """Residual block number `index` of a stage, both counted from 1.

    Returns:
      [b, ceil(h / stride), ceil(w / stride), filters of the last convolution].
    """
    name = f'stage{stage}_block{index}'
    stride = 2 if stage > 1 and index == 1 else 1
    if self.version != 'v2':
      y = self.post_activated(x, name, convs, stride)
      y = self.add_shortcut(x, y, f'{name}_add', f'{name}_shortcut', stride)
      return self.relu(y, f'{name}_out')
    y = x
    if stage > 1 or index > 1:  # The stem has activated the first one's input.
      y = self.norm_relu(x, f'{name}_bn1', f'{name}_relu1')
    if index == 1:
      x = y
    y = self.pre_activated(y, name, convs, stride)
    return self.add_shortcut(x, y, f'{name}_out', f'{name}_shortcut', stride)

  def post_activated(self, y, name, convs, stride):
    """v1: (convolution, batch norm, ReLU) for each; no ReLU after the last."""
    for i, conv in enumerate(convs, 1):
      last = i == len(convs)
      y = self.conv(y, f'{name}_conv{i}', conv.filters, conv.kernel,
                    stride if conv.strided else 1)
      y = self.norm(y, f'{name}_bn{i}', zero=last and self.zero_last_gamma)
      if not last:
        y = self.relu(y, f'{name}_relu{i}')
    return y

  def pre_activated(self, y, name, convs, stride):
    """v2: (batch norm, ReLU, convolution) for each; y is already activated."""
    for i, conv in enumerate(convs, 1):
      if i > 1:
        y = self.norm_relu(y, f'{name}_bn{i}', f'{name}_relu{i}')
      y = self.conv(y, f'{name}_conv{i}', conv.filters, conv.kernel,
                    stride if conv.strided else 1)
    return y

  def add_shortcut(self, x, y, name, shortcut_name, stride):
    """Returns y [b, h / stride, w / stride, filters] plus x in y's shape."""
    if self.shortcut == 'none':
      return y
    filters = y.shape[-1]
    if stride > 1 or x.shape[-1] != filters:
      if self.shortcut == 'A':
        x = SubsampleAndPad(
            filters, stride, dtype=self.dtype, name=shortcut_name)(x)
      else:
        x = self.conv(x, f'{shortcut_name}_conv', filters, 1, stride)
        if self.version != 'v2':
          x = self.norm(x, f'{shortcut_name}_bn')
    return keras.layers.Add(dtype=self.dtype, name=name)([x, y])

  def head(self, x):
    """Means over all pixels, [b, c]; in v2 of the activated last block."""
    if self.version == 'v2':
      x = self.norm_relu(x, 'final_bn', 'final_relu')
    return keras.layers.GlobalAveragePooling2D(
        dtype=self.dtype, name='pool')(x)

  def conv(self, x, name, filters, kernel, stride):
    # Strided windows are padded by kernel // 2 on every side, as in the papers'
    # released models: centred on pixels 0, 2, 4, ... like the shortcut's, which
    # 'same' shifts by one where the size is even.
    strided = stride > 1
    if strided and kernel > 1:
      x = self.pad(x, f'{name}_pad', kernel // 2)
    return keras.layers.Conv2D(
        filters, kernel, stride, padding='valid' if strided else 'same',
        use_bias=False, dtype=self.dtype, name=name,
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, 'fan_out', 'untruncated_normal'))(x)

  def norm(self, x, name, zero=False):
    return keras.layers.BatchNormalization(
        momentum=self.momentum, epsilon=self.epsilon, synchronized=self.sync,
        gamma_initializer='zeros' if zero else 'ones',
        dtype=self.dtype, name=name)(x)

  def relu(self, x, name):
    return keras.layers.ReLU(dtype=self.dtype, name=name)(x)

  def norm_relu(self, x, norm_name, relu_name):
    return self.relu(self.norm(x, norm_name), relu_name)

  def pad(self, x, name, pixels):
    return keras.layers.ZeroPadding2D(pixels, dtype=self.dtype, name=name)(x)


class SubsampleAndPad(keras.layers.Layer):
  """Shortcut A: every stride-th pixel from the first, channels of zeros added.

  [b, h, w, c] -> [b, ceil(h / stride), ceil(w / stride), filters].
  """

  def __init__(self, filters, stride, **kwargs):
    super().__init__(**kwargs)
    self.filters = filters
    self.stride = stride

  def call(self, x):
    x = x[:, ::self.stride, ::self.stride, :]
    zeros = self.filters - x.shape[-1]
    return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, zeros)))


def _model(image, logits, depth):
  """Closes the graph. Keras walks it by recursion, one call a layer."""
  limit = sys.getrecursionlimit()
  sys.setrecursionlimit(limit + 5 * depth)  # A convolution is 5 layers at most.
  try:
    return keras.Model({'image': image}, logits, name='resnet')
  finally:
    sys.setrecursionlimit(limit)


def _stages(family, depth, block):
  """Returns the number of blocks of each stage, and the kind of block."""
  if family == 'imagenet':
    if depth not in IMAGENET_STAGES:
      nearest = min(IMAGENET_STAGES, key=lambda known: abs(known - depth))
      raise UserError(
          f'config.model.depth={depth} does not exist in family imagenet, '
          f'whose depths are {_listed(IMAGENET_STAGES)}: give {nearest}, the '
          'nearest, or config.model.family=cifar.')
    return IMAGENET_STAGES[depth]
  _check_choice('block', block, CIFAR_LAYERS_PER_N)
  per_n = CIFAR_LAYERS_PER_N[block]
  n, rest = divmod(depth - 2, per_n)
  if n < 1 or rest:
    below, above = (per_n * k + 2 for k in (n, n + 1))
    nearest = f'{below} or {above}' if n > 0 else f'{per_n + 2} or more'
    raise UserError(
        f'config.model.depth={depth} does not exist in family cifar with block '
        f'{block}, whose depths are {per_n}n + 2: give {nearest}.')
  return (n, n, n), block


def _check_choice(field, value, allowed):
  if value not in allowed:
    raise UserError(
        f'config.model.{field}={value!r} is unknown: choose one of '
        f'{_listed(allowed)}.')


def _check_zero_gamma(version, shortcut):
  if version == 'v2':
    raise UserError(
        'config.model.zero_init_last_gamma=True does not fit version v2, which '
        "has no batch norm after a block's last convolution: give False, or "
        'config.model.version=v1.5.')
  if shortcut == 'none':
    raise UserError(
        'config.model.zero_init_last_gamma=True does not fit shortcut none, '
        'where nothing would pass a block: give False, or '
        'config.model.shortcut=B.')


def _check_image(image_shape, stem, stages):
  stride = STEM_STRIDES[stem] * 2 ** (stages - 1)
  height, width = image_shape[:2]
  if min(height, width) < stride:
    smaller_stem = ', or config.model.stem=cifar' if stem == 'imagenet' else ''
    raise UserError(
        f'Images of {height} x {width} pixels are too small for this network, '
        f'whose total stride is {stride}: give images of at least '
        f'{stride} x {stride} pixels{smaller_stem}.')


def _listed(values):
  return ', '.join(map(str, values))
