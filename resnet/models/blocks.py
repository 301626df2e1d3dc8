"""The parts of a residual network: its stem, its blocks and its head."""
from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

import keras

from resnet.models.additions import Additions
from resnet.models.dropout import Dropout
from resnet.models.layers import Layers, SubsampleAndPad
from resnet.models.squeeze_excite import squeeze_excite
from resnet.models.stochastic_depth import StochasticDepth


class Conv(NamedTuple):
  """One convolution of a residual block."""
  filters: int
  kernel: int
  strided: bool  # Whether the stride of the block is on this convolution.
  groups: int = 1


def convolutions(block: str, version: str, width: int, inner_width: int = 1,
                 groups: int = 1) -> tuple[Conv, ...]:
  """Returns the convolutions of each block in a stage of this width.

  Args:
    block: 'basic' or 'bottleneck'.
    version: see resnet.build.
    width: channels of a basic block, and a quarter of those that a bottleneck
      returns.
    inner_width: see resnet.build; not for basic blocks.
    groups: likewise.
  """
  if block == 'basic':
    return (Conv(width, 3, True), Conv(width, 3, False))
  on_first, inner = version == 'v1', inner_width * width
  return (Conv(inner, 1, on_first), Conv(inner, 3, not on_first, groups),
          Conv(4 * width, 1, False))


