"""Random bits: published vectors, and independence of the batch."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines import threefry


def _words(*values):
  return tuple(tf.constant(v, tf.uint32) for v in values)


# kat_vectors of the Random123 library (Salmon et al. 2011), threefry2x32 20.
@pytest.mark.parametrize('key, counter, expected', [
    ((0, 0), (0, 0), (0x6b200159, 0x99ba4efe)),
    ((0xffffffff, 0xffffffff), (0xffffffff, 0xffffffff),
     (0x1cb996fc, 0xbb002be7)),
    ((0x13198a2e, 0x03707344), (0x243f6a88, 0x85a308d3),
     (0xc4923a9c, 0x483df7a0)),
])
@pytest.mark.parametrize('jit', [False, True])
def test_bits_match_published_vectors(key, counter, expected, jit):
  function = tf.function(
      threefry.threefry, jit_compile=jit, autograph=False)
  result = function(_words(*key), _words(*counter))
  assert tuple(int(word) for word in result) == expected


def test_numbers_are_the_top_24_bits_of_the_words_in_turn():
  numbers = threefry.uniform(0, tf.constant([0], tf.int64), 0, (2,))
  expected = [(word >> 8) / 2**24 for word in (0x6b200159, 0x99ba4efe)]
  np.testing.assert_array_equal(numbers, [expected])


def test_an_example_draws_the_same_in_every_batch():
  together = threefry.uniform(3, tf.range(10, dtype=tf.int64), 1, (5, 3))
  alone = threefry.uniform(3, tf.constant([7], tf.int64), 1, (5, 3))
  np.testing.assert_array_equal(together[7:8], alone)
  assert together.shape == (10, 5, 3)


def test_seed_salt_and_position_each_change_the_numbers():
  def draw(seed, position, salt):
    return threefry.uniform(
        seed, tf.constant([position], tf.int64), salt, (8,)).numpy().tobytes()
  draws = {draw(seed, position, salt)
           for seed in (0, 1) for salt in (0, 1)
           for position in (0, 1, 2**32, 2**32 + 1, 2**40)}
  assert len(draws) == 2 * 2 * 5


def test_numbers_are_uniform():
  positions = tf.range(20000, dtype=tf.int64)
  numbers = threefry.uniform(0, positions, 0, (3,)).numpy()
  assert 0 <= numbers.min() and numbers.max() < 1
  # Mean and variance of the uniform distribution, within 5 standard errors.
  np.testing.assert_allclose(numbers.mean(0), 1 / 2,
                             atol=5 * (1 / 12 / 2e4)**.5)
  np.testing.assert_allclose(numbers.var(0), 1 / 12,
                             atol=5 * (1 / 180 / 2e4)**.5)
  correlation = np.corrcoef(numbers.T)[np.triu_indices(3, 1)]
  assert np.abs(correlation).max() < 5 / 2e4**.5
