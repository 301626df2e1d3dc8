"""What networks have beyond those of He et al.: weights, values, places."""
import dataclasses
import functools

from absl.testing import parameterized
import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from pipelines import salts, threefry
from resnet import network
from resnet.models import resnet
from resnet.models.blur_pool import BlurPool
from resnet.models.stochastic_depth import StochasticDepth
from tests.resnet import gpu_graphs, small_runs
from tests.resnet.resnet_test import (
  _cifar,
  _IMAGENET,
  _images,
  _outputs,
  _randomize,
  _trainable,
)

EVERYTHING = dict(
    stem='deep', shortcut='D', squeeze_excite=4, blur_pool=True,
    stochastic_depth=0.3, dropout=0.2)


def _draw(position, salt, shape):
  return threefry.uniform(5, position, salt, shape)


_DRAWS = dict(draw_skips=_draw, draw_dropout=functools.partial(
    lambda position, salt, shape: _draw(position, 99 + salt, shape)))


def _everything(**changes):
  """A network with everything on; groups=2 and inner_width need bottlenecks."""
  return _cifar(**EVERYTHING | _DRAWS | dict(
      block='bottleneck', depth=11, version='v1.5', image_shape=(16, 16, 3),
      groups=2, inner_width=2) | changes)


def _bottlenecks(counts, inner_width=1, groups=1):
  """Returns the weights of a network of bottlenecks, layer by layer."""
  total = 7 * 7 * 3 * 64 + 2 * 64 + 2048 * 1000 + 1000  # Stem, classifier.
  before = 64
  for count, width in zip(counts, (64, 128, 256, 512), strict=True):
    inner, after = inner_width * width, 4 * width
    total += before * after + 2 * after  # Projection.
    for _ in range(count):
      total += before * inner + 2 * inner  # 1x1, norm.
      total += 3 * 3 * (inner // groups) * inner + 2 * inner
      total += inner * after + 2 * after
      before = after
  return total


_SE_50 = sum(  # Two dense layers through a 16th of a block's channels.
    count * (2 * c * (c // 16) + c // 16 + c)
    for count, c in ((3, 256), (4, 512), (6, 1024), (3, 2048)))
_DEEP = (3 * 9 * 32 + 32 * 9 * 32 + 32 * 9 * 64 + 2 * 32 + 2 * 32
         - 7 * 7 * 3 * 64)  # What three convolutions have more than the 7x7.
_50, _101 = (3, 4, 6, 3), (3, 4, 23, 3)
# Fields, the weights as timm and torchvision have them, and by hand.
_PUBLISHED = [
    pytest.param(dict(groups=32, inner_width=2), 25_028_904,
                 _bottlenecks(_50, 2, 32), id='ResNeXt-50 32x4d'),
    pytest.param(dict(depth=101, groups=32, inner_width=4), 88_791_336,
                 _bottlenecks(_101, 4, 32), id='ResNeXt-101 32x8d',
                 marks=pytest.mark.slow),
    pytest.param(dict(inner_width=2), 68_883_240, _bottlenecks(_50, 2),
                 id='Wide ResNet-50-2', marks=pytest.mark.slow),
    pytest.param(dict(depth=101, inner_width=2), 126_886_696,
                 _bottlenecks(_101, 2), id='Wide ResNet-101-2',
                 marks=pytest.mark.slow),
    pytest.param(dict(squeeze_excite=16), 28_088_024,
                 _bottlenecks(_50) + _SE_50, id='SE-ResNet-50'),
    pytest.param(dict(stem='deep', shortcut='D'), 25_576_264,
                 _bottlenecks(_50) + _DEEP, id='ResNet-50-D')]


@pytest.mark.parametrize('fields, published, by_hand', _PUBLISHED)
def test_weights_as_published_and_by_hand(fields, published, by_hand):
  assert published == by_hand
  assert _trainable(resnet.build(**_IMAGENET | dict(
      version='v1.5', image_shape=(32, 32, 3)) | fields)) == published


def test_nothing_is_added_by_default():
  names = {layer.name for layer in _cifar().layers}
  assert not [name for name in names if any(
      part in name for part in ('_se', 'blur', 'skip', 'dropout', 'mean'))]
  assert list(_cifar().input) == ['image']


class DeepStemTest(parameterized.TestCase):

  def test_three_convolutions_of_which_the_first_has_the_stride(self):
    net = resnet.build(**_IMAGENET | dict(
        stem='deep', depth=18, width=10, num_classes=7))
    found = [(layer.name, layer.strides, layer.kernel.shape,
              layer.output.shape[1:]) for layer in net.layers
             if isinstance(layer, keras.layers.Conv2D)][:3]
    self.assertEqual(found, [
        ('stem_conv1', (2, 2), (3, 3, 3, 5), (112, 112, 5)),
        ('stem_conv2', (1, 1), (3, 3, 5, 5), (112, 112, 5)),
        ('stem_conv3', (1, 1), (3, 3, 5, 10), (112, 112, 10))])
    self.assertEqual([layer.name for layer in net.layers][1:13], [
        'stem_conv1_pad', 'stem_conv1', 'stem_bn1', 'stem_relu1', 'stem_conv2',
        'stem_bn2', 'stem_relu2', 'stem_conv3', 'stem_bn3', 'stem_relu3',
        'stem_pool_pad', 'stem_pool'])
    self.assertEqual(net.get_layer('stem_pool').output.shape[1:], (56, 56, 10))

  def test_half_of_an_odd_width_is_rounded_up(self):
    net = _cifar(stem='deep', width=1, image_shape=(16, 16, 3))
    self.assertEqual(net.get_layer('stem_conv2').output.shape[-1], 1)


class ShortcutDTest(parameterized.TestCase):

  @parameterized.parameters('v1', 'v1.5', 'v2')
  def test_mean_of_four_pixels_then_projection(self, version):
    net = _cifar(shortcut='D', version=version, image_shape=(8, 7, 3))
    _randomize(net)
    before = 'stage2_block1_relu1' if version == 'v2' else 'stage1_block1_out'
    x, pooled, projected = _outputs(
        net, [before, 'stage2_block1_shortcut_pool',
              'stage2_block1_shortcut_conv'], _images(2, 8, 7, 3))
    # Of the last column there is only one: what is outside does not count.
    expected = np.stack([np.stack([
        x[:, i:i + 2, j:j + 2].mean((1, 2)) for j in (0, 2, 4, 6)], 1)
                         for i in (0, 2, 4, 6)], 1)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
    kernel = net.get_layer('stage2_block1_shortcut_conv').get_weights()[0]
    np.testing.assert_allclose(projected, expected @ kernel[0, 0], rtol=1e-4,
                               atol=1e-5)

  def test_weights_are_those_of_b(self):
    d, b = (_cifar(shortcut=shortcut, block='bottleneck', depth=11)
            for shortcut in 'DB')
    self.assertEqual([v.path for v in d.variables],
                     [v.path for v in b.variables])
    pools = [layer.name for layer in d.layers
             if isinstance(layer, keras.layers.AveragePooling2D)]
    self.assertEqual(pools, [  # Not in the first stage, which has no stride.
        f'stage{s}_block1_shortcut_pool' for s in (2, 3)])


class SqueezeExciteTest(parameterized.TestCase):

  @parameterized.parameters(('v1', 'bn2'), ('v2', 'conv2'))
  def test_channels_are_scaled_before_the_addition(self, version, last):
    net = _cifar(version=version, squeeze_excite=3, depth=14)
    name = 'stage2_block2'
    _randomize(net)
    x, scaled, shortcut, out = _outputs(
        net, [f'{name}_{last}', f'{name}_se', 'stage2_block1_out',
              f'{name}_out'], _images(2, 8, 8, 3))
    w1, b1, w2, b2 = (
        weight for part in ('reduce', 'expand')
        for weight in net.get_layer(f'{name}_se_{part}').get_weights())
    self.assertEqual(w1.shape, (8, 2))  # 8 channels // 3.
    hidden = np.maximum(x.mean((1, 2)) @ w1 + b1, 0)
    gate = 1 / (1 + np.exp(-(hidden @ w2 + b2)))
    self.assertGreater(gate.std(), 0.01)
    expected = x * gate[:, None, None]
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-5)
    total = expected + shortcut
    if version == 'v1':
      total = np.maximum(total, 0)
    np.testing.assert_allclose(out, total, rtol=1e-4, atol=1e-5)

  def test_biases_start_at_zero(self):
    net = _cifar(squeeze_excite=2)
    for part in ('reduce', 'expand'):
      self.assertFalse(
          net.get_layer(f'stage1_block1_se_{part}').get_weights()[1].any())


def _blurred(x, stride):
  """Returns the binomial filter of 3 x 3 on the reflected image, by hand."""
  padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], 'reflect')
  weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
  rows, columns = (range(0, side, stride) for side in x.shape[1:3])
  return np.stack([np.stack([
      np.einsum('bijc,ij->bc', padded[:, r:r + 3, c:c + 3], weights)
      for c in columns], 1) for r in rows], 1)


