"""The tutorials' networks have their weights and layers, one by one."""
from absl.testing import parameterized
import keras
import numpy as np
import pytest
import tensorflow as tf

from configs.process.errors import UserError
from resnet.models import tutorials
from resnet.models.batch_norm import BatchNorm
from resnet.models.max_pool import MaxPool

_CLASSES = {'resnet18_cifar100': 100}
_DEPTHS = {'keras_v1': 20, 'keras_v2': 20}


def _build(name, **changes):
  channels = 1 if name == 'resnet18_mnist' else 3
  return tutorials.build(name, **dict(
      depth=_DEPTHS.get(name, 18), image_shape=(32, 32, channels),
      num_classes=_CLASSES.get(name, 10), batch_norm_momentum=0.99,
      batch_norm_epsilon=1e-3, sync_batch_norm=False, dtype='float32'
      ) | changes)


def _described(layer):
  """Returns what a tutorial says about a layer, in short."""
  match layer:
    case keras.layers.Conv2D():
      return (f'conv {layer.filters} k{layer.kernel_size[0]} '
              f's{layer.strides[0]} {layer.padding}'
              + ('' if layer.use_bias else ' no bias'))
    case keras.layers.MaxPooling2D():
      return (f'max {layer.pool_size[0]} s{layer.strides[0]} {layer.padding}')
    case keras.layers.Dense():
      return f'dense {layer.units} {layer.activation.__name__}'
  return {BatchNorm: 'bn', keras.layers.ReLU: 'relu',
          keras.layers.Flatten: 'flatten', keras.layers.Add: 'add',
          keras.layers.GlobalAveragePooling2D: 'average'}[type(layer)]


def _way_back(tensor, until=()):
  """Returns the layers that lead to a tensor, by the last input of each."""
  way = []
  while True:
    layer = tensor._keras_history.operation
    if isinstance(layer, keras.layers.InputLayer) or layer in until:
      return way[::-1]
    way.append(layer)
    tensor = layer.input[-1] if isinstance(layer.input, list) else layer.input


def _layers(net):
  """Returns all layers in order; those of a shortcut follow its 'add'."""
  main, described = _way_back(net.output), []
  for layer in main:
    described.append(_described(layer))
    if isinstance(layer, keras.layers.Add):
      described += ['by ' + _described(side)
                    for side in _way_back(layer.input[0], main)]
  return described


def _basic(filters, stride, bias='', shortcut=()):
  return [f'conv {filters} k3 s{stride} same{bias}', 'bn', 'relu',
          f'conv {filters} k3 s1 same{bias}', 'bn', 'add',
          *(f'by {layer}' for layer in shortcut), 'relu']


def _stages(bias='', norm=(), always=False):
  """Four stages of two basic blocks, 64 to 512 channels."""
  layers = []
  for stage, filters in enumerate((64, 128, 256, 512)):
    for stride in (1 if stage == 0 else 2, 1):
      projects = always or stride == 2
      layers += _basic(filters, stride, bias, [
          f'conv {filters} k1 s{stride} same{bias}', *norm] if projects else ())
  return layers


def _bottleneck(inner, outer, stride, first=False, projects=False):
  return [*(() if first else ('bn', 'relu')), f'conv {inner} k1 s{stride} same',
          'bn', 'relu', f'conv {inner} k3 s1 same',
          'bn', 'relu', f'conv {outer} k1 s1 same', 'add',
          *([f'by conv {outer} k1 s{stride} same'] if projects else ())]


_STEM = ['conv 16 k3 s1 same', 'bn', 'relu']
_TABLE = {
    'resnet18_cifar100': [
        'conv 64 k3 s1 same', 'bn', 'relu', 'max 2 s2 same',
        *_stages(always=True), 'average', 'dense 100 linear'],
    'resnet18_mnist': [
        'conv 64 k7 s2 same', 'relu', 'max 3 s2 same', *_stages(norm=['bn']),
        'flatten', 'dense 1000 relu', 'dense 10 linear'],
    'resnet18_cifar10': [
        'conv 64 k3 s1 same no bias', 'bn', 'relu',
        *_stages(' no bias', ['bn']), 'average', 'dense 10 linear'],
    'resnet18_flip': [
        'conv 64 k3 s1 valid', 'bn', 'relu', 'max 2 s1 same', *_stages(),
        'average', 'dense 10 linear'],
    'keras_v1': [  # n = 3.
        *_STEM, *_basic(16, 1) * 3,
        *_basic(32, 2, '', ['conv 32 k1 s2 same']), *_basic(32, 1) * 2,
        *_basic(64, 2, '', ['conv 64 k1 s2 same']), *_basic(64, 1) * 2,
        'average', 'dense 10 linear'],
    'keras_v2': [  # n = 2.
        *_STEM, *_bottleneck(16, 64, 1, first=True, projects=True),
        *_bottleneck(16, 64, 1), *_bottleneck(64, 128, 2, projects=True),
        *_bottleneck(64, 128, 1), *_bottleneck(128, 256, 2, projects=True),
        *_bottleneck(128, 256, 1), 'bn', 'relu', 'average', 'dense 10 linear'],
}


