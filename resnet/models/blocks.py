"""The parts of a residual network: its stem, its blocks and its head."""
from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

import keras

from resnet.models.layers import Layers, SubsampleAndPad


class Conv(NamedTuple):
  """One convolution of a residual block."""
  filters: int
  kernel: int
  strided: bool  # Whether the stride of the block is on this convolution.


def convolutions(block: str, version: str, width: int) -> tuple[Conv, ...]:
  """Returns the convolutions of each block in a stage of this width."""
  if block == 'basic':
    return (Conv(width, 3, True), Conv(width, 3, False))
  on_first = version == 'v1'
  return (Conv(width, 1, on_first), Conv(width, 3, not on_first),
          Conv(4 * width, 1, False))


@dataclasses.dataclass(frozen=True)
class Blocks:
  """Adds the parts of one network to a graph; see resnet.build."""
  layers: Layers
  version: str
  shortcut: str
  zero_init_last_gamma: bool

  def stem(self, x: keras.KerasTensor, kind: str,
           width: int) -> keras.KerasTensor:
    """Adds a convolution, batch norm and ReLU; for 'imagenet', max-pooling too.

    v2 has a ReLU here too: both paths of its first block take the activated
    input, and that block has no batch norm before its first convolution.
    """
    layers, imagenet = self.layers, kind == 'imagenet'
    x = layers.conv(x, 'stem_conv', width, 7 if imagenet else 3,
                    2 if imagenet else 1)
    x = layers.norm_relu(x, 'stem_bn', 'stem_relu')
    if imagenet:
      # Zeros never change a maximum over the outputs of a ReLU.
      x = layers.pad(x, 'stem_pool_pad', 1)
      x = layers.max_pool(x, 'stem_pool', 3, 2)
    return x

  def block(self, x: keras.KerasTensor, stage: int, index: int,
            convs: Sequence[Conv]) -> keras.KerasTensor:
    """Adds residual block number `index` of a stage; both count from 1.

    Returns:
      [b, ceil(h / stride), ceil(w / stride), filters of the last convolution];
      the stride is 2 in the first block of each stage but the first, else 1.
    """
    name = f'stage{stage}_block{index}'
    stride = 2 if stage > 1 and index == 1 else 1
    if self.version != 'v2':
      y = self._post_activated(x, name, convs, stride)
      y = self._add_shortcut(x, y, f'{name}_add', f'{name}_shortcut', stride)
      return self.layers.relu(y, f'{name}_out')
    y = x
    if stage > 1 or index > 1:  # The stem has activated the first one's input.
      y = self.layers.norm_relu(x, f'{name}_bn1', f'{name}_relu1')
    if index == 1:
      x = y
    y = self._pre_activated(y, name, convs, stride)
    return self._add_shortcut(x, y, f'{name}_out', f'{name}_shortcut', stride)

  def head(self, x: keras.KerasTensor) -> keras.KerasTensor:
    """Adds the mean over all pixels, [b, c]; v2 activates its input first."""
    if self.version == 'v2':
      x = self.layers.norm_relu(x, 'final_bn', 'final_relu')
    return keras.layers.GlobalAveragePooling2D(
        dtype=self.layers.dtype, name='pool')(x)

  def _post_activated(self, y, name, convs, stride):
    """v1: (convolution, batch norm, ReLU) each; no ReLU after the last."""
    for i, conv in enumerate(convs, 1):
      last = i == len(convs)
      y = self.layers.conv(y, f'{name}_conv{i}', conv.filters, conv.kernel,
                           stride if conv.strided else 1)
      y = self.layers.norm(y, f'{name}_bn{i}',
                           zero=last and self.zero_init_last_gamma)
      if not last:
        y = self.layers.relu(y, f'{name}_relu{i}')
    return y

  def _pre_activated(self, y, name, convs, stride):
    """v2: (batch norm, ReLU, convolution) each; y is already activated."""
    for i, conv in enumerate(convs, 1):
      if i > 1:
        y = self.layers.norm_relu(y, f'{name}_bn{i}', f'{name}_relu{i}')
      y = self.layers.conv(y, f'{name}_conv{i}', conv.filters, conv.kernel,
                           stride if conv.strided else 1)
    return y

  def _add_shortcut(self, x, y, name, shortcut_name, stride):
    """Returns the sum of y and x, brought to y's shape if the two differ."""
    if self.shortcut == 'none':
      return y
    filters = y.shape[-1]
    if stride > 1 or x.shape[-1] != filters:
      if self.shortcut == 'A':
        x = SubsampleAndPad(filters, stride, dtype=self.layers.dtype,
                            name=shortcut_name)(x)
      else:
        x = self.layers.conv(x, f'{shortcut_name}_conv', filters, 1, stride)
        if self.version != 'v2':
          x = self.layers.norm(x, f'{shortcut_name}_bn')
    return keras.layers.Add(dtype=self.layers.dtype, name=name)([x, y])