class BlurPoolTest(parameterized.TestCase):

  @parameterized.parameters(
      ((8, 8), 2), ((7, 6), 2), ((2, 3), 2), ((7, 8), 3), ((4, 5), 1))
  def test_values_by_hand(self, image, stride):
    x = _images(2, *image, 3)
    layer = BlurPool(stride)
    y = layer(x)
    np.testing.assert_allclose(y, _blurred(x, stride), rtol=1e-5, atol=1e-6)
    self.assertEqual(layer.compute_output_shape(x.shape), y.shape)
    self.assertEqual(layer.compute_output_shape((None, None, 5, 3)),
                     (None, None, -(-5 // stride), 3))

  def test_a_constant_stays(self):
    np.testing.assert_array_equal(
        BlurPool(2)(np.full((1, 6, 5, 2), 3.0)), np.full((1, 3, 3, 2), 3))

  @parameterized.parameters(
      ('v1', 'basic', 1), ('v1', 'bottleneck', 1), ('v1.5', 'bottleneck', 2),
      ('v2', 'bottleneck', 2), ('v2', 'basic', 1))
  def test_it_takes_the_stride_after_the_relu(self, version, block, strided):
    net = _cifar(version=version, block=block, blur_pool=True, stem='imagenet',
                 depth={'basic': 8, 'bottleneck': 11}[block],
                 image_shape=(17, 16, 3))
    self.assertEqual(
        {layer.name for layer in net.layers if hasattr(layer, 'strides')
         and layer.strides not in (1, (1, 1))}, {'stem_conv'})
    found = {}
    for layer in net.layers:
      if isinstance(layer, BlurPool):
        self.assertEqual(layer.stride, 2)
        found[layer.name] = (
            layer.input._keras_history.operation.name,
            {node.operation.name for node in layer._outbound_nodes})
    self.assertEqual(found.pop('stem_blur')[0], 'stem_pool')
    places = {}
    for s in (2, 3):
      name = f'stage{s}_block1'
      before = f'stage{s - 1}_block1_out'
      places |= {
          f'{name}_blur{strided}': (
              f'{name}_relu{strided + (version == "v2")}',
              {f'{name}_conv{strided + 1}'}),
          f'{name}_shortcut_blur': (
              f'{name}_relu1' if version == 'v2' else before,
              {f'{name}_shortcut_conv'})}
    self.assertEqual(found, places)
    self.assertEqual(net.get_layer('pool').input.shape[1:3], (2, 1))

  def test_shortcut_a_is_blurred_and_d_keeps_its_mean(self):
    net = _cifar(blur_pool=True, shortcut='A')
    x, shortcut = _outputs(
        net, ['stage1_block1_out', 'stage2_block1_shortcut'],
        _images(2, 8, 8, 3))
    np.testing.assert_allclose(
        shortcut, np.pad(_blurred(x, 2), [(0, 0)] * 3 + [(0, 4)]), rtol=1e-4,
        atol=1e-5)
    names = {layer.name for layer in _cifar(blur_pool=True,
                                            shortcut='D').layers}
    self.assertIn('stage2_block1_blur1', names)
    self.assertIn('stage2_block1_shortcut_pool', names)
    self.assertNotIn('stage2_block1_shortcut_blur', names)


class StochasticDepthTest(parameterized.TestCase):

  def test_rates_grow_linearly_to_that_of_the_last_block(self):
    net = _cifar(stochastic_depth=0.3, depth=14, **_DRAWS)
    skips = [layer for layer in net.layers
             if isinstance(layer, StochasticDepth)]
    # Huang et al. 2016, equation 4: block l of L survives with 1 - l / L (1 -
    # p_L).
    np.testing.assert_allclose(
        [layer.rate for layer in skips], [0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
    self.assertEqual([layer.salt for layer in skips], [1, 2, 3, 4, 5, 6])
    self.assertEqual([layer.name for layer in skips], [
        f'stage{s}_block{b}_skip' for s in (1, 2, 3) for b in (1, 2)])

  def test_examples_are_dropped_or_scaled_by_what_their_position_draws(self):
    x, position = _images(4000, 2, 2, 3), np.arange(4000, dtype=np.int64)
    layer = StochasticDepth(0.25, _draw, salt=3)
    kept = _draw(tf.constant(position), 3, ()).numpy() >= 0.25
    y = layer(x, position, training=True).numpy()
    np.testing.assert_array_equal(
        y, np.where(kept[:, None, None, None], x / np.float32(0.75), 0))
    # A binomial share; what is kept makes up for it.
    self.assertAlmostEqual(kept.mean(), 0.75, delta=5 * np.sqrt(3 / 16 / 4000))
    other = StochasticDepth(0.25, _draw, salt=4)(x, position, training=True)
    self.assertGreater(np.mean((other.numpy() == 0) != (y == 0)), 0.3)

  def test_an_example_is_treated_the_same_in_every_batch(self):
    x, position = _images(64, 2, 2, 3), np.arange(1000, 1064)
    layer = StochasticDepth(0.5, _draw, salt=1)
    whole = layer(x, position, training=True).numpy()
    order = np.random.default_rng(1).permutation(64)
    np.testing.assert_array_equal(
        layer(x[order], position[order], training=True), whole[order])
    np.testing.assert_array_equal(
        layer(x[7:8], position[7:8], training=True), whole[7:8])

  def test_evaluation_changes_nothing(self):
    plain = _cifar()
    net = _cifar(stochastic_depth=0.9, dropout=0.9, **_DRAWS)
    values = {v.path: v.numpy() for v in plain.variables}
    self.assertEqual({v.path for v in net.variables}, values.keys())
    for v in net.variables:
      v.assign(values[v.path])
    images = _images(2, 8, 8, 3)
    np.testing.assert_array_equal(
        net({'image': images, 'position': np.arange(2)}, training=False),
        plain({'image': images}, training=False))

  @parameterized.parameters('v1', 'v2')
  def test_what_is_dropped_is_the_block_without_its_shortcut(self, version):
    net = _cifar(stochastic_depth=0.9, depth=14, version=version,
                 squeeze_excite=2, **_DRAWS)
    name = 'stage3_block2'
    before, se, skip, after = (
        net.get_layer(layer).output for layer in (
            'stage3_block1_out', f'{name}_se', f'{name}_skip', f'{name}_out'))
    inner = keras.Model(net.input, [before, se, skip, after])
    values = inner({'image': _images(40, 8, 8, 3),
                    'position': np.arange(40)}, training=True)
    before, se, skip, after = map(np.array, values)
    dropped = _draw(tf.range(40, dtype=tf.int64), 6, ()).numpy() < 0.9
    self.assertGreater(dropped.sum(), 20)
    self.assertLess(dropped.sum(), 40)
    np.testing.assert_array_equal(after[dropped], before[dropped])
    np.testing.assert_allclose(skip[~dropped], se[~dropped] / 0.1, rtol=1e-4)


class DropoutTest(parameterized.TestCase):

  def test_it_stands_between_pooling_and_the_last_layer(self):
    net = _cifar(dropout=0.4, **_DRAWS)
    layer = net.get_layer('dropout')
    self.assertEqual(layer.rate, 0.4)
    self.assertIs(layer.input[0], net.get_layer('pool').output)
    self.assertIs(net.get_layer('logits').input, layer.output)
    self.assertEqual(list(net.input), ['image', 'position'])


@pytest.mark.slow
class EverythingTest(parameterized.TestCase):

  @parameterized.parameters('v1', 'v1.5', 'v2')
  def test_it_trains_in_any_size_and_names_are_unique(self, version):
    net = _everything(version=version, image_shape=(17, 18, 3), any_size=True)
    paths = [v.path for v in net.variables]
    self.assertLen(set(paths), len(paths))
    self.assertEqual(net.get_layer('stage1_block1_conv2').kernel.shape,
                     (3, 3, 4, 8))
    for side in (17, 32):
      with tf.GradientTape() as tape:
        logits = net({'image': _images(8, side, 18, 3),
                      'position': np.arange(8)}, training=True)
        loss = tf.reduce_sum(logits ** 2)
      gradients = tape.gradient(loss, net.trainable_variables)
      self.assertTrue(all(np.isfinite(g).all() for g in gradients))
      self.assertTrue(all(np.any(g) for v, g in zip(
          net.trainable_variables, gradients) if 'kernel' in v.path))

  @parameterized.parameters('mixed_bfloat16', 'mixed_float16')
  def test_mixed_precision_keeps_weights_and_logits_in_float32(self, dtype):
    small_runs.skip_unless_cpu_convolves(dtype.removeprefix('mixed_'))
    net = _everything(dtype=dtype)
    compute = {layer.compute_dtype for layer in net.layers
               if layer.name not in ('image', 'position', 'logits')}
    self.assertEqual(compute, {dtype.removeprefix('mixed_')})
    self.assertEqual({v.dtype for v in net.variables}, {'float32'})
    logits = net({'image': _images(4, 16, 16, 3), 'position': np.arange(4)},
                 training=True)
    self.assertEqual(logits.dtype, tf.float32)
    self.assertTrue(np.isfinite(logits).all())

  @parameterized.parameters('float32', 'bfloat16', 'float16')
  def test_it_runs_on_gpus_without_xla(self, dtype):
    """As synchronized batch norm needs it."""
    policy = dtype if dtype == 'float32' else f'mixed_{dtype}'
    net = _everything(dtype=policy, on_gpus=True)

    def gradients(params, statistics, image, position):
      with tf.GradientTape() as tape:
        tape.watch(params)
        logits, _ = net.stateless_call(
            params, statistics, {'image': image, 'position': position},
            training=True)
      return tape.gradient(logits, params)

    graph = gpu_graphs.Graph.of(
        tf.function(gradients, autograph=False).get_concrete_function(
            *([tf.TensorSpec(v.shape) for v in variables] for variables in (
                net.trainable_variables, net.non_trainable_variables)),
            tf.TensorSpec([4, 16, 16, 3]), tf.TensorSpec([4], tf.int64)))
    self.assertLessEqual(
        {'MirrorPadGrad', 'AvgPoolGrad'},
        {node.op for node in gpu_graphs.nodes(graph)})
    self.assertFalse(gpu_graphs.without_kernel(graph))


_RUN = schema.Model(
    family='cifar', block='bottleneck', depth=11, version='v1.5', width=4,
    groups=2, inner_width=2, **EVERYTHING)


class RunTest(parameterized.TestCase):
  """With the random numbers of runs."""

  def test_each_use_has_salts_of_its_own(self):
    self.assertLess(salts.DROPOUT + 500, salts.STOCHASTIC_DEPTH)
    blocks = (2000 - 2) // 6 * 3  # Of the deepest network in schema.Model.
    self.assertLess(salts.STOCHASTIC_DEPTH + blocks, 2**16)  # threefry.uniform.

  def test_numbers_are_a_function_of_seed_and_position(self):
    config = small_runs.config(model=_RUN, seed=7)
    net = network.build_model(config, (16, 16, 1), 2)
    position = tf.constant([3, 2**33], tf.int64)
    for name, salt in (('dropout', salts.DROPOUT),
                       ('stage1_block1_skip', salts.STOCHASTIC_DEPTH + 1),
                       ('stage3_block1_skip', salts.STOCHASTIC_DEPTH + 3)):
      layer = net.get_layer(name)
      np.testing.assert_array_equal(
          layer.draw(position, layer.salt, (5,)),
          threefry.uniform(7, position, salt, (5,)))

  @pytest.mark.slow
  def test_one_and_two_devices_agree_and_so_does_xla(self):
    small_runs.skip_if_onednn_is_wrong()
    synchronized = small_runs.config(
        model=dataclasses.replace(_RUN, sync_batch_norm=True))
    for config, ways in ((synchronized, ((1, 'false'), (2, 'false'))),
                         (small_runs.config(model=_RUN),
                          ((2, 'false'), (2, 'true')))):
      (one, _, sums), (other, _, others) = (
          small_runs.train(config, replicas, jit=jit, side=16, updates=1)
          for replicas, jit in ways)
      self.assertAlmostEqual(sums['loss'], others['loss'], delta=1e-4)
      for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, err_msg=a.path)


class ErrorTest(parameterized.TestCase):

  @parameterized.parameters(
      (dict(groups=2), 'groups=2 needs .* config.model.block=bottleneck.$'),
      (dict(inner_width=2, family='imagenet', depth=18,
            image_shape=(32, 32, 3)),
       'inner_width=2 needs .* set it to 1, or give config.model.depth=50.$'),
      (dict(block='bottleneck', depth=11, groups=3),
       'groups=3 does not divide the 4 channels .* a divisor of 4'),
      (dict(block='bottleneck', depth=11, groups=16, inner_width=2),
       'groups=16 does not divide the 8 channels .*width=4 .*inner_width=2'),
      (dict(squeeze_excite=5), 'excite=5 .* the 4 channels .* at most 4'),
      (dict(squeeze_excite=17, block='bottleneck', depth=11),
       'excite=17 .* the 16 channels .* at most 16'),
      (dict(stochastic_depth=0.25, shortcut='none'),
       'depth=0.25 does not .*shortcut=none, .* config.model.shortcut=B'))
  def test_error_is_one_sentence_that_says_what_to_give(self, changes, message):
    with self.assertRaisesRegex(UserError, message) as caught:
      _cifar(**changes)
    self.assertNotIn('. ', str(caught.exception))
    self.assertEndsWith(str(caught.exception), '.')

  def test_random_numbers_must_be_given(self):
    net = _cifar(dropout=0.5)
    with self.assertRaisesRegex(TypeError, 'needs draw_skips and draw_dropout'):
      net({'image': _images(2, 8, 8, 3), 'position': np.arange(2)},
          training=True)
