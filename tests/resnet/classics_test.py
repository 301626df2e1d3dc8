"""The classic networks have the tutorials' weights; dropout is by position."""
import functools
import importlib
import inspect

from absl.testing import parameterized
import keras
import numpy as np
import tensorflow as tf

from configs.process.errors import UserError
from resnet.models import classics, dropout
from resnet.models.batch_norm import BatchNorm
from tests.resnet import small_runs

_SMALLEST = {'baseline': 1, 'lenet5': 16, 'alexnet8': 21, 'vgg16': 1,
             'inception10': 1}


def _draw_half(position, salt, shape):
  del salt
  return tf.fill([tf.shape(position)[0], *shape], 0.5)


def _draw_hashed(position, salt, shape):
  """Draws numbers that differ by position, salt and element, compiled or not.
  """
  elements = tf.reshape(tf.range(np.prod(shape), dtype=tf.int64), [1, *shape])
  position = tf.reshape(position, [-1] + [1] * len(shape))
  hashed = (elements + 1009 * position + 31 * salt) ** 2 * 7919 % 65537
  return tf.cast(hashed, tf.float32) / 65537


def _build(name, **changes):
  return classics.build(name, **dict(
      image_shape=(32, 32, 3), num_classes=10, batch_norm_momentum=0.9,
      batch_norm_epsilon=1e-5, sync_batch_norm=False, draw_uniform=_draw_half,
      dtype='float32') | changes)


_built = functools.cache(_build)  # For tests that only look at a network.


def _inputs(net, images=2):
  rng = np.random.default_rng(0)
  offered = {'image': rng.normal(size=(images, *net.input['image'].shape[1:])),
             'position': np.arange(images)}
  return {name: tf.constant(offered[name], x.dtype)
          for name, x in net.input.items()}


def _conv(channels, filters, kernel):
  return kernel * kernel * channels * filters + filters


def _dense(inputs, units):
  return inputs * units + units


def _cell(channels, filters):
  return (4 * _conv(channels, filters, 1) + _conv(filters, filters, 3)
          + _conv(filters, filters, 5))


# Weights without those of batch norm, channels with batch norm, and how many
# weights it has for each of them: 4, or 2 without moving statistics.
_BY_HAND = {
    'baseline': (
        # 32 -> 16 pixels.
        _conv(3, 6, 5) + _dense(16 * 16 * 6, 128) + _dense(128, 10), 6, 4),
    'lenet5': (
        # 32 -> 28 -> 14 -> 10 -> 5 pixels.
        _conv(3, 6, 5) + _conv(6, 16, 5) + _dense(5 * 5 * 16, 120)
        + _dense(120, 84) + _dense(84, 10), 0, 4),
    'alexnet8': (
        # 32 -> 30 -> 14 -> 12 -> 5 -> 2 pixels.
        _conv(3, 96, 3) + _conv(96, 256, 3) + _conv(256, 384, 3)
        + _conv(384, 384, 3) + _conv(384, 256, 3) + _dense(2 * 2 * 256, 2048)
        + _dense(2048, 2048) + _dense(2048, 10), 96 + 256, 4),
    'vgg16': (
        # 32 -> 1 pixel.
        _conv(3, 64, 3) + _conv(64, 64, 3) + _conv(64, 128, 3)
        + _conv(128, 128, 3) + _conv(128, 256, 3) + 2 * _conv(256, 256, 3)
        + _conv(256, 512, 3) + 5 * _conv(512, 512, 3)
        + 2 * _dense(512, 512) + _dense(512, 10),
        2 * 64 + 2 * 128 + 3 * 256 + 6 * 512, 4),
    'inception10': (
        _conv(3, 16, 3) + _cell(16, 16) + _cell(64, 16) + _cell(64, 32)
        + _cell(128, 32) + _dense(128, 10), 16 + 2 * 6 * 16 + 2 * 6 * 32, 2),
}


