"""Losses in closed form, and top-k correctness by sorting."""
import math

import numpy as np
import pytest
import tensorflow as tf

from resnet.optimization import losses


def _cross_entropy(logits, labels, label_smoothing=0.0):
  logits = tf.constant(logits, tf.float32)
  target = losses.targets_of(
      tf.constant(labels, tf.int32), logits.shape[-1], label_smoothing)
  return losses.cross_entropy(logits, target).numpy()


def _in_top(logits, labels, k):
  logits = tf.constant(logits, tf.float32)
  return losses.in_top(logits, tf.constant(labels, tf.int32), k).numpy()


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.9])
def test_equal_logits_cost_the_log_of_the_classes(smoothing):
  loss = _cross_entropy(
      [[3.0] * 10, [0.0] * 10], [0, 7], label_smoothing=smoothing)
  np.testing.assert_allclose(loss, [math.log(10)] * 2, rtol=1e-6)


def test_loss_is_minus_the_log_of_the_labels_probability():
  logits = np.log([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
  loss = _cross_entropy(logits, [0, 2, 2])
  assert loss.dtype == np.float32
  np.testing.assert_allclose(
      loss, [math.log(2), math.log(4), -math.log(0.8)], rtol=1e-6)


def test_smoothing_spreads_the_target_over_all_classes():
  # Label 0 has the targets 1 - 0.3 + 0.3 / 3 = 0.8, 0.1, 0.1, and label 1 has
  # 0.1, 0.8, 0.1. The probabilities cost 1, 2 and 2 times ln 2.
  logits = np.log([[0.5, 0.25, 0.25]] * 2)
  loss = _cross_entropy(logits, [0, 1], label_smoothing=0.3)
  np.testing.assert_allclose(
      loss, [1.2 * math.log(2), 1.9 * math.log(2)], rtol=1e-6)


def test_large_logits_do_not_overflow():
  loss = _cross_entropy([[1000.0, 0.0], [1000.0, 0.0]], [0, 1])
  np.testing.assert_allclose(loss, [0, 1000])


@pytest.mark.parametrize('k, correct', [
    (1, [1, 0, 0, 0]), (2, [1, 1, 0, 0]), (3, [1, 1, 1, 0]), (4, [1] * 4),
    (5, [1] * 4)])
def test_in_top_counts_the_classes_before_the_label(k, correct):
  logits = [[1.0, 4.0, 3.0, 2.0]] * 4
  result = _in_top(logits, [1, 2, 3, 0], k)
  assert result.dtype == np.float32
  np.testing.assert_array_equal(result, correct)


def test_among_equal_logits_the_lower_class_ranks_first():
  # A model without an opinion is right about one class of four, not about all.
  logits, labels = [[0.0] * 4] * 4, [0, 1, 2, 3]
  np.testing.assert_array_equal(_in_top(logits, labels, 1), [1, 0, 0, 0])
  np.testing.assert_array_equal(_in_top(logits, labels, 3), [1, 1, 1, 0])


@pytest.mark.parametrize('k', [1, 5])
def test_in_top_agrees_with_sorting(k):
  rng = np.random.default_rng(0)
  logits = rng.integers(0, 8, size=(200, 10)).astype(np.float32)  # With ties.
  labels = rng.integers(0, 10, size=200)
  top = np.argsort(-logits, axis=1, kind='stable')[:, :k]
  expected = (top == labels[:, np.newaxis]).any(axis=1)
  assert 0 < expected.sum() < 200
  np.testing.assert_array_equal(_in_top(logits, labels, k), expected)


@pytest.mark.parametrize('logits, label, correct', [
    ([math.nan, 1.0, 2.0], 0, 0),
    ([math.nan, 1.0, 2.0], 2, 0),
    ([math.nan] * 3, 0, 0),
    ([math.inf] * 3, 1, 0),
    ([math.inf, 1.0, 2.0], 0, 1),
    ([-math.inf, -math.inf, 2.0], 2, 1),
])
def test_logits_that_are_not_finite(logits, label, correct):
  np.testing.assert_array_equal(_in_top([logits], [label], 1), [correct])


def test_binary_cross_entropy_asks_for_each_class():
  logits = tf.constant([[0.0, np.log(3.0)]])  # Probabilities 1/2 and 3/4.
  np.testing.assert_allclose(
      losses.binary_cross_entropy(logits, tf.constant([[1.0, 0.0]])),
      [(np.log(2) + np.log(4)) / 2], rtol=1e-6)
  np.testing.assert_allclose(  # Mixed images and smoothed labels.
      losses.binary_cross_entropy(logits, tf.constant([[1.0, 0.5]])),
      [(np.log(2) + (np.log(4) + np.log(4 / 3)) / 2) / 2], rtol=1e-6)


def test_class_weights_weigh_by_the_target():
  target = tf.constant([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]])
  np.testing.assert_allclose(
      losses.weights_of(target, (1.0, 3.0)), [1, 3, 2.5])
  assert losses.weights_of(target, ()) == 1
