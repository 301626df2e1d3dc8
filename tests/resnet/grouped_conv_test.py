"""Convolutions in groups are separate convolutions, on CPUs and on GPUs."""
import collections
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from configs.process import python_module
from resnet.models.layers import Layers, network_input
from tests.resnet import gpu_graphs, small_runs

# Channels, filters, groups, size, stride, (h, w).
_CASES = [(6, 6, 3, 3, 1, (5, 4)), (8, 4, 2, 3, 2, (7, 6)),
          (4, 8, 4, 3, 2, (6, 5)), (6, 4, 2, 1, 1, (3, 3))]


def _layer(filters, groups, size=3, stride=1, dtype='float32', on_gpus=False,
           shape=(5, 4, 6)):
  """Returns a model of one convolution, as networks have it."""
  layers = Layers(0.9, 1e-5, False, dtype, on_gpus=on_gpus)
  image = network_input('image', shape)
  y = layers.conv(image, 'conv', filters, size, stride, groups)
  return tf.keras.Model(image, y)


def _normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _by_hand(x, kernel, dy, stride):
  """Returns (values, gradients for x and kernel) of zero-padded windows.

  Output channel o of group g sees the g-th share of the input's channels.
  """
  size, _, of_group, filters = kernel.shape
  groups = x.shape[-1] // of_group
  pad = size // 2
  padded = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)]).astype(float)
  y = np.zeros(dy.shape)
  dpadded, dkernel = np.zeros_like(padded), np.zeros(kernel.shape)
  height, width = dy.shape[1:3]
  for i in range(size):
    for j in range(size):
      rows = slice(i, i + stride * (height - 1) + 1, stride)
      columns = slice(j, j + stride * (width - 1) + 1, stride)
      for o in range(filters):
        g = o // (filters // groups)
        channels = slice(g * of_group, (g + 1) * of_group)
        window = padded[:, rows, columns, channels]
        weights = kernel[i, j, :, o]
        y[..., o] += window @ weights
        dkernel[i, j, :, o] = np.einsum('bhwc,bhw->c', window, dy[..., o])
        dpadded[:, rows, columns, channels] += (
            dy[..., o, np.newaxis] * weights)
  end = (x.shape[1] + pad, x.shape[2] + pad)
  return y, dpadded[:, pad:end[0], pad:end[1]], dkernel


@pytest.mark.parametrize('jit', [False, True])
@pytest.mark.parametrize('channels, filters, groups, size, stride, image',
                         _CASES)
def test_values_and_gradients_by_hand(
    channels, filters, groups, size, stride, image, jit):
  model = _layer(filters, groups, size, stride, shape=(*image, channels))
  kernel = _normal(size, size, channels // groups, filters, seed=1)
  assert model.layers[-1].kernel.shape == kernel.shape
  x = _normal(2, *image, channels)
  dy = _normal(2, *(-(-side // stride) for side in image), filters, seed=2)

  @tf.function(jit_compile=jit, autograph=False)
  def run(x, kernel, dy):
    with tf.GradientTape() as tape:
      tape.watch([x, kernel])
      y, _ = model.stateless_call([kernel], [], x)
    return y, *tape.gradient(y, [x, kernel], dy)

  for got, expected in zip(run(*map(tf.constant, (x, kernel, dy))),
                           _by_hand(x, kernel, dy, stride), strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def _operations(on_gpus):
  """Counts the convolutions of a layer of 3 groups and its gradients."""
  model = _layer(6, 3, on_gpus=on_gpus)

  def run(x, kernel):
    with tf.GradientTape() as tape:
      tape.watch([x, kernel])
      y, _ = model.stateless_call([kernel], [], x)
    return tape.gradient(y, [x, kernel])

  graph = gpu_graphs.Graph.of(
      tf.function(run, autograph=False).get_concrete_function(
          tf.TensorSpec([2, 5, 4, 6]), tf.TensorSpec([3, 3, 2, 6])))
  return collections.Counter(node.op for node in gpu_graphs.nodes(graph)
                             if node.op.startswith('Conv2D'))


def test_gpus_have_a_gradient_of_their_own():
  assert _operations(on_gpus=True) == {
      'Conv2D': 1, 'Conv2DBackpropInput': 1, 'Conv2DBackpropFilter': 1}
  assert _operations(on_gpus=False) == {
      'Conv2D': 1, 'Conv2DBackpropInput': 3, 'Conv2DBackpropFilter': 3}


_WITHOUT_ONEDNN = """
import tensorflow as tf
from resnet.models import grouped_conv

x, kernel = tf.ones([1, 4, 4, 4]), tf.ones([3, 3, 2, 4])
for convolve in (grouped_conv._convolve_in_parts, grouped_conv._convolve):
  with tf.GradientTape() as tape:
    tape.watch(kernel)
    y = convolve(x, kernel, [1, 1, 1, 1], 'SAME')
  print(tf.reduce_sum(tape.gradient(y, kernel)).numpy(), flush=True)
"""


@pytest.mark.slow
def test_it_needs_no_onednn_and_tensorflow_does():
  done = subprocess.run(
      [sys.executable, '-c', _WITHOUT_ONEDNN],
      env=python_module.environment(os.environ | {
          'TF_ENABLE_ONEDNN_OPTS': '0'}),
      capture_output=True, text=True, check=False)
  # 4 output channels, each of which sees 2 channels of ones through 9 places of
  # a kernel: 4 of them meet 3 x 3 pixels, 4 meet 3 x 4 and one meets 4 x 4.
  assert done.stdout.split() == [str(4 * 2 * (4 * 9 + 4 * 12 + 16.0))]
  assert 'grouped convolutions are not supported on CPU' in done.stderr


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_low_precision_is_close_to_float32(dtype):
  small_runs.skip_unless_cpu_convolves(dtype)
  results = {}
  x, kernel = _normal(2, 5, 4, 6), _normal(3, 3, 2, 6, seed=1)
  for policy in ('float32', f'mixed_{dtype}'):
    model = _layer(6, 3, dtype=policy)
    model.layers[-1].kernel.assign(kernel)
    with tf.GradientTape() as tape:
      y = model(x)
      loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
    results[policy] = [y, tape.gradient(loss, model.layers[-1].kernel.value)]
  wide, low = results.values()
  assert low[0].dtype == dtype and low[1].dtype == tf.float32
  for got, expected in zip(low, wide):
    np.testing.assert_allclose(tf.cast(got, tf.float32), expected, rtol=0,
                               atol=0.02 * np.abs(expected).max())


def test_initial_weights_have_the_variance_of_he_et_al():
  """2 / (9 filters), as torchvision's and the authors' ResNeXt have it."""
  kernel = _layer(256, 32, shape=(4, 4, 256)).layers[-1].get_weights()[0]
  assert kernel.var() * 9 * 256 / 2 == pytest.approx(
      1, abs=5 * np.sqrt(2 / kernel.size))
