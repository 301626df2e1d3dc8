"""The ResNets of torchvision and timm, in the names of this project.

  conv1, bn1                  stem_conv, stem_bn
  conv1.0, .1, .3, .4, .6     stem_conv1, stem_bn1, stem_conv2, ... (timm's -c
                              and -d; the third batch norm is bn1)
  layer2.0.conv1, bn1         stage2_block1_conv1, stage2_block1_bn1
  layer2.0.se.fc1, fc2        stage2_block1_se_reduce, stage2_block1_se_expand
  layer2.0.downsample.0, .1   stage2_block1_shortcut_conv, _bn; from 1 where an
                              average pool comes first (timm's -d)
  fc                          logits

Kernels are [out, in, h, w] there and [h, w, in, out] here.

Not seen in names and shapes, so not checked: timm's resnetblur and resnetaa,
which blur; activations other than ReLU; a stride in another place.
"""
from collections.abc import Mapping
import re
from typing import Any

import numpy as np

from resnet.models import variants
from resnet.weights import presets
from resnet.weights.source import Source
from resnet.weights.unreadable import Foreign

_DEPTHS = (18, 34, 50, 101, 152, 200)
_EPSILON = 1e-5  # The default of torch.nn.BatchNorm2d.
_STEM = {'conv1': 'stem_conv', 'bn1': 'stem_bn'}
_DEEP_STEM = {
    'conv1.0': 'stem_conv1', 'conv1.1': 'stem_bn1', 'conv1.3': 'stem_conv2',
    'conv1.4': 'stem_bn2', 'conv1.6': 'stem_conv3', 'bn1': 'stem_bn3'}
_IN_BLOCKS = {'se.fc1': 'se_reduce', 'se.fc2': 'se_expand',
              **{f'{kind}{i}': f'{kind}{i}' for kind in ('conv', 'bn')
                 for i in (1, 2, 3)}}
_NORM = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'moving_mean',
         'running_var': 'moving_variance'}
_DENSE = {'weight': 'kernel', 'bias': 'bias'}
_BLOCK = re.compile(r'layer([0-9]+)\.([0-9]+)\.(.+)')


def are_in(arrays: Mapping[str, np.ndarray]) -> bool:
  """Returns whether arrays have these names."""
  return 'layer1.0.conv1.weight' in arrays


def translate(arrays: Mapping[str, np.ndarray]) -> Source:
  """Returns the variables of this project that arrays are of.

  Arrays of unknown names keep theirs.

  Raises:
    Foreign: the network has no depth that this project knows.
  """
  deep = 'conv1.0.weight' in arrays
  pools = np.ndim(arrays.get('layer1.0.downsample.1.weight', 0)) == 4 or (
      np.ndim(arrays.get('layer2.0.downsample.1.weight', 0)) == 4)
  values = {}
  for name, value in arrays.items():
    if not name.endswith('num_batches_tracked'):
      path = _path(name, deep, pools)
      values[path or name] = _transposed(path, value)
  network = _network(values, deep, pools)
  mean, stddev = presets.TORCHVISION
  return Source(f'ResNet-{network["depth"]} of torchvision or timm', values,
                network=network, mean=mean, stddev=stddev)


def _path(name, deep, pools) -> str | None:
  """Returns the path of a variable of this project; None: unknown."""
  layer, _, part = name.rpartition('.')
  if layer == 'fc':
    ours = 'logits'
  elif match := _BLOCK.fullmatch(layer):
    ours = _in_block(match[3], pools)
    ours = ours and f'stage{match[1]}_block{int(match[2]) + 1}_{ours}'
  else:
    ours = (_DEEP_STEM if deep else _STEM).get(layer)
  if ours is None:
    return None
  norm = re.search('bn[0-9]?$', ours)
  variable = (_NORM if norm else _DENSE).get(part)
  return variable and f'{ours}/{variable}'


def _in_block(layer, pools):
  """Returns the name of a layer in its block; None: unknown."""
  if layer.startswith('downsample.'):
    places = ('1', '2') if pools else ('0', '1')
    return dict(zip(places, ('shortcut_conv', 'shortcut_bn'))).get(layer[11:])
  return _IN_BLOCKS.get(layer)


def _transposed(path, value):
  """Returns a kernel with the axes of TensorFlow; anything else as it is."""
  if path is None or not path.endswith('/kernel'):
    return value
  if value.ndim == 4 and '_se_' in path:
    value = value[:, :, 0, 0]
  return value.transpose((2, 3, 1, 0) if value.ndim == 4 else (1, 0)
                         ) if value.ndim in (2, 4) else value


def _network(values, deep, pools) -> dict[str, Any]:
  """Returns the fields of config.model that variables show."""
  counts = tuple(sum(f'stage{stage}_block{index}_conv1/kernel' in values
                     for index in range(1, 100)) for stage in range(1, 5))
  bottleneck = 'stage1_block1_conv3/kernel' in values
  kind = 'bottleneck' if bottleneck else 'basic'
  depth = next((depth for depth in _DEPTHS if variants.stages(
      'imagenet', depth, '') == (counts, kind)), None)
  if depth is None:
    raise Foreign(
        f'a network with {counts} {kind} blocks in its stages, which is none '
        f'of ResNet-{", ".join(map(str, _DEPTHS))}: give weights of one of '
        'these.')
  width = values['stem_conv3/kernel' if deep else 'stem_conv/kernel'].shape[-1]
  network = {
      'name': 'resnet', 'family': 'imagenet', 'depth': depth,
      'version': 'v1.5', 'stem': 'deep' if deep else 'imagenet',
      'shortcut': 'D' if pools else 'B', 'width': width, 'blur_pool': False,
      'inner_width': 1, 'groups': 1, 'squeeze_excite': 0,
      'batch_norm_epsilon': _EPSILON}
  if bottleneck:
    kernel = values['stage1_block1_conv2/kernel']
    network['inner_width'] = kernel.shape[3] // width
    network['groups'] = kernel.shape[3] // kernel.shape[2]
  reduce = values.get('stage1_block1_se_reduce/kernel')
  if reduce is not None:
    network['squeeze_excite'] = reduce.shape[0] // reduce.shape[1]
  return network
