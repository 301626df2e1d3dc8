"""Decides which examples make up a batch: a pure function of (seed, step).

1. Positions 0, 1, 2, ... run through all epochs without a gap. Global batch s
   consists of the positions [s * n, (s + 1) * n).
2. Replica r of R, counted over all workers, takes the contiguous slice
   [s * n + r * n / R, s * n + (r + 1) * n / R).
3. Position p holds example permutation(seed, p // size)(p % size).

The permutation is computed for one position at a time, by a keyed block cipher
(Black and Rogaway 2002). Nothing is stored or shuffled, so starting at any step
costs as much as starting at the first.
"""
import tensorflow as tf

# tf.random.experimental.index_shuffle uses 4 rounds, which leave neighbors in
# the order visibly correlated. 8 rounds do not.
_ROUNDS = 8
_SALT = 0x0DDE5


def replica_positions(step: tf.Tensor, replica: tf.Tensor, *, replicas: int,
                      global_batch: int) -> tf.Tensor:
  """Returns the positions of one replica's share of a global batch.

  Args:
    step: int64 scalar, from 0.
    replica: int64 scalar in [0, replicas), over all workers in rank order.
    replicas: over all workers; divides global_batch.
    global_batch: n.

  Returns:
    int64 [b], b = global_batch / replicas.
  """
  replica_batch = global_batch // replicas
  first = step * global_batch + replica * replica_batch
  return first + tf.range(replica_batch, dtype=tf.int64)


def distinct(positions: tf.Tensor, *, global_batch: int,
             repeats: int) -> tf.Tensor:
  """Maps positions to those of the stream in which no example is repeated.

  Repeated augmentation (Hoffer et al. 2020, arXiv:1901.09335): a global batch
  is `repeats` copies of global_batch / repeats examples, one copy after
  another, so that mixup, which pairs neighbors, pairs different examples.

  Args:
    positions: int64 [b], from 0.
    global_batch: n, divisible by repeats.
    repeats: at least 1.

  Returns:
    int64 [b].
  """
  part = global_batch // repeats
  place = tf.math.floormod(positions, global_batch)
  return positions // global_batch * part + tf.math.floormod(place, part)


def examples(positions: tf.Tensor, *, size: int, seed: int) -> tf.Tensor:
  """Returns the examples at `positions` of the training stream.

  Args:
    positions: int64 [b], from 0.
    size: examples in the training split, at least 1.
    seed: of the run, in [0, 2**32).

  Returns:
    int64 [b], each in [0, size): each example exactly once in an epoch.
  """
  if size == 1:  # The cipher needs at least two elements.
    return tf.zeros_like(positions)
  epoch = positions // size
  keys = tf.stack([
      tf.fill(tf.shape(positions), tf.constant(seed, tf.int64)),
      epoch,
      tf.fill(tf.shape(positions), tf.constant(_SALT, tf.int64))], axis=1)
  return tf.raw_ops.RandomIndexShuffle(
      index=tf.math.floormod(positions, size), seed=keys,
      max_index=tf.constant(size - 1, tf.int64), rounds=_ROUNDS)


def digest(positions: tf.Tensor) -> tf.Tensor:
  """Returns numbers whose sums over sets of positions tell the sets apart.

  Args:
    positions: int64 [b], from 0.

  Returns:
    float32 [3], whole numbers: sums over up to 65,536 positions are exact, in
    any order and over any replicas.
  """
  scattered = _splitmix(positions)
  return tf.stack([
      tf.reduce_sum(tf.cast(
          tf.bitwise.bitwise_and(tf.bitwise.right_shift(scattered, shift), 255),
          tf.float32))
      for shift in (0, 8, 16)])


def _splitmix(positions):
  """Returns the 64-bit numbers of SplitMix64 with seed 0, int64 [b].

  Steele et al. 2014, "Fast splittable pseudorandom number generators". Unlike
  RandomIndexShuffle it is made of operations that GPUs have.
  """
  mixed = (positions + 1) * _signed(0x9E3779B97F4A7C15)
  mixed = _folded(mixed, 30) * _signed(0xBF58476D1CE4E5B9)
  mixed = _folded(mixed, 27) * _signed(0x94D049BB133111EB)
  return _folded(mixed, 31)


def _folded(values, shift):
  """Returns values ^ (values >> shift), where zeros are shifted in."""
  shifted = tf.bitwise.bitwise_and(
      tf.bitwise.right_shift(values, shift), 2**(64 - shift) - 1)
  return tf.bitwise.bitwise_xor(values, shifted)


def _signed(word):
  """Returns the int64 constant with the bits of a 64-bit word."""
  return tf.constant(word - 2**64, tf.int64)
