"""Gradients are clipped by norms that can be checked by hand."""
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from resnet.optimization import clipping


def _clip(kind, most, params, gradients, names=('a/kernel', 'b/bias')):
  result = tf.function(lambda *g: clipping.clip(
      [tf.constant(p, tf.float32) for p in params], g, names=names,
      optimizer=schema.Optimizer(clip=kind, clip_at=most)), jit_compile=True)(
          *(tf.constant(g, tf.float32) for g in gradients))
  return [value.numpy() for value in result]


@pytest.mark.parametrize('most, factor', [(13.0, 1), (20.0, 1), (1.3, 0.1)])
def test_norm_bounds_all_gradients_together(most, factor):
  gradients = [[[3.0], [4.0]], [12.0]]  # 3, 4 and 12: a norm of 13.
  after = _clip('norm', most, gradients, gradients)
  for clipped, gradient in zip(after, gradients, strict=True):
    np.testing.assert_allclose(clipped, factor * np.array(gradient), rtol=1e-6)


def test_no_gradients_at_all_stay_zero():
  assert _clip('norm', 1.0, [[1.0]], [[0.0]], ['a'])[0] == 0
  assert _clip('adaptive', 1.0, [[0.0]], [[0.0]], ['a'])[0] == 0


def test_value_bounds_each_number():
  after = _clip('value', 2.0, [[0.0] * 3], [[-3.0, 1.0, 2.5]], ['a'])
  np.testing.assert_allclose(after[0], [-2, 1, 2])


def test_none_changes_nothing():
  assert _clip('none', 0.1, [[0.0]], [[5.0]], ['a'])[0] == 5


def test_adaptive_bounds_each_output_channel_by_its_weights():
  # A dense kernel of two inputs and two units: weights of norm 5 and 0.
  kernel = [[3.0, 0.0], [4.0, 0.0]]
  gradient = [[6.0, 3.0], [8.0, 4.0]]  # Norms 10 and 5.
  bias, its_gradient = [0.6, 0.8], [30.0, 40.0]  # Norms 1 and 50.
  after = _clip('adaptive', 0.2, [kernel, bias], [gradient, its_gradient])
  # At most 0.2 * 5 = 1 of 10; 0.2 * 0.001 of 5, for new units can learn too.
  np.testing.assert_allclose(
      after[0], np.array(gradient) * [0.1, 0.0002 / 5], rtol=1e-5)
  np.testing.assert_allclose(after[1], [0.12, 0.16], rtol=1e-5)


def test_adaptive_takes_a_filter_as_one_unit():
  """[3, 3, 2, 4]: all but the last dimension belong to a unit."""
  kernel = np.ones((3, 3, 2, 4)) * [1, 2, 3, 4]
  gradient = np.ones((3, 3, 2, 4))
  after, = _clip('adaptive', 0.5, [kernel], [gradient], ['a/kernel'])
  np.testing.assert_allclose(
      after, gradient * [0.5, 1, 1, 1], rtol=1e-5)


def test_adaptive_leaves_the_classifier():
  after, = _clip('adaptive', 0.01, [[[1.0]]], [[[7.0]]], ['logits/kernel'])
  assert after == 7
