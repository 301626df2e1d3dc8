"""Averages follow the weights as their decay says."""
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from resnet.optimization import averages


def _after(updates, value=1.0, **ema):
  average = [tf.constant(0.0)]
  for step in range(updates):
    average = averages.update(
        average, [tf.constant(value)], tf.constant(step, tf.int64),
        ema=schema.Ema(**ema))
  return float(average[0])


@pytest.mark.parametrize('updates', [1, 2, 10])
def test_a_constant_is_reached_exponentially(updates):
  """From 0 to 1 with decay d: 1 - d ** n after n updates."""
  np.testing.assert_allclose(
      _after(updates, decay=0.9, warmup=False), 1 - 0.9**updates, rtol=1e-5)


def test_the_warmup_follows_quickly():
  # Decays 1/10, 2/11, 3/12: what is left of the 0 is their product.
  np.testing.assert_allclose(
      _after(3, decay=0.9999), 1 - (1 / 10) * (2 / 11) * (3 / 12), rtol=1e-5)
  # Never above the decay itself.
  np.testing.assert_allclose(_after(2, decay=0.05), 1 - 0.05**2, rtol=1e-5)


def test_no_averages_stay_none():
  assert averages.update([], [tf.constant(1.0)], tf.constant(0, tf.int64),
                         ema=schema.Ema()) == []
