"""Every epoch is a permutation; global batches do not depend on hardware."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines import order


def _examples(first, last, size, seed=0):
  positions = tf.range(first, last, dtype=tf.int64)
  return order.examples(positions, size=size, seed=seed).numpy()


@pytest.mark.parametrize('size', [1, 2, 3, 11, 64, 1437])
def test_every_epoch_is_a_permutation(size):
  stream = _examples(0, 4 * size, size).reshape(4, size)
  np.testing.assert_array_equal(np.sort(stream, axis=1),
                                np.tile(np.arange(size), (4, 1)))


def test_epochs_and_seeds_have_different_orders():
  stream = _examples(0, 3000, 1000).reshape(3, 1000)
  other_seed = _examples(0, 1000, 1000, seed=1)
  orders = {row.tobytes() for row in (*stream, other_seed)}
  assert len(orders) == 4


def test_an_example_does_not_depend_on_where_reading_starts():
  far = 10_000_000 * 128
  np.testing.assert_array_equal(
      _examples(far, far + 256, 50_000)[128:],
      _examples(far + 128, far + 256, 50_000))


def test_neighbours_in_the_order_are_uncorrelated():
  size = 50_000
  stream = _examples(0, size, size).astype(float)
  for lag in (1, 2, 3):
    correlation = np.corrcoef(stream[:-lag], stream[lag:])[0, 1]
    # Four rounds of the cipher give -0.06, 13 standard errors.
    assert abs(correlation) < 4 / size**0.5


@pytest.mark.parametrize('replicas', [1, 2, 4])
def test_replicas_share_the_positions_of_the_global_batch(replicas):
  step = tf.constant(7, tf.int64)
  shares = [
      order.replica_positions(step, tf.constant(r, tf.int64),
                              replicas=replicas, global_batch=8).numpy()
      for r in range(replicas)]
  np.testing.assert_array_equal(np.concatenate(shares), np.arange(56, 64))
  assert {len(share) for share in shares} == {8 // replicas}


def test_digests_add_up_and_look_random():
  of = lambda positions: order.digest(tf.constant(positions, tf.int64)).numpy()
  whole = of(range(70_000_000_000, 70_000_000_128))
  parts = [of(range(70_000_000_000 + start, 70_000_000_000 + start + 32))
           for start in (96, 0, 64, 32)]
  np.testing.assert_array_equal(sum(parts), whole)
  # Sums of 128 bytes: mean 128 * 127.5, standard deviation 73.9 * 128**0.5.
  assert all(abs(whole - 128 * 127.5) < 5 * 836)


def test_digests_are_bytes_of_splitmix64():
  """The first numbers of splitmix64.c (Vigna 2015) with seed 0."""
  for position, number in enumerate((
      0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F,
      0xF88BB8A8724C81EC)):
    np.testing.assert_array_equal(
        order.digest(tf.constant([position], tf.int64)),
        list(number.to_bytes(8, 'little')[:3]))


def test_digests_of_single_positions_differ():
  @tf.function  # Called eagerly, 10,000 digests would take 10 s.
  def digests(positions):
    return tf.map_fn(lambda position: order.digest(position[None]), positions,
                     fn_output_signature=tf.float32)

  singles = digests(tf.range(10_000, dtype=tf.int64)).numpy()
  # By chance, 3 of 10,000 positions share one of 2**24 values.
  assert len({tuple(digest) for digest in singles}) > 9_990
  np.testing.assert_array_equal(
      singles[:128].sum(0), order.digest(tf.range(128, dtype=tf.int64)))


def test_repeats_follow_each_other_within_their_batch():
  # Batches of 6, each example twice: 3 new ones a step.
  distinct = order.distinct(
      tf.range(18, dtype=tf.int64), global_batch=6, repeats=2)
  np.testing.assert_array_equal(
      distinct, [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 6, 7, 8])
  plain = order.distinct(
      tf.range(18, dtype=tf.int64), global_batch=6, repeats=1)
  np.testing.assert_array_equal(plain, np.arange(18))
