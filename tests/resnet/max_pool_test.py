"""Max-pooling for --deterministic is TensorFlow's, but for ties."""
import json
import os
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs.process import python_module
from resnet.models import classics, max_pool, resnet
from tests.resnet import classics_test, gpu_graphs, resnet_test

_DTYPES = ('float32', 'bfloat16', 'float16')
# (size, stride, padding), images of [h, w].
_WINDOWS = [
    ((3, 2, 'valid'), (9, 9)), ((3, 2, 'valid'), (10, 7)),
    ((2, 2, 'valid'), (8, 5)), ((3, 1, 'same'), (5, 6)),
    ((3, 2, 'same'), (7, 8)), ((2, 3, 'same'), (7, 5)),
    ((1, 2, 'valid'), (5, 5)), ((5, 1, 'valid'), (5, 7))]


def _distinct(shape, dtype, seed):
  """Returns numbers around zero of which no two are equal, also in 16 bits."""
  size = np.prod(shape)
  numbers = np.random.default_rng(seed).permutation(size).astype(np.uint16)
  bits = 0x3800 + numbers + 0x8000 * (numbers % 2)
  half = 'float16' if dtype == 'float16' else 'bfloat16'
  return tf.reshape(tf.cast(tf.bitcast(bits, half), dtype), shape)


def _pooled(function, x, dy):
  """Returns (values, gradient) of a function of x."""
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = function(x)
  if dy is None:
    dy = np.random.default_rng(1).normal(size=y.shape)
  return y, tape.gradient(y, x, tf.cast(dy, y.dtype))


def _ours(size, stride, padding):
  return lambda x: max_pool.max_pool(
      x, (size, size), (stride, stride), padding)


def _tensorflows(size, stride, padding):
  return lambda x: tf.nn.max_pool2d(x, size, stride, padding.upper())


def _bits(values):
  return [value.numpy().tobytes() for value in values]


@pytest.mark.parametrize('dtype', _DTYPES)
@pytest.mark.parametrize('window, image', _WINDOWS)
def test_values_and_gradients_are_those_of_tensorflow(window, image, dtype):
  x = _distinct((2, *image, 3), dtype, seed=0)
  assert len(np.unique(x.numpy())) == x.numpy().size
  expected = _pooled(_tensorflows(*window), x, None)
  found = _pooled(_ours(*window), x, None)
  assert np.any(found[1] != 0)
  assert _bits(found) == _bits(expected)
  compiled = tf.function(
      lambda x: _pooled(_ours(*window), x, None), jit_compile=True)
  if dtype == 'float32':  # XLA adds 16-bit numbers in 32 bits.
    assert _bits(compiled(x)) == _bits(expected)
  else:
    np.testing.assert_allclose(*(
        tf.cast(pooled[1], 'float32') for pooled in (compiled(x), expected)),
        rtol=0.02, atol=0.02)


def _gradient(rows, window, dy):
  """Returns the gradient of one image of one channel, as rows."""
  x = tf.constant(rows, tf.float32)[None, :, :, None]
  _, dx = _pooled(_ours(*window), x, tf.reshape(
      tf.constant(dy, tf.float32), [1, *np.shape(dy), 1]))
  return dx.numpy()[0, :, :, 0].tolist()


