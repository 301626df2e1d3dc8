"""Gradients of parts add up to those of the whole batch."""
import functools

import numpy as np
import pytest
import tensorflow as tf

from resnet.optimization import accumulation


def _forward_backward(params, statistics, mean, stddev, scale, batch):
  """The gradient of sum(w * x) * scale; a running mean of half of the new one.
  """
  del mean, stddev
  x = tf.cast(batch['image'], tf.float32)
  loss = params[0] * tf.reduce_sum(x)
  return ([tf.reduce_sum(x) * scale],
          [(statistics[0] + tf.reduce_mean(x)) / 2],
          tf.stack([loss, tf.reduce_max(x), tf.cast(x.shape[0], tf.float32)]))


@pytest.mark.parametrize('jit', [False, True])
@pytest.mark.parametrize('parts, statistic', [
    (2, ((0 + 1.5) / 2 + 5.5) / 2),  # Means of (1, 2) and (4, 7).
    (4, (((0 + 1) / 2 + 2) / 2 + 4) / 4 + 7 / 2)])
def test_parts_add_up(parts, statistic, jit):
  batch = {'image': tf.constant([1, 2, 4, 7], tf.uint8),
           'label': tf.zeros([4], tf.int32)}
  function = tf.function(functools.partial(
      accumulation.in_parts, forward_backward=_forward_backward, parts=parts),
                         jit_compile=jit, autograph=False)
  gradients, statistics, sums = function(
      [tf.constant(3.0)], [tf.constant(0.0)], tf.zeros(1), tf.ones(1),
      tf.constant(8.0), batch)
  assert float(gradients[0]) == 14 * 8
  np.testing.assert_allclose(statistics[0], statistic)
  largest = {2: 2 + 7, 4: 14}[parts]
  np.testing.assert_allclose(sums, [3 * 14, largest, 4])
