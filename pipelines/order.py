"""Which examples make up a batch: a pure function of (seed, step).

1. Positions 0, 1, 2, ... run through all epochs without a gap; global batch s
   is positions [s * n, (s + 1) * n).
2. Replica r of R, counted over all workers, takes the contiguous slice
   [s * n + r * n / R, s * n + (r + 1) * n / R).
3. Position p stands for example permutation(seed, p // size)(p % size).

The permutation is computed a position at a time (a keyed block cipher, Black
and Rogaway 2002), so nothing is stored or shuffled and any step is as near as
the first.
"""
import tensorflow as tf

# tf.random.experimental.index_shuffle has 4 rounds, and neighbours in its
# order are visibly correlated; 8 rounds are clean.
_ROUNDS = 8
_SALT = 0x0DDE5


def replica_positions(step, replica, *, replicas, global_batch):
  """The positions of one replica's share of a global batch.

  Args:
    step: int64 scalar, from 0.
    replica: int64 scalar in [0, replicas), over all workers in rank order.
    replicas: Python int, over all workers; divides global_batch.
    global_batch: Python int n.

  Returns:
    int64 [b], b = global_batch / replicas.
  """
  replica_batch = global_batch // replicas
  first = step * global_batch + replica * replica_batch
  return first + tf.range(replica_batch, dtype=tf.int64)


def distinct(positions, *, global_batch, repeats):
  """Positions of the stream without repeats that `positions` stand for.

  Repeated augmentation (Hoffer et al. 2020, arXiv:1901.09335): a global batch
  is `repeats` copies of global_batch / repeats examples, one after another, so
  that the neighbours that mixup pairs are two examples.

  Args:
    positions: int64 [b], from 0.
    global_batch: Python int n, divisible by repeats.
    repeats: Python int, at least 1.

  Returns:
    int64 [b].
  """
  part = global_batch // repeats
  return positions // global_batch * part + positions % global_batch % part


def examples(positions, *, size, seed):
  """The examples that stand at `positions` of the training stream.

  Args:
    positions: int64 [b], from 0.
    size: Python int, examples in the training split, at least 1.
    seed: Python int in [0, 2**32), the run's.

  Returns:
    int64 [b], each in [0, size): over one epoch, each exactly once.
  """
  if size == 1:  # The cipher needs two elements at least.
    return tf.zeros_like(positions)
  epoch = positions // size
  keys = tf.stack([
      tf.fill(tf.shape(positions), tf.constant(seed, tf.int64)),
      epoch,
      tf.fill(tf.shape(positions), tf.constant(_SALT, tf.int64))], axis=1)
  return tf.raw_ops.RandomIndexShuffle(
      index=positions % size, seed=keys, max_index=tf.constant(
          size - 1, tf.int64), rounds=_ROUNDS)


def digest(positions):
  """Numbers whose sum over a set of positions tells that set from others.

  Args:
    positions: int64 [b], from 0.

  Returns:
    float32 [3], of whole numbers: sums over up to 65,536 positions, in any
    order and over any replicas, are exact.
  """
  scattered = examples(positions, size=2**24, seed=_SALT)
  return tf.stack([
      tf.reduce_sum(tf.cast(scattered // 2**shift % 2**8, tf.float32))
      for shift in (0, 8, 16)])
