"""ResNet50, 101 and 152 of keras.applications, in the names of this project.

  conv1_conv, conv1_bn                  stem_conv, stem_bn
  conv2_block1_1_conv, _1_bn            stage1_block1_conv1, stage1_block1_bn1
  conv2_block1_0_conv, _0_bn            stage1_block1_shortcut_conv, _bn
  predictions, or any other dense one   logits

Convolutions have biases there. Batch norm follows each of them, so that a bias
is subtracted from its moving mean instead: (x + bias) - mean = x - (mean -
bias), the same but for the rounding of float32. While training, a bias before
batch norm has no effect at all.
"""
from collections.abc import Mapping
import re
from typing import Any

import numpy as np

from resnet.models import variants
from resnet.weights import presets
from resnet.weights.source import Source
from resnet.weights.unreadable import Foreign

_DEPTHS = (50, 101, 152)
_EPSILON = 1.001e-5
_BLOCK = re.compile(r'conv([2-5])_block([0-9]+)_([0-3])_(conv|bn)')


def are_in(arrays: Mapping[str, np.ndarray]) -> bool:
  """Returns whether arrays have these names."""
  return 'conv2_block1_1_conv/kernel' in arrays


def translate(arrays: Mapping[str, np.ndarray]) -> Source:
  """Returns the variables of this project that arrays are of.

  Arrays of unknown names keep theirs.

  Raises:
    Foreign: this project has no such network.
  """
  _check_version(arrays)
  classifier = _classifier(arrays)
  values = {}
  for name, value in arrays.items():
    layer, _, variable = name.rpartition('/')
    ours = 'logits' if layer == classifier else _layer(layer)
    values[f'{ours}/{variable}' if ours else name] = value
  depth = _depth(values)
  _fold_biases(values)
  # Channels are blue, green, red there.
  kernel = values.get('stem_conv/kernel')
  if kernel is not None and kernel.ndim == 4:
    values['stem_conv/kernel'] = kernel[:, :, ::-1]
  mean, stddev = presets.CAFFE
  return Source(f'ResNet{depth} of keras.applications', values,
                network=_network(depth), mean=mean, stddev=stddev)


def _check_version(arrays):
  """Raises Foreign if it is a ResNetV2."""
  if 'conv2_block1_preact_bn/gamma' in arrays:
    raise Foreign(
        'a ResNetV2 of keras.applications, which no config.model can express '
        '(its strides are in the last block of a stage, and neither batch norm '
        'nor ReLU follows its first convolution): give weights of ResNet50, '
        'ResNet101 or ResNet152.')


def _classifier(arrays):
  """Returns the name of the only dense layer; None if it is not clear."""
  dense = [name for name, value in arrays.items()
           if name.endswith('/kernel') and value.ndim == 2]
  return dense[0].removesuffix('/kernel') if len(dense) == 1 else None


def _layer(name) -> str | None:
  """Returns a layer's name in this project; None: unknown."""
  if name in ('conv1_conv', 'conv1_bn'):
    return name.replace('conv1', 'stem')
  match = _BLOCK.fullmatch(name)
  if match is None:
    return None
  stage, index, place, kind = match.groups()
  block = f'stage{int(stage) - 1}_block{index}'
  return (f'{block}_shortcut_{kind}' if place == '0'
          else f'{block}_{kind}{place}')


def _depth(values):
  """Returns the depth of the network.

  Raises:
    Foreign: it is not one of keras.applications'.
  """
  counts = tuple(sum(f'stage{stage}_block{index}_conv1/kernel' in values
                     for index in range(1, 100)) for stage in range(1, 5))
  for depth in _DEPTHS:
    if variants.stages('imagenet', depth, '')[0] == counts:
      return depth
  raise Foreign(
      f'a network with {counts} blocks in its stages, which is none of '
      f'ResNet{", ".join(map(str, _DEPTHS))}: give weights of one of these.')


def _network(depth) -> dict[str, Any]:
  return {
      'name': 'resnet', 'family': 'imagenet', 'depth': depth, 'version': 'v1',
      'stem': 'imagenet', 'shortcut': 'B', 'width': 64, 'inner_width': 1,
      'groups': 1, 'squeeze_excite': 0, 'blur_pool': False,
      'batch_norm_epsilon': _EPSILON}


def _fold_biases(values):
  """Subtracts biases of convolutions from the moving means after them."""
  for name in [name for name in values if re.search('_conv[0-9]?/bias$', name)]:
    mean = re.sub('_conv([0-9]?)/bias$', r'_bn\1/moving_mean', name)
    if mean in values and values[mean].shape == values[name].shape:
      values[mean] = values[mean] - values.pop(name)