class NetworkTest(parameterized.TestCase):

  def test_names_are_those_of_the_networks(self):
    self.assertCountEqual(classics.NAMES, _BY_HAND)

  @parameterized.parameters(*_BY_HAND)
  def test_weights_by_hand(self, name):
    weights, normalized, each = _BY_HAND[name]
    net = _built(name)
    trainable = sum(np.prod(v.shape) for v in net.trainable_variables)
    self.assertEqual(trainable, weights + 2 * normalized)
    self.assertEqual(net.count_params(), weights + each * normalized)

  @parameterized.parameters(
      ('baseline', 198_494), ('lenet5', 62_006), ('alexnet8', 9_638_474),
      ('vgg16', 15_253_578), ('inception10', 120_234))
  def test_recipes_state_the_trainable_weights(self, name, weights):
    # The tutorial's summary has the first of them.
    self.assertEqual(sum(np.prod(v.shape)
                         for v in _built(name).trainable_variables), weights)
    recipe = inspect.getdoc(importlib.import_module(
        f'configs.tutorials.cifar10_{name}'))
    self.assertIn(f'{weights:,}', recipe)

  def test_lenet5_has_62006_weights(self):
    # LeCun et al. 1998 with three colors and full connections.
    self.assertEqual(_built('lenet5').count_params(), 62_006)

  @parameterized.parameters(
      ('baseline', ['image', 'position']), ('lenet5', ['image']),
      ('alexnet8', ['image', 'position']), ('vgg16', ['image', 'position']),
      ('inception10', ['image']))
  def test_inputs_and_logits(self, name, inputs):
    small_runs.skip_unless_cpu_convolves('bfloat16')
    net = _build(name, num_classes=7, dtype='mixed_bfloat16')
    self.assertEqual(sorted(net.input), inputs)
    logits = net(_inputs(net, images=3), training=True)
    self.assertEqual((logits.shape, logits.dtype), ((3, 7), tf.float32))
    self.assertGreater(np.std(logits), 0)
    self.assertIs(net.layers[-1].activation, keras.activations.linear)
    self.assertEqual({layer.compute_dtype for layer in net.layers
                      if layer.name not in (*inputs, 'logits')}, {'bfloat16'})

  @parameterized.parameters(*_BY_HAND)
  def test_variable_paths_are_unique_and_the_same_in_two_builds(self, name):
    first, second = ([v.path for v in net.variables]
                     for net in (_built(name), _build(name)))
    self.assertEqual(first, second)
    self.assertLen(set(first), len(first))

  @parameterized.parameters(
      ('baseline', ['relu'] * 2, [0.2, 0.2]),
      ('lenet5', ['sigmoid'] * 4, []),
      ('alexnet8', ['relu'] * 7, [0.5, 0.5]),
      ('vgg16', ['relu'] * 15, [0.2] * 7),
      ('inception10', ['relu'] * 25, []))
  def test_activations_and_dropout_rates(self, name, activations, rates):
    net = _built(name)
    self.assertEqual(
        [layer.activation.__name__ for layer in net.layers[:-1]
         if isinstance(layer, (keras.layers.Activation, keras.layers.Dense))],
        activations)
    self.assertEqual([layer.rate for layer in net.layers
                      if isinstance(layer, dropout.Dropout)], rates)

  def test_inception_cells_have_four_branches(self):
    net = _built('inception10')
    strided = [layer for layer in net.layers
               if isinstance(layer, keras.layers.Conv2D)
               and layer.strides == (2, 2)]
    # The first convolution of each of 4 branches, in 2 cells.
    self.assertEqual([layer.kernel_size for layer in strided], [(1, 1)] * 8)
    cells = [layer.output.shape[1:] for layer in net.layers
             if isinstance(layer, keras.layers.Concatenate)]
    self.assertEqual(cells, [(16, 16, 64)] * 2 + [(8, 8, 128)] * 2)
    pools = [(layer.pool_size, layer.strides) for layer in net.layers
             if isinstance(layer, keras.layers.MaxPooling2D)]
    self.assertEqual(pools, [((3, 3), (1, 1))] * 4)

  @parameterized.parameters(
      ('baseline', [(2, 'same')]), ('lenet5', [(2, 'valid')] * 2),
      ('alexnet8', [(3, 'valid')] * 3), ('vgg16', [(2, 'same')] * 5))
  def test_pools(self, name, pools):
    found = [layer for layer in _built(name).layers
             if isinstance(layer, keras.layers.MaxPooling2D)]
    self.assertEqual([(layer.pool_size[0], layer.padding) for layer in found],
                     pools)
    self.assertEqual({layer.strides for layer in found}, {(2, 2)})

  def test_batch_norm_settings_reach_every_layer(self):
    net = _build('vgg16', sync_batch_norm=True, batch_norm_momentum=0.75,
                 batch_norm_epsilon=0.5)
    norms = [layer for layer in net.layers
             if isinstance(layer, keras.layers.BatchNormalization)]
    self.assertLen(norms, 13)
    self.assertEqual({(n.synchronized, n.momentum, n.epsilon) for n in norms},
                     {(True, 0.75, 0.5)})


