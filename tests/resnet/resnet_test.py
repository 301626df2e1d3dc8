"""Networks have the papers' weights, shapes, strides and shortcuts."""
import functools
import sys

from absl.testing import parameterized
import keras
import numpy as np
import pytest
import tensorflow as tf

from configs.process.errors import UserError
from resnet.models import resnet
from resnet.models.batch_norm import BatchNorm
from tests.resnet import small_runs, strategies

_CIFAR = dict(
    image_shape=(8, 8, 3), num_classes=10, family='cifar', depth=8,
    version='v1', block='basic', stem='cifar', width=4, shortcut='B',
    zero_init_last_gamma=False, sync_batch_norm=False, batch_norm_momentum=0.9,
    batch_norm_epsilon=1e-5, dtype='float32')
_IMAGENET = _CIFAR | dict(
    image_shape=(224, 224, 3), num_classes=1000, family='imagenet', depth=50,
    stem='imagenet', width=64)


def _cifar(**changes):
  return resnet.build(**_CIFAR | changes)


@functools.cache
def _imagenet(depth, version):
  return resnet.build(**_IMAGENET | dict(depth=depth, version=version))


def _trainable(net):
  return sum(np.prod(v.shape) for v in net.trainable_variables)


def _images(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=shape).astype(np.float32)


def _outputs(net, names, images, training=False):
  """Returns the outputs of the named layers."""
  inner = keras.Model(net.input, [net.get_layer(n).output for n in names])
  return [np.array(y) for y in inner({'image': images}, training=training)]


def _randomize(net):
  """Sets weights as after some training: no batch norm is an identity."""
  rng = np.random.default_rng(1)
  for v in net.variables:
    if 'kernel' not in v.path:
      v.assign(rng.uniform(0.5, 1.5, v.shape))


def _count_cifar_v1_a(depth):
  n = (depth - 2) // 6
  # A block has 18 w^2 kernel weights and 4 w norm weights. The first block of
  # each later stage reads w / 2 channels, which saves 9 w^2 / 2.
  blocks = sum(n * (18 * w * w + 4 * w) for w in (16, 32, 64))
  blocks -= 9 * 32 * 16 + 9 * 64 * 32
  return 9 * 3 * 16 + 2 * 16 + blocks + 64 * 10 + 10


def _count_cifar_v2_bottleneck(depth):
  """Returns the weights of kernels, which the paper counts, and all others."""
  n = (depth - 2) // 9
  kernels = 9 * 3 * 16 + 256 * 10
  others = 2 * 256 + 10  # Final norm; all others precede a convolution.
  for w, before in ((16, 16), (32, 64), (64, 128)):
    kernels += before * 4 * w  # Projection.
    for c in [before] + (n - 1) * [4 * w]:
      kernels += c * w + 9 * w * w + w * 4 * w
      others += 2 * (c + w + w)
  return kernels, others