@dataclasses.dataclass(frozen=True)
class Blocks:
  """Adds the parts of one network to a graph; see resnet.build."""
  layers: Layers
  version: str
  shortcut: str
  zero_init_last_gamma: bool
  added: Additions
  count: int  # Of all blocks.
  position: keras.KerasTensor | None  # int64 [b], if random numbers are drawn.

  def stem(self, x: keras.KerasTensor, kind: str,
           width: int) -> keras.KerasTensor:
    """Adds convolutions, batch norm and ReLU; max-pooling but for 'cifar'.

    v2 has a ReLU here too: both paths of its first block take the activated
    input, and that block has no batch norm before its first convolution.
    """
    layers = self.layers
    if kind == 'deep':
      half = (width + 1) // 2
      for i, (filters, stride) in enumerate(((half, 2), (half, 1), (width, 1)),
                                            1):
        x = layers.conv(x, f'stem_conv{i}', filters, 3, stride)
        x = layers.norm_relu(x, f'stem_bn{i}', f'stem_relu{i}')
    else:
      size, stride = (7, 2) if kind == 'imagenet' else (3, 1)
      x = layers.conv(x, 'stem_conv', width, size, stride)
      x = layers.norm_relu(x, 'stem_bn', 'stem_relu')
    if kind == 'cifar':
      return x
    # Zeros never change a maximum over the outputs of a ReLU.
    x = layers.pad(x, 'stem_pool_pad', 1)
    if not self.added.blur_pool:
      return layers.max_pool(x, 'stem_pool', 3, 2)
    x = layers.max_pool(x, 'stem_pool', 3, 1)
    return layers.blur_pool(x, 'stem_blur', 2)

  def block(self, x: keras.KerasTensor, stage: int, index: int,
            number: int, convs: Sequence[Conv]) -> keras.KerasTensor:
    """Adds a residual block.

    Args:
      x: [b, h, w, c].
      stage: its number; this and the next two count from 1.
      index: number of the block in its stage.
      number: of the block in the network.
      convs: its convolutions.

    Returns:
      [b, ceil(h / stride), ceil(w / stride), filters of the last convolution];
      the stride is 2 in the first block of each stage but the first, else 1.
    """
    name = f'stage{stage}_block{index}'
    stride = 2 if stage > 1 and index == 1 else 1
    if self.version != 'v2':
      y = self._post_activated(x, name, convs, stride)
      y = self._skip(self._squeeze_excite(y, name), name, number)
      y = self._add_shortcut(x, y, f'{name}_add', f'{name}_shortcut', stride)
      return self.layers.relu(y, f'{name}_out')
    y = x
    if stage > 1 or index > 1:  # The stem has activated the first one's input.
      y = self.layers.norm_relu(x, f'{name}_bn1', f'{name}_relu1')
    if index == 1:
      x = y
    y = self._pre_activated(y, name, convs, stride)
    y = self._skip(self._squeeze_excite(y, name), name, number)
    return self._add_shortcut(x, y, f'{name}_out', f'{name}_shortcut', stride)

  def head(self, x: keras.KerasTensor) -> keras.KerasTensor:
    """Adds the mean over all pixels, [b, c], and dropout, if there is any.

    v2 activates its input first.
    """
    layers, added = self.layers, self.added
    if self.version == 'v2':
      x = layers.norm_relu(x, 'final_bn', 'final_relu')
    x = keras.layers.GlobalAveragePooling2D(dtype=layers.dtype, name='pool')(x)
    if not added.dropout:
      return x
    return Dropout(added.dropout, added.draw_dropout, salt=0,
                   dtype=layers.dtype, name='dropout')(x, self.position)

  def _post_activated(self, y, name, convs, stride):
    """v1: (convolution, batch norm, ReLU) each; no ReLU after the last."""
    for i, conv in enumerate(convs, 1):
      last = i == len(convs)
      y = self._conv(y, f'{name}_conv{i}', conv, stride)
      y = self.layers.norm(y, f'{name}_bn{i}',
                           zero=last and self.zero_init_last_gamma)
      if not last:
        y = self.layers.relu(y, f'{name}_relu{i}')
        y = self._blur(y, f'{name}_blur{i}', conv, stride)
    return y

  def _pre_activated(self, y, name, convs, stride):
    """v2: (batch norm, ReLU, convolution) each; y is already activated."""
    for i, conv in enumerate(convs, 1):
      if i > 1:
        y = self.layers.norm_relu(y, f'{name}_bn{i}', f'{name}_relu{i}')
        y = self._blur(y, f'{name}_blur{i - 1}', convs[i - 2], stride)
      y = self._conv(y, f'{name}_conv{i}', conv, stride)
    return y

  def _conv(self, y, name, conv, stride):
    """Adds a convolution of a block; blurring takes its stride over."""
    return self.layers.conv(
        y, name, conv.filters, conv.kernel,
        stride if conv.strided and not self.added.blur_pool else 1, conv.groups)

  def _blur(self, y, name, conv, stride):
    """Adds the stride of a convolution, after the ReLU that follows it."""
    if not (self.added.blur_pool and conv.strided and stride > 1):
      return y
    return self.layers.blur_pool(y, name, stride)

  def _squeeze_excite(self, y, name):
    if not self.added.squeeze_excite:
      return y
    return squeeze_excite(
        self.layers, y, f'{name}_se', self.added.squeeze_excite)

  def _skip(self, y, name, number):
    rate = self.added.stochastic_depth * number / self.count
    if not rate:
      return y
    return StochasticDepth(
        rate, self.added.draw_skips, salt=number, dtype=self.layers.dtype,
        name=f'{name}_skip')(y, self.position)

  def _add_shortcut(self, x, y, name, shortcut_name, stride):
    """Returns the sum of y and x, brought to y's shape if the two differ."""
    if self.shortcut == 'none':
      return y
    if stride > 1 or x.shape[-1] != y.shape[-1]:
      x = self._shortcut(x, y.shape[-1], shortcut_name, stride)
    return keras.layers.Add(dtype=self.layers.dtype, name=name)([x, y])

  def _shortcut(self, x, filters, name, stride):
    """Returns x with another number of channels, subsampled by the stride."""
    layers = self.layers
    if stride > 1 and self.shortcut == 'D':
      x, stride = layers.mean_pool(x, f'{name}_pool', stride), 1
    if stride > 1 and self.added.blur_pool:
      x, stride = layers.blur_pool(x, f'{name}_blur', stride), 1
    if self.shortcut == 'A':
      return SubsampleAndPad(filters, stride, dtype=layers.dtype, name=name)(x)
    x = layers.conv(x, f'{name}_conv', filters, 1, stride)
    return x if self.version == 'v2' else layers.norm(x, f'{name}_bn')