class StillBatchNormTest(parameterized.TestCase):

  @parameterized.parameters(False, True)
  def test_is_keras_batch_norm_with_training_false(self, jit_compile):
    keras_layer = keras.layers.BatchNormalization(epsilon=0.5)
    layer = classics.StillBatchNorm(0.5)
    x = tf.random.stateless_normal([3, 4, 5, 2], [0, 0], mean=7.0)
    for made in (keras_layer, layer):
      made.build(x.shape)
      made.gamma.assign([2.0, -3.0])
      made.beta.assign([0.5, 0.25])

    def gradients(layer, **kwargs):
      @tf.function(jit_compile=jit_compile)
      def run(x, gamma, beta):
        with tf.GradientTape() as tape:
          tape.watch((x, gamma, beta))
          y, _ = layer.stateless_call(
              [gamma, beta], layer.non_trainable_variables, x, **kwargs)
          loss = tf.reduce_sum(y ** 2)
        return y, *tape.gradient(loss, (x, gamma, beta))
      return run(x, layer.gamma.value, layer.beta.value)

    for ours, expected in zip(
        gradients(layer), gradients(keras_layer, training=False), strict=True):
      np.testing.assert_allclose(ours, expected, rtol=1e-5)

  def test_inception10_does_not_depend_on_the_batch(self):
    net = _build('inception10')
    self.assertEmpty(net.non_trainable_variables)
    images = tf.random.stateless_normal([4, 32, 32, 3], [0, 0])
    together = net({'image': images}, training=True)
    alone = net({'image': images[:1]}, training=True)
    np.testing.assert_allclose(together[:1], alone, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        together, net({'image': images}, training=False), rtol=1e-5)
    trained = [v for v in net.trainable_variables if v.path.endswith('gamma')]
    self.assertLen(trained, 1 + 4 * 6)