class WeightCountTest(parameterized.TestCase):

  @parameterized.parameters(
      (18, 11_689_512), (34, 21_797_672), (50, 25_557_032))
  def test_imagenet_v1_as_published(self, depth, published):
    self.assertEqual(_trainable(_imagenet(depth, 'v1')), published)

  @parameterized.parameters((101, 44_549_160), (152, 60_192_808))
  @pytest.mark.slow
  def test_deep_imagenet_v1_as_published(self, depth, published):
    self.assertEqual(_trainable(_imagenet(depth, 'v1')), published)

  def test_v1_5_has_the_weights_of_v1(self):
    self.assertEqual(_trainable(_imagenet(50, 'v1.5')), 25_557_032)

  @pytest.mark.slow
  def test_resnet_200_by_hand(self):
    # He et al. 2016: 3, 24, 36 and 3 blocks. A tenth of the width, for speed.
    stem = 7 * 7 * 3 * 6 + 2 * 6
    blocks = 0
    for w, n, before in ((6, 3, 6), (12, 24, 24), (24, 36, 48), (48, 3, 96)):
      inner = 9 * w * w + w * 4 * w + 2 * (w + w + 4 * w)  # 3x3, 1x1, norms.
      first = before * w + inner + before * 4 * w + 2 * 4 * w  # Projection.
      blocks += first + (n - 1) * (4 * w * w + inner)
    net = resnet.build(**_IMAGENET | dict(depth=200, width=6, version='v1.5'))
    self.assertEqual(_trainable(net), stem + blocks + 192 * 1000 + 1000)

  def test_imagenet_v2_as_derived_from_v1_and_from_keras(self):
    # ResNet-50 v1 has a norm after each last convolution (4w) and projection
    # (4w). v2 has one before the first convolution of each block but the first,
    # as wide as the previous block, and one at the end.
    stages = ((64, 3), (128, 4), (256, 6), (512, 3))
    after = sum(2 * 4 * w * (n + 1) for w, n in stages)
    before = sum(2 * 4 * w * n for w, n in stages)  # Each block's output, once.
    self.assertEqual(_trainable(_imagenet(50, 'v2')),
                     25_557_032 - after + before)
    # Keras's own ResNet50V2 has 25,568,360. It has biases, which ours lacks, in
    # the stem, in the last convolution of each block and in the projections.
    biases = 64 + sum(4 * w * (n + 1) for w, n in stages)
    self.assertEqual(_trainable(_imagenet(50, 'v2')), 25_568_360 - biases)

  @parameterized.parameters(20, 32, 44, 56, 110)
  def test_cifar_v1_shortcut_a_has_the_weights_of_the_formula(self, depth):
    net = _cifar(depth=depth, width=16, shortcut='A')
    self.assertEqual(_trainable(net), _count_cifar_v1_a(depth))

  @parameterized.parameters((20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85),
                            (110, 1.7), (1202, 19.4))
  def test_formula_of_cifar_v1_is_as_published(self, depth, millions):
    self.assertAlmostEqual(
        _count_cifar_v1_a(depth) / 1e6, millions, delta=0.03)

  @pytest.mark.slow
  def test_cifar_v2_bottleneck_has_the_weights_of_the_formula(self):
    net = _cifar(depth=164, width=16, version='v2', block='bottleneck')
    self.assertEqual(_trainable(net), sum(_count_cifar_v2_bottleneck(164)))

  @parameterized.parameters((164, 1.7), (1001, 10.2))
  def test_formula_of_cifar_v2_is_as_published(self, depth, millions):
    kernels, _ = _count_cifar_v2_bottleneck(depth)
    self.assertEqual(round(kernels / 1e6, 1), millions)

  @pytest.mark.slow
  def test_depth_is_not_limited_by_recursion(self):
    # A plain network is one chain of 3 layers for each convolution: 312 layers
    # here, and 3,600 at depth 1202. Python allows 1,000 nested calls.
    limit = sys.getrecursionlimit()
    self.addCleanup(sys.setrecursionlimit, limit)
    sys.setrecursionlimit(300)
    _cifar(depth=104, width=1, image_shape=(4, 4, 1), shortcut='none')
    self.assertEqual(sys.getrecursionlimit(), 300)


