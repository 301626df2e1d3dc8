"""Residual networks for ImageNet and for small images.

v1 is He et al. 2015 (arXiv:1512.03385); v1.5 moves the stride of a bottleneck
from its first 1x1 to its 3x3 convolution (Goyal et al. 2017, arXiv:1706.02677);
v2 is He et al. 2016 (arXiv:1603.05027), with the stride on the 3x3 as in the
released ImageNet models. Layers are named by their place, so variable paths are
the same in every process: 'stage2_block1_shortcut_conv/kernel'.

Variants of them that have names:
  ResNet-D (He et al. 2018, arXiv:1812.01187): v1.5, stem='deep', shortcut='D'.
  SE-ResNet (Hu et al. 2018, arXiv:1709.01507): squeeze_excite=16.
  ResNeXt 32x4d and 32x8d (Xie et al. 2017, arXiv:1611.05431): groups=32,
    inner_width=2 and 4.
  Wide ResNet-50-2 (Zagoruyko and Komodakis 2016, arXiv:1605.07146):
    inner_width=2.

  net = resnet.build(
      image_shape=(224, 224, 3), num_classes=1000, family='imagenet', depth=50,
      version='v1.5', block='bottleneck', stem='imagenet', width=64,
      shortcut='B', zero_init_last_gamma=True, sync_batch_norm=False,
      batch_norm_momentum=0.9, batch_norm_epsilon=1e-5, dtype='float32')
  logits = net({'image': images}, training=False)
"""
from typing import Any

import keras

from resnet.models import blocks, variants
from resnet.models.additions import Additions
from resnet.models.layers import Layers, network_input, network_of


def build(*, image_shape: tuple[int, ...], num_classes: int, family: str,
          depth: int, version: str, block: str, stem: str, width: int,
          shortcut: str, zero_init_last_gamma: bool, sync_batch_norm: bool,
          batch_norm_momentum: float, batch_norm_epsilon: float, dtype: str,
          any_size: bool = False, deterministic: bool = False,
          on_gpus: bool = False, **additions: Any) -> keras.Model:
  """Builds a residual network with fresh weights.

  Args:
    image_shape: (h, w, c), with any c; h and w may be odd.
    num_classes: length of the logits.
    family: 'imagenet' (four stages: width, 2, 4 and 8 times it; the depth
      implies the block) or 'cifar' (three stages: width, 2 and 4 times it).
    depth: layers with weights on the longest path, as in the papers.
    version: 'v1', 'v1.5' (the same as v1 for basic blocks) or 'v2'.
    block: 'basic' (depth 6n + 2) or 'bottleneck' (depth 9n + 2); used only by
      the 'cifar' family.
    stem: 'imagenet' (7x7/2 convolution, 3x3/2 max-pooling), 'deep' (in place of
      the 7x7 three 3x3 of half, half and all of the channels) or 'cifar'
      (3x3/1).
    width: channels of the stem and of the first stage (before a bottleneck's
      expansion by 4); 64 and 16 in the papers.
    shortcut: where a block changes the shape, 'A' subsamples and adds channels
      of zeros, 'B' projects with a 1x1 convolution, 'D' projects the mean of
      2x2 pixels; 'none' is a plain network.
    zero_init_last_gamma: whether every block starts as its shortcut alone. Not
      for v2, which has no batch norm after a block's last convolution, nor for
      plain networks, where nothing would pass through a block.
    sync_batch_norm: whether batch statistics span all replicas.
    batch_norm_momentum: weight of the old value in the moving statistics.
    batch_norm_epsilon: added to variances.
    dtype: Keras dtype policy of every layer but the last, which is float32.
    any_size: whether images may also be larger than image_shape.
    deterministic: whether gradients must be the same bits in every run, also on
      GPUs.
    on_gpus: whether all devices are GPUs.
    **additions: fields of additions.Additions.

  Returns:
    Keras functional model, {'image': float32 [b, h, w, c], standardized} and,
    with stochastic_depth or dropout, 'position': int64 [b] -> logits float32
    [b, num_classes] (no softmax).

  Raises:
    UserError: there is no such network, or the image is smaller than its total
      stride.
  """
  added = Additions(**additions)
  variants.check(family=family, version=version, stem=stem, shortcut=shortcut,
                 zero_init_last_gamma=zero_init_last_gamma,
                 stochastic_depth=added.stochastic_depth)
  stages, block = variants.stages(family, depth, block)
  variants.check_image(image_shape, stem, len(stages))
  variants.check_blocks(
      family=family, block=block, width=width, inner_width=added.inner_width,
      groups=added.groups, squeeze_excite=added.squeeze_excite)
  inputs = _inputs(
      (None, None, image_shape[-1]) if any_size else image_shape, added)
  parts = blocks.Blocks(
      Layers(batch_norm_momentum, batch_norm_epsilon, sync_batch_norm, dtype,
             deterministic, on_gpus),
      version, shortcut, zero_init_last_gamma, added, sum(stages),
      inputs.get('position'))
  x = parts.stem(inputs['image'], stem, width)
  number = 0
  for stage, count in enumerate(stages, 1):
    convs = blocks.convolutions(
        block, version, width * 2 ** (stage - 1), added.inner_width,
        added.groups)
    for index in range(1, count + 1):
      number += 1
      x = parts.block(x, stage, index, number, convs)
  return network_of(
      inputs, _logits(parts.head(x), num_classes), 'resnet', depth)


def _inputs(image_shape, added):
  """Returns the inputs; positions only if random numbers are drawn."""
  inputs = {'image': network_input('image', image_shape)}
  if added.stochastic_depth or added.dropout:
    inputs['position'] = network_input('position', (), 'int64')
  return inputs


def _logits(x, num_classes):
  small = keras.initializers.RandomNormal(stddev=0.01)
  return keras.layers.Dense(
      num_classes, dtype='float32', name='logits',
      kernel_initializer=small,  # pyright: ignore[reportArgumentType]
  )(x)