def test_of_equal_pixels_the_first_one_counts():
  # Windows of 2 x 2 side by side: 5 in the last place, then 7 twice.
  assert _gradient([[0, 0, 1, 7], [0, 5, 7, 1]], (2, 2, 'valid'),
                   [[10, 20]]) == [[0, 0, 0, 20], [0, 10, 0, 0]]
  # Windows of 3 x 3 that overlap in the column of 2s.
  assert _gradient([[0, 0, 2, 0, 0], [0, 0, 2, 0, 0], [0, 0, 2, 0, 0]],
                   (3, 2, 'valid'), [[10, 20]]) == [
                       [0, 0, 30, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
  # All pixels are equal: the first of each window.
  assert _gradient([[3, 3, 3], [3, 3, 3]], (2, 1, 'valid'), [[1, 2]]) == [
      [1, 2, 0], [0, 0, 0]]


def test_what_is_outside_of_the_image_does_not_count():
  """Also where all pixels are negative."""
  x = -_distinct((1, 3, 3, 1), 'float32', seed=0) - 10
  y, dx = _pooled(_ours(3, 1, 'same'), x, np.ones((1, 3, 3, 1)))
  assert np.max(y) < -9 and np.sum(dx) == 9


@pytest.mark.parametrize('broken', [0, 4, 8])
def test_nan_does_not_disappear(broken):
  x = np.zeros((1, 3, 3, 1), np.float32)
  x.flat[broken] = np.nan
  assert np.isnan(_ours(3, 1, 'valid')(tf.constant(x)))


@pytest.mark.parametrize('dtype', _DTYPES)
def test_it_runs_on_gpus_without_xla(dtype):
  """As synchronized batch norm needs it."""
  function = tf.function(lambda x: _pooled(_ours(3, 1, 'same'), x, None))
  graph = gpu_graphs.Graph.of(
      function.get_concrete_function(tf.TensorSpec([2, 5, 5, 3], dtype)))
  assert {'StridedSliceGrad', 'PadV2'} <= {
      node.op for node in gpu_graphs.nodes(graph)}
  assert not gpu_graphs.without_kernel(graph)


def _pools(net):
  return {type(layer) for layer in net.layers
          if isinstance(layer, keras.layers.MaxPooling2D)}


def _networks():
  """Yields (name, function of keywords that builds it)."""
  for name in classics.NAMES:
    yield name, lambda name=name, **changes: classics_test._build(
        name, **changes)
  yield 'resnet', lambda **changes: resnet.build(**{
      **resnet_test._IMAGENET, 'image_shape': (32, 48, 3), 'depth': 18,
      'width': 4, 'num_classes': 10, **changes})


_NETWORKS = dict(_networks())


def _gradients(net):
  offered = {'image': np.random.default_rng(0).normal(
      size=(2, *net.input['image'].shape[1:])), 'position': np.arange(2)}
  inputs = {name: tf.constant(offered[name], x.dtype)
            for name, x in net.input.items()}
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(net(inputs, training=True)[:, :3] ** 2)
  return tape.gradient(loss, net.trainable_variables)


@pytest.mark.parametrize('name', _NETWORKS)
def test_networks_differ_in_nothing_else(name):
  """Even their ties do not matter: a ReLU passes no gradient at zero."""
  usual, net = _NETWORKS[name](), _NETWORKS[name](deterministic=True)
  assert _pools(usual) == {keras.layers.MaxPooling2D}
  assert _pools(net) == {max_pool.MaxPool}
  assert [layer.name for layer in net.layers] == [
      layer.name for layer in usual.layers]
  assert [v.path for v in net.variables] == [v.path for v in usual.variables]
  net.set_weights(usual.get_weights())
  assert _bits(_gradients(net)) == _bits(_gradients(usual))


def test_images_of_several_sizes_are_accepted():
  net = _NETWORKS['resnet'](any_size=True, deterministic=True)
  for side in (32, 47):
    assert net({'image': tf.ones([2, side, side, 3])}).shape == (2, 10)


_REFUSED = 'GPU MaxPool gradient ops do not yet have a deterministic XLA'


@pytest.mark.slow
def test_every_network_compiles_for_gpus_where_it_must_be_deterministic():
  cases = [f'{name}/float32/True' for name in _NETWORKS]
  cases += [f'{name}/{precision}/True' for name in ('resnet', 'everything')
            for precision in _DTYPES[name == 'resnet':]]
  usual = [f'{name}/float32/False' for name in ('resnet', 'baseline')]
  done = subprocess.run(
      python_module.command('tests.resnet.deterministic_lowering')
      + tuple(cases + usual), env=python_module.environment(os.environ),
      capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  found = [json.loads(line) for line in done.stdout.splitlines()]
  for case, result in zip(cases, found):
    assert result.get('lines', 0) > 100, (case, result)
    assert not result['dynamic'] and not result['custom'], case
  # Else this file would have no purpose.
  assert [_REFUSED in result.get('error', '')
          for result in found[len(cases):]] == [True, True]