class ShapeTest(parameterized.TestCase):

  @parameterized.parameters('v1', 'v1.5', 'v2')
  def test_shapes_of_imagenet_stages(self, version):
    net = _imagenet(50, version)
    shapes = [net.get_layer(name).output.shape[1:] for name in (
        'stem_conv', 'stem_pool', 'stage1_block3_out', 'stage2_block4_out',
        'stage3_block6_out', 'stage4_block3_out', 'pool', 'logits')]
    self.assertEqual(shapes, [
        (112, 112, 64), (56, 56, 64), (56, 56, 256), (28, 28, 512),
        (14, 14, 1024), (7, 7, 2048), (2048,), (1000,)])

  @parameterized.parameters(
      # He et al. 2015, table 1 (v1); v1.5 computes the first 1x1 in full.
      (18, 'v1', 1.8), (34, 'v1', 3.6), (50, 'v1', 3.8), (101, 'v1', 7.6),
      (152, 'v1', 11.3), (50, 'v1.5', 4.1))
  def test_multiply_adds_as_published(self, depth, version, billions):
    total = 2048 * 1000 if depth >= 50 else 512 * 1000
    for layer in _imagenet(depth, version).layers:
      if isinstance(layer, keras.layers.Conv2D):
        total += np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3])
    self.assertAlmostEqual(total / 1e9, billions, delta=0.08)

  @parameterized.parameters(
      ('v1', 'basic', 'conv1'), ('v1.5', 'basic', 'conv1'),
      ('v2', 'basic', 'conv1'), ('v1', 'bottleneck', 'conv1'),
      ('v1.5', 'bottleneck', 'conv2'), ('v2', 'bottleneck', 'conv2'))
  def test_stride_is_on_the_first_3x3_or_for_v1_on_the_first_convolution(
      self, version, block, strided):
    depth = {'basic': 14, 'bottleneck': 20}[block]  # Two blocks a stage.
    net = _cifar(version=version, block=block, depth=depth)
    strides = {layer.name for layer in net.layers
               if isinstance(layer, keras.layers.Conv2D)
               and layer.strides == (2, 2)}
    self.assertEqual(strides, {
        f'stage{s}_block1_{name}' for s in (2, 3)
        for name in (strided, 'shortcut_conv')})

  @parameterized.parameters(
      ('v1', 'A', (4, 4, 1)), ('v1', 'B', (5, 7, 1)), ('v1', 'none', (6, 9, 4)),
      ('v1.5', 'A', (9, 28, 4)), ('v1.5', 'B', (28, 28, 1)),
      ('v2', 'A', (7, 5, 1)), ('v2', 'B', (32, 31, 3)),
      ('v2', 'none', (6, 5, 2)))
  def test_images_have_any_size_and_channels(
      self, version, shortcut, image_shape):
    net = _cifar(image_shape=image_shape, version=version, shortcut=shortcut,
                 block='bottleneck', depth=11)
    height, width = (-(-side // 4) for side in image_shape[:2])
    self.assertEqual(net.get_layer('pool').input.shape[1:], (height, width, 64))
    logits = net({'image': _images(2, *image_shape)}, training=True)
    self.assertEqual(logits.shape, (2, 10))
    self.assertTrue(np.isfinite(logits).all())

  def test_imagenet_stem_rounds_odd_sizes_up(self):
    net = resnet.build(**_IMAGENET | dict(
        image_shape=(33, 65, 3), depth=18, width=4, num_classes=7))
    # 33 -> 17 -> 9 -> 5 -> 3 -> 2 and 65 -> 33 -> 17 -> 9 -> 5 -> 3.
    self.assertEqual(net.get_layer('pool').input.shape[1:], (2, 3, 32))

  @parameterized.parameters(8, 9)
  def test_strided_windows_are_centered_on_even_pixels(self, side):
    net = _cifar(image_shape=(side, side, 3))
    kernel = np.zeros((3, 3, 4, 8), np.float32)
    kernel[1, 1] = np.eye(4, 8)
    net.get_layer('stage2_block1_conv1').kernel.assign(kernel)
    before, after = _outputs(
        net, ['stage1_block1_out', 'stage2_block1_conv1'],
        _images(1, side, side, 3))
    np.testing.assert_array_equal(after[..., :4], before[:, ::2, ::2])


class BlockTest(parameterized.TestCase):

  def test_v1_equals_keras_applications_resnet50(self):
    """The same weights in Keras's ResNet-50 give the same logits."""
    ours = resnet.build(**_IMAGENET | dict(
        image_shape=(45, 64, 3), num_classes=5, batch_norm_epsilon=1.001e-5))
    theirs = keras.applications.ResNet50(
        weights=None, input_shape=(45, 64, 3), classes=5,
        classifier_activation=None)
    _randomize(ours)
    copied = 0
    for layer in ours.layers:
      if not layer.weights:
        continue
      kind = layer.name.split('_')[-1].rstrip('0123456789')
      if layer.name.startswith('stem'):
        name = f'conv1_{kind}'
      elif layer.name == 'logits':
        name = 'predictions'
      else:
        stage, block, last = layer.name.replace(
            'shortcut_', 'shortcut0').split('_')
        name = f'conv{int(stage[5:]) + 1}_{block}_{last[-1]}_{kind}'
        if 'shortcut' in last:
          name = name.replace(last[-1] + '_' + kind, '0_' + kind)
      weights = layer.get_weights()
      copied += sum(w.size for w in weights)
      if kind == 'conv':
        weights.append(np.zeros(weights[0].shape[-1]))  # Theirs has biases.
      theirs.get_layer(name).set_weights(weights)
    self.assertEqual(copied, ours.count_params())
    images = _images(2, 45, 64, 3)
    expected = theirs(images)
    self.assertGreater(np.std(expected), 0)
    np.testing.assert_allclose(
        ours({'image': images}), expected, rtol=1e-3,
        atol=1e-4 * np.abs(expected).max())

  @parameterized.parameters(
      (True, 'v1', 'basic'), (False, 'v1', 'basic'),
      (True, 'v1.5', 'bottleneck'), (False, 'v1.5', 'bottleneck'))
  def test_zero_gamma_makes_blocks_their_shortcuts(
      self, training, version, block):
    net = _cifar(block=block, depth={'basic': 14, 'bottleneck': 20}[block],
                 version=version, shortcut='A', zero_init_last_gamma=True)
    first, same, halved = _outputs(
        net, ['stage1_block1_out', 'stage1_block2_out', 'stage2_block1_out'],
        _images(2, 8, 8, 3), training)
    self.assertGreater(first.max(), 0)  # A ReLU's output: relu(first) is first.
    np.testing.assert_array_equal(same, first)
    np.testing.assert_array_equal(
        halved, np.concatenate([same[:, ::2, ::2]] +
                               [np.zeros_like(same[:, ::2, ::2])], -1))

  def test_zero_gamma_only_where_asked(self):
    for asked in (False, True):
      net = _cifar(depth=8, zero_init_last_gamma=asked)
      zero = {v.path for v in net.trainable_variables
              if v.path.endswith('gamma') and not np.any(v)}
      self.assertEqual(zero, {f'stage{s}_block1_bn2/gamma' for s in (1, 2, 3)}
                       if asked else set())

  def test_projection_reads_the_block_input(self):
    net = _cifar(zero_init_last_gamma=True)
    shortcut, out = _outputs(
        net, ['stage2_block1_shortcut_bn', 'stage2_block1_out'],
        _images(2, 8, 8, 3))
    np.testing.assert_array_equal(out, np.maximum(shortcut, 0))

  @parameterized.parameters('v1', 'v2')
  def test_plain_network_is_shortcut_a_without_the_shortcuts(self, version):
    plain = _cifar(shortcut='none', version=version)
    residual = _cifar(shortcut='A', version=version)
    _randomize(plain)
    self.assertEqual([v.path for v in plain.variables],
                     [v.path for v in residual.variables])
    residual.set_weights(plain.get_weights())
    self.assertFalse([layer for layer in plain.layers
                      if isinstance(layer, keras.layers.Add)])
    images = {'image': _images(2, 8, 8, 3)}
    difference = np.abs(plain(images) - residual(images)).max()
    # A thousand times larger than rounding would be.
    self.assertGreater(difference, 1e-3 * np.abs(residual(images)).max())

  @parameterized.parameters('A', 'B')
  def test_v2_first_block_of_a_stage_activates_both_paths(self, shortcut):
    net = _cifar(version='v2', depth=14, shortcut=shortcut)
    for block, activated in (('stage1_block1', 'stem_relu'),
                             ('stage2_block1', 'stage2_block1_relu1')):
      self.assertIs(net.get_layer(f'{block}_conv1').input if block[5] == '1'
                    else net.get_layer(f'{block}_conv1_pad').input,
                    net.get_layer(activated).output)
      addend = net.get_layer(f'{block}_out').input[0]
      if block == 'stage2_block1':
        layer = 'shortcut' if shortcut == 'A' else 'shortcut_conv'
        shortcut_layer = net.get_layer(f'{block}_{layer}')
        self.assertIs(addend, shortcut_layer.output)
        addend = shortcut_layer.input
      self.assertIs(addend, net.get_layer(activated).output)

  def test_v2_other_blocks_pass_their_input_unchanged(self):
    net = _cifar(version='v2', depth=14)
    last = net.get_layer('stage2_block2_conv2')
    last.kernel.assign(np.zeros(last.kernel.shape))
    before, after = _outputs(net, ['stage2_block1_out', 'stage2_block2_out'],
                             _images(2, 8, 8, 3))
    self.assertLess(before.min(), 0)  # No ReLU on the way.
    np.testing.assert_array_equal(after, before)

  def test_v2_ends_in_batch_norm_and_relu(self):
    names = [layer.name for layer in _cifar(version='v2').layers]
    self.assertEqual(names[-5:], [
        'stage3_block1_out', 'final_bn', 'final_relu', 'pool', 'logits'])

  def test_initial_weights_have_the_variance_of_the_papers(self):
    net = resnet.build(**_IMAGENET | dict(image_shape=(32, 32, 3), depth=18))
    kernel = net.get_layer('stage4_block2_conv2').get_weights()[0]
    # He et al. 2015b: variance 2 / (k^2 filters); within 5 standard errors.
    self.assertAlmostEqual(kernel.var() * 9 * 512 / 2, 1,
                           delta=5 * np.sqrt(2 / kernel.size))
    self.assertGreater(np.abs(kernel).max(), 4 * kernel.std())  # Untruncated.
    strided = net.get_layer('stage4_block1_conv1').get_weights()[0]
    self.assertAlmostEqual(strided.var() * 9 * 512 / 2, 1,  # Fan out, not in.
                           delta=5 * np.sqrt(2 / strided.size))
    dense, bias = net.get_layer('logits').get_weights()
    self.assertAlmostEqual(dense.std() / 0.01, 1,
                           delta=5 / np.sqrt(2 * dense.size))
    self.assertFalse(bias.any())


class PolicyTest(parameterized.TestCase):

  @parameterized.parameters('mixed_bfloat16', 'mixed_float16')
  def test_mixed_precision_keeps_weights_and_logits_in_float32(self, dtype):
    small_runs.skip_unless_cpu_convolves(dtype.removeprefix('mixed_'))
    for version in ('v1', 'v2'):
      net = _cifar(dtype=dtype, shortcut='A', version=version)
      compute = {layer.compute_dtype for layer in net.layers
                 if layer.name not in ('image', 'logits')}
      self.assertEqual(compute, {dtype.removeprefix('mixed_')})
      self.assertEqual({v.dtype for v in net.variables}, {'float32'})
      logits = net({'image': _images(2, 8, 8, 3)}, training=True)
      self.assertEqual(logits.dtype, tf.float32)

  @parameterized.parameters(True, False)
  def test_batch_norm_settings_reach_every_layer(self, sync):
    net = _cifar(sync_batch_norm=sync, batch_norm_momentum=0.75,
                 batch_norm_epsilon=0.5, version='v2')
    kind = keras.layers.BatchNormalization if sync else BatchNorm
    norms = [layer for layer in net.layers if isinstance(layer, kind)]
    self.assertLen(norms, 1 + 5 + 1)
    self.assertEqual({(n.momentum, n.epsilon) for n in norms}, {(0.75, 0.5)})
    self.assertTrue(all(n.synchronized for n in norms if sync))

  @parameterized.parameters('v1', 'v2')
  def test_variable_paths_are_unique_and_the_same_in_two_builds(self, version):
    first, second = ([v.path for v in _cifar(version=version).variables]
                     for _ in range(2))
    self.assertEqual(first, second)
    self.assertLen(set(first), len(first))
    self.assertIn('stage2_block1_shortcut_conv/kernel', first)
    self.assertIn('stage3_block1_bn2/moving_mean', first)

  def test_input_is_a_dict(self):
    self.assertEqual(list(_cifar().input), ['image'])

  @parameterized.parameters(False, True)
  def test_two_replicas_with_and_without_sync_batch_norm(self, sync):
    """Replicas normalize with their own images, or with those of all."""
    strategy = strategies.on_cpus(2)
    with strategy.scope():
      net = _cifar(sync_batch_norm=sync)
    halves = [_images(3, 8, 8, 3), 5 + 2 * _images(3, 8, 8, 3, seed=2)]

    def replica(images):
      params, statistics = (
          [tf.convert_to_tensor(v.value) for v in variables] for variables in
          (net.trainable_variables, net.non_trainable_variables))
      return net.stateless_call(
          params, statistics, {'image': images}, training=True)[0]

    @tf.function(jit_compile=False)
    def step(images):
      return strategy.run(replica, [images])

    got = step(strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(halves[context.replica_id_in_sync_group])))
    got = np.concatenate(strategy.experimental_local_results(got))

    single = _cifar()
    single.set_weights(net.get_weights())
    parts = [np.concatenate(halves)] if sync else halves
    expected = np.concatenate(
        [single({'image': part}, training=True) for part in parts])
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


class ErrorTest(parameterized.TestCase):

  @parameterized.parameters(
      (dict(depth=21), 'depth=21 .* 6n \\+ 2: give 20 or 26'),
      (dict(depth=2), '6n \\+ 2: give 8 or more'),
      (dict(depth=1, block='bottleneck'), '9n \\+ 2: give 11 or more'),
      (dict(depth=50, block='bottleneck'), '9n \\+ 2: give 47 or 56'),
      (dict(family='imagenet', depth=110),
       'depth=110 .* 18, 34, 50, 101, 152, 200: give 101'),
      (dict(family='cifer'), "family='cifer' .* imagenet, cifar"),
      (dict(version='v3'), "version='v3' .* v1, v1.5, v2"),
      (dict(stem='tiny'), "stem='tiny' .* imagenet, cifar, deep"),
      (dict(shortcut='C'), "shortcut='C' .* A, B, D, none"),
      (dict(block='wide'), "block='wide' .* basic, bottleneck"),
      (dict(version='v2', zero_init_last_gamma=True),
       'gamma=True .* config.model.version=v2, .* config.model.version=v1.5'),
      (dict(shortcut='none', zero_init_last_gamma=True),
       'gamma=True .* config.model.shortcut=none, .* config.model.shortcut=B'),
      (dict(image_shape=(3, 8, 3)), '3 x 8 .* at least 4 x 4 pixels.$'),
      (dict(image_shape=(8, 15, 3), stem='imagenet'),
       '8 x 15 .* at least 16 x 16 pixels, or config.model.stem=cifar'),
      (dict(family='imagenet', depth=18, image_shape=(8, 7, 3)),
       '8 x 7 .* at least 8 x 8'),
      (dict(family='imagenet', depth=18, stem='imagenet',
            image_shape=(31, 32, 3)), '31 x 32 .* at least 32 x 32'))
  def test_error_is_one_sentence_that_says_what_to_give(self, changes, message):
    with self.assertRaisesRegex(UserError, message) as caught:
      _cifar(**changes)
    self.assertNotIn('. ', str(caught.exception))
    self.assertEndsWith(str(caught.exception), '.')

  def test_imagenet_family_takes_32_pixels_and_ignores_the_block(self):
    net = _cifar(family='imagenet', depth=18, stem='imagenet',
                 image_shape=(32, 32, 3), block='bottleneck')
    self.assertEqual(net.get_layer('pool').input.shape[1:], (1, 1, 32))