@pytest.mark.slow
class NetworkTest(parameterized.TestCase):

  @parameterized.parameters(
      ('resnet18_cifar100', 18, 11_576_420),
      ('resnet18_mnist', 18, 11_697_922),
      ('resnet18_cifar10', 18, 11_173_962),
      ('resnet18_flip', 18, 11_176_970),
      ('keras_v1', 20, 273_066), ('keras_v1', 56, 857_706),
      ('keras_v2', 20, 570_602), ('keras_v2', 29, 843_786),
      ('keras_v2', 56, 1_663_338), ('keras_v2', 110, 3_302_442))
  def test_trainable_weights_are_the_tutorials(self, name, depth, weights):
    net = _build(name, depth=depth)
    self.assertEqual(
        sum(np.prod(v.shape) for v in net.trainable_variables), weights)

  def test_the_table_has_all_names(self):
    self.assertCountEqual(tutorials.NAMES, _TABLE)

  @parameterized.parameters(*_TABLE)
  def test_layers_in_order(self, name):
    net = _build(name)
    self.assertEqual(_layers(net), _TABLE[name])
    self.assertLen(net.layers, len(_TABLE[name]) + 1)  # With the input.

  @parameterized.parameters(*_TABLE)
  def test_initial_weights(self, name):
    net = _build(name)
    kernels = {type(layer.kernel_initializer).__name__ for layer in net.layers
               if hasattr(layer, 'kernel_initializer')}
    self.assertEqual(
        kernels, {'HeNormal' if name.startswith('keras') else 'GlorotUniform'})
    norms = {(layer.momentum, layer.epsilon) for layer in net.layers
             if isinstance(layer, BatchNorm)}
    self.assertEqual(norms, {(0.99, 1e-3)})
    biases = [v.numpy() for v in net.trainable_variables if v.name == 'bias']
    self.assertEqual(max(np.abs(bias).max() for bias in biases), 0)

  @parameterized.parameters('keras_v1', 'keras_v2')
  def test_the_last_average_is_over_8x8_pixels(self, name):
    self.assertEqual(_build(name).get_layer('pool').input.shape[1:3], (8, 8))

  @parameterized.parameters(*_TABLE)
  def test_settings_reach_every_layer(self, name):
    net = _build(name, dtype='mixed_bfloat16', sync_batch_norm=True,
                 deterministic=True)
    self.assertEqual({layer.compute_dtype for layer in net.layers
                      if layer.name not in ('image', 'logits')}, {'bfloat16'})
    self.assertEqual(net.get_layer('logits').compute_dtype, 'float32')
    norms = [layer for layer in net.layers if layer.name.endswith('_bn')]
    self.assertNotEmpty(norms)
    self.assertTrue(all(norm.synchronized for norm in norms))
    self.assertTrue(all(
        isinstance(layer, MaxPool) for layer in net.layers
        if isinstance(layer, keras.layers.MaxPooling2D)))

  @parameterized.parameters(*_TABLE)
  def test_paths_are_unique_and_the_same_in_two_builds(self, name):
    first, second = ([v.path for v in _build(name).variables] for _ in '12')
    self.assertEqual(first, second)
    self.assertLen(set(first), len(first))

  @parameterized.parameters(*_TABLE)
  def test_odd_images_give_finite_logits(self, name):
    net = _build(name, image_shape=(28, 30, 2), num_classes=7)
    logits = net({'image': tf.random.stateless_normal([2, 28, 30, 2], [0, 0])},
                 training=True)
    self.assertEqual(logits.shape, (2, 7))
    self.assertTrue(np.isfinite(logits).all())
    self.assertGreater(np.std(logits), 0)


@pytest.mark.slow
def test_the_deepest_network_of_the_table():
  depth = 1001  # n = 111.
  net = _build('keras_v2', depth=depth)
  convolutions = [layer for layer in net.layers
                  if isinstance(layer, keras.layers.Conv2D)]
  assert len(convolutions) == 1 + 9 * 111 + 3  # Three projections.
  # Each unit but the first of a stage: three convolutions and their batch norm.
  def unit(inner, outer, inputs):
    return (2 * (inputs + inner + inner) + inputs * inner + inner
            + 9 * inner * inner + inner + inner * outer + outer)
  # 2 units of each stage are in the count of depth 20.
  assert sum(np.prod(v.shape) for v in net.trainable_variables) == (
      570_602 + 109 * sum(unit(inner, outer, outer) for inner, outer in (
          (16, 64), (64, 128), (128, 256))))


class ErrorTest(parameterized.TestCase):

  @parameterized.parameters(
      ('keras_v1', 21, '6n [+] 2: give 20 or 26'),
      ('keras_v1', 2, '6n [+] 2: give 8'),
      ('keras_v1', 1, '6n [+] 2: give 8'),
      ('keras_v2', 32, '9n [+] 2: give 29 or 38'),
      ('keras_v2', 7, '9n [+] 2: give 11'))
  def test_depths_that_do_not_exist(self, name, depth, words):
    with self.assertRaisesRegex(
        UserError, f'config.model.depth={depth} does not exist in {name}, '
        f'whose depths are {words}[.]$'):
      _build(name, depth=depth)

  def test_images_smaller_than_the_stem(self):
    _build('resnet18_flip', image_shape=(3, 3, 3))
    with self.assertRaisesRegex(
        UserError, 'Images of 2 x 9 pixels are too small for resnet18_flip: '
        'give images of at least 3 x 3 pixels[.]$'):
      _build('resnet18_flip', image_shape=(2, 9, 3))
