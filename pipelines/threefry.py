"""Random numbers that are a pure function of (key, counter).

Threefry-2x32 with 20 rounds: Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3", section 3.3. TensorFlow's stateless generators take one seed
per call. Here every example of a batch has its own key, so that its numbers do
not depend on the batch, replica or worker in which it is processed. Only
integer operations are used: the bits are the same eagerly, in graphs and under
XLA.
"""
from collections.abc import Sequence
import math

import tensorflow as tf

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def threefry(key: tuple[tf.Tensor, tf.Tensor],
             counter: tuple[tf.Tensor, tf.Tensor]
             ) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns two words of random bits, uint32, for each (key, counter).

  Args:
    key, counter: pairs of uint32 tensors; all four broadcast together.
  """
  k0, k1 = key
  parity = k0 ^ k1  # pyright: ignore[reportOperatorIssue]
  schedule = (k0, k1, parity ^ _word(_PARITY))
  x0, x1 = counter[0] + k0, counter[1] + k1
  for round_index in range(20):
    rotation = _ROTATIONS[round_index % 8]
    x0 = x0 + x1
    x1 = x0 ^ tf.bitwise.bitwise_or(
        tf.bitwise.left_shift(x1, _word(rotation)),
        tf.bitwise.right_shift(x1, _word(32 - rotation)))
    if round_index % 4 == 3:
      turn = round_index // 4 + 1
      x0 = x0 + schedule[turn % 3]
      x1 = x1 + schedule[(turn + 1) % 3] + _word(turn)
  return x0, x1


def uniform(seed: int, position: tf.Tensor, salt: int,
            shape: Sequence[int]) -> tf.Tensor:
  """Returns uniform numbers in [0, 1), keyed by (seed, salt, position).

  Args:
    seed: of the run, in [0, 2**32).
    position: int64 [b], below 2**48.
    salt: in [0, 2**16), different for each use; see salts.py.
    shape: of the numbers for one position.

  Returns:
    float32 [b, *shape], multiples of 2**-24.
  """
  numbers = math.prod(shape)
  pairs = (numbers + 1) // 2
  low = tf.cast(position & 0xFFFFFFFF, tf.uint32)[:, tf.newaxis]
  high = tf.cast(position // 2**32, tf.uint32)[:, tf.newaxis]
  element = tf.cast(tf.range(pairs), tf.uint32)[tf.newaxis]
  bits = threefry((_word(seed), _word(salt) + high * _word(2**16)),
                  (low, element))
  bits = tf.reshape(tf.stack(bits, -1), [-1, 2 * pairs])[:, :numbers]
  top = tf.cast(tf.bitwise.right_shift(bits, _word(8)), tf.int32)
  return tf.reshape(tf.cast(top, tf.float32) * 2.0**-24, [-1, *shape])


def _word(value):
  return tf.constant(value, tf.uint32)