class DropoutTest(parameterized.TestCase):

  def test_mask_by_hand(self):
    def draw(position, salt, shape):
      self.assertEqual((salt, shape), (3, (4,)))
      column = tf.constant([0.0, 0.25, 0.5, 0.75])
      return column + tf.cast(position, tf.float32)[:, None] / 8

    layer = dropout.Dropout(0.5, draw, 3)
    x = tf.constant([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, -7.0, 8.0]])
    # Draws: 0, 0.25, 0.5, 0.75 at position 0; 0.25, 0.5, 0.75, 1 at 2.
    np.testing.assert_array_equal(
        layer(x, tf.constant([0, 2], tf.int64), training=True),
        [[0, 0, 6, 8], [0, 12, -14, 16]])

  def test_keeps_the_mean(self):
    layer = dropout.Dropout(0.2, lambda p, s, shape: tf.reshape(
        tf.range(100.0) / 100, [1, *shape]), 0)
    got = layer(tf.ones([1, 10, 10]), tf.constant([0], tf.int64), training=True)
    # 80 of 100 draws are kept, each as 1 / 0.8.
    np.testing.assert_allclose(np.sum(got), 100, rtol=1e-6)

  @parameterized.parameters(False, None)
  def test_is_the_identity_outside_training(self, training):
    layer = dropout.Dropout(0.5, None, 0)  # A call of None would fail.
    x = tf.constant([[1.0, -2.0]])
    got = layer(x, tf.constant([0], tf.int64), training=training)
    np.testing.assert_array_equal(got, x)

  def test_inference_does_not_draw(self):
    def draw(*_):
      raise AssertionError('Drawn.')

    net = _build('vgg16', draw_uniform=draw)
    self.assertEqual(net(_inputs(net), training=False).shape, (2, 10))

  @parameterized.parameters(('baseline', 2), ('alexnet8', 2), ('vgg16', 7))
  def test_every_layer_has_its_own_salt_and_the_positions(self, name, dropouts):
    calls = []

    def draw(position, salt, shape):
      calls.append((position.numpy().tolist(), salt, len(shape)))
      return _draw_half(position, salt, shape)

    net = _build(name, draw_uniform=draw)
    self.assertEmpty(calls)
    net(_inputs(net), training=True)
    self.assertLen(calls, dropouts)
    self.assertLen({salt for _, salt, _ in calls}, dropouts)
    self.assertEqual({tuple(position) for position, _, _ in calls}, {(0, 1)})

  def test_an_image_drops_the_same_anywhere_in_the_batch(self):
    net = _build('baseline', draw_uniform=_draw_hashed)
    for layer in net.layers:  # Batch norm depends on the whole batch.
      if isinstance(layer, BatchNorm):
        layer.trainable = False
    image = tf.random.stateless_normal([1, 32, 32, 3], [0, 0])
    logits = net({'image': tf.repeat(image, 4, 0),
                  'position': tf.constant([7, 8, 9, 7], tf.int64)},
                 training=True).numpy()
    np.testing.assert_allclose(logits[0], logits[3], rtol=1e-5, atol=1e-6)
    self.assertGreater(np.abs(logits[0] - logits[1]).max(), 1e-3)

  @parameterized.parameters(True, False)
  def test_stateless_compiled_calls_agree_with_eager_ones(self, jit_compile):
    net = _build('baseline', draw_uniform=_draw_hashed)
    expected = net(_inputs(net), training=True)  # Moves statistics only.

    @tf.function(jit_compile=jit_compile)
    def forward(params, statistics, inputs):
      return net.stateless_call(params, statistics, inputs, training=True)

    logits, statistics = forward(
        *([tf.convert_to_tensor(v.value) for v in variables] for variables in (
            net.trainable_variables, net.non_trainable_variables)),
        _inputs(net))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    self.assertLen(statistics, 2)  # Dropout keeps no state.


class ErrorTest(parameterized.TestCase):

  def test_unknown_name_lists_all(self):
    with self.assertRaisesRegex(
        UserError, "name='resnet18' is unknown: choose one of baseline, "
        r'lenet5, alexnet8, vgg16, inception10\.$'):
      _build('resnet18')

  @parameterized.parameters(*_SMALLEST.items())
  def test_smallest_image(self, name, side):
    # By hand, backward from one pixel: lenet5 (1 * 2 + 4) * 2 + 4 = 16;
    # alexnet8 1 -> 3 -> 7 + 2 = 9 -> 19 + 2 = 21.
    net = _build(name, image_shape=(side, side + 1, 1))
    self.assertEqual(net(_inputs(net)).shape, (2, 10))
    with self.assertRaisesRegex(
        UserError, f'{side + 1} x {side - 1} .* {name}: give images of at '
        f'least {side} x {side} pixels') as caught:
      _build(name, image_shape=(side + 1, side - 1, 1))
    self.assertNotIn('. ', str(caught.exception))
