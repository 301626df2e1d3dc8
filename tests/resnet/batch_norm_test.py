"""Batch norm by hand in float64, against Keras's, and as XLA lowers it."""
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet.models.batch_norm import BatchNorm
from tests.resnet import small_runs

_SHAPE = (4, 3, 5, 6)
_MOMENTUM, _EPSILON = 0.75, 1e-3


def _draw(seed):
  return np.random.default_rng(seed).normal(size=_SHAPE)


def _layer(dtype='float32', make=BatchNorm):
  """Returns a layer whose variables all have different values."""
  layer = make(momentum=_MOMENTUM, epsilon=_EPSILON, dtype=dtype, name='bn')
  layer.build(_SHAPE)
  rng = np.random.default_rng(7)
  layer.set_weights([rng.uniform(0.5, 2, _SHAPE[-1]) for _ in layer.weights])
  return layer


def _apply(layer, x, dy, jit=False, training=True):
  """Returns (y, dx, dgamma, dbeta, moving mean, moving variance), float32."""
  trained = [v.value for v in layer.trainable_variables]
  moving = [v.value for v in layer.non_trainable_variables]

  @tf.function(jit_compile=jit)
  def run(x, dy, trained, moving):
    with tf.GradientTape() as tape:
      tape.watch((x, trained))
      y, new = layer.stateless_call(trained, moving, x, training=training)
    return y, *tf.nest.flatten(
        tape.gradient(y, (x, trained), tf.cast(dy, y.dtype))), *new

  arguments = (tf.cast(x, layer.compute_dtype), tf.cast(dy, tf.float32),
               [tf.convert_to_tensor(v) for v in trained],
               [tf.convert_to_tensor(v) for v in moving])
  return [tf.cast(value, tf.float32).numpy() for value in run(*arguments)]


def _by_hand(layer, x, dy):
  """The same in float64, from the formulas of the paper, section 3."""
  gamma, beta, moving_mean, moving_variance = (
      w.astype(np.float64) for w in layer.get_weights())
  axes = (0, 1, 2)
  mean, variance = x.mean(axes), x.var(axes)
  scale = 1 / np.sqrt(variance + _EPSILON)
  normal = (x - mean) * scale
  dx = gamma * scale * (
      dy - dy.mean(axes) - normal * (dy * normal).mean(axes))
  return [gamma * normal + beta, dx, (dy * normal).sum(axes), dy.sum(axes),
          0.75 * moving_mean + 0.25 * mean,
          0.75 * moving_variance + 0.25 * variance]


@pytest.mark.parametrize('jit', [False, True])
def test_training_equals_the_formulas(jit):
  x, dy = 3 * _draw(0) + 5, _draw(1)
  layer = _layer()
  for found, expected in zip(_apply(layer, x, dy, jit), _by_hand(layer, x, dy),
                             strict=True):
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize('dtype, bits', [
    ('mixed_bfloat16', 8), ('mixed_float16', 11)])
def test_only_the_images_are_rounded_in_low_precision(dtype, bits):
  small_runs.skip_unless_cpu_convolves(dtype.removeprefix('mixed_'))
  layer = _layer(dtype)
  # Numbers that it represents: all that is rounded is y, dx and dy.
  x, dy = (tf.cast(tf.cast(draw, layer.compute_dtype), tf.float64).numpy()
           for draw in (3 * _draw(0) + 5, _draw(1)))
  y, dx, *others = _apply(layer, x, dy)
  expected_y, expected_dx, *expected = _by_hand(layer, x, dy)
  for found, value in ((y, expected_y), (dx, expected_dx)):
    np.testing.assert_allclose(found, value, rtol=2.0**-bits, atol=1e-4)
  for found, value in zip(others, expected, strict=True):
    np.testing.assert_allclose(found, value, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize('dtype', [
    'float32', 'mixed_bfloat16', 'mixed_float16'])
def test_it_stands_in_for_keras_layer(dtype):
  """A model's file of weights fits both."""
  small_runs.skip_unless_cpu_convolves(dtype.removeprefix('mixed_'))
  own, keras_ = (_layer(dtype, make) for make in (
      BatchNorm, keras.layers.BatchNormalization))
  assert [v.path for v in own.weights] == [v.path for v in keras_.weights]
  assert [v.dtype for v in own.weights] == ['float32'] * 4
  x, dy = _draw(0), _draw(1)
  tolerance = 1e-5 if dtype == 'float32' else 0.02
  for training in (False, True):
    for found, expected in zip(
        _apply(own, x, dy, training=training),
        _apply(keras_, x, dy, training=training), strict=True):
      np.testing.assert_allclose(found, expected, tolerance, tolerance)


def test_moving_statistics_by_hand():
  """Values 1, 2, 3, 6: mean 3, biased variance (4 + 1 + 0 + 9) / 4 = 3.5."""
  layer = BatchNorm(0.5, 1e-3)
  layer(tf.reshape([1.0, 2.0, 3.0, 6.0], (2, 1, 2, 1)), training=True)
  np.testing.assert_allclose(layer.moving_mean, [1.5])  # From 0.
  np.testing.assert_allclose(layer.moving_variance, [(1 + 3.5) / 2], rtol=1e-6)


def test_one_value_has_no_variance():
  layer = BatchNorm(0.5, 1e-3)
  y = layer(tf.reshape([7.0], (1, 1, 1, 1)), training=True)
  np.testing.assert_array_equal(y, [[[[0.0]]]])
  np.testing.assert_allclose(layer.moving_variance, [0.5])


def test_evaluation_by_hand_changes_nothing():
  layer = BatchNorm(0.5, 0.0)
  layer.build((1, 1, 1, 1))
  layer.set_weights([np.array([v]) for v in (3.0, 0.5, 2.0, 4.0)])
  y = layer(tf.reshape([6.0], (1, 1, 1, 1)), training=False)
  np.testing.assert_allclose(y, [[[[3 * (6 - 2) / 2 + 0.5]]]])
  assert [w.item() for w in layer.get_weights()] == [3.0, 0.5, 2.0, 4.0]


def test_a_frozen_layer_keeps_its_statistics():
  layer = _layer()
  layer.trainable = False
  before, x = layer.get_weights(), tf.cast(_draw(0), tf.float32)
  np.testing.assert_array_equal(
      layer(x, training=True), layer(x, training=False))
  for old, new in zip(before, layer.get_weights(), strict=True):
    np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize('platform', ['CPU', 'GPU'])
@pytest.mark.parametrize('dtype', ['float32', 'mixed_bfloat16'])
def test_xla_lowers_it_to_plain_operations(platform, dtype):
  """Statistics in float32, and no call of a library that XLA cannot fuse."""
  layer = _layer(dtype)
  trained, moving = ([tf.convert_to_tensor(v.value) for v in variables]
                     for variables in (layer.trainable_variables,
                                       layer.non_trainable_variables))

  @tf.function(jit_compile=True)
  def gradients(x, trained, moving):
    with tf.GradientTape() as tape:
      tape.watch((x, trained))
      y, new = layer.stateless_call(trained, moving, x, training=True)
      loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 3)
    return tape.gradient(loss, (x, trained)), new

  x = tf.cast(_draw(0), layer.compute_dtype)
  text = gradients.experimental_get_compiler_ir(x, trained, moving)(
      'hlo', platform_name=platform)
  assert 'custom-call' not in text
  norms = re.findall(r'= \((\w+)\[.*\) batch-norm-\w+', text)
  assert norms == ['f32'] * 2 or (not norms and 'reduce(' in text), text
