"""Random numbers that are a pure function of (key, counter).

Threefry-2x32 with 20 rounds: Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3", section 3.3. TensorFlow's stateless generators take one seed a
call; here every example of a batch has its own, so that what is drawn for it
does not depend on the batch, replica or worker it is computed in. Integer
operations only: the same bits eagerly, in graphs, and compiled by XLA.
"""
import tensorflow as tf

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def threefry(key, counter):
  """Two words of random bits for each (key, counter).

  Args:
    key: pair of uint32 tensors.
    counter: pair of uint32 tensors; all four broadcast against each other.

  Returns:
    Pair of uint32 tensors of the broadcast shape.
  """
  k0, k1 = key
  schedule = (k0, k1, k0 ^ k1 ^ tf.constant(_PARITY, tf.uint32))
  x0, x1 = counter[0] + k0, counter[1] + k1
  for round_index in range(20):
    rotation = _ROTATIONS[round_index % 8]
    x0 = x0 + x1
    x1 = x0 ^ tf.bitwise.bitwise_or(
        tf.bitwise.left_shift(x1, tf.constant(rotation, tf.uint32)),
        tf.bitwise.right_shift(x1, tf.constant(32 - rotation, tf.uint32)))
    if round_index % 4 == 3:
      turn = round_index // 4 + 1
      x0 = x0 + schedule[turn % 3]
      x1 = x1 + schedule[(turn + 1) % 3] + tf.constant(turn, tf.uint32)
  return x0, x1


def uniform(seed, position, salt, shape):
  """Uniform numbers in [0, 1) keyed by (seed, salt, position).

  Args:
    seed: Python int in [0, 2**32), the run's.
    position: int64 [b], below 2**48.
    salt: Python int in [0, 2**31), another for each use; 0 is not reserved.
    shape: tuple of Python ints, of at most 2**16 * 2 numbers an example.

  Returns:
    float32 [b, *shape], multiples of 2**-24.
  """
  numbers = 1
  for size in shape:
    numbers *= size
  pairs = (numbers + 1) // 2
  if pairs > 2**16:
    raise ValueError(f'shape {shape} asks for more than 2**17 numbers.')
  low = tf.cast(position & 0xFFFFFFFF, tf.uint32)[:, None]
  high = tf.cast(position // 2**32, tf.uint32)[:, None]
  element = tf.range(pairs, dtype=tf.int32)
  element = tf.cast(element, tf.uint32)[None, :]
  bits = threefry(
      (tf.constant(seed, tf.uint32), tf.constant(salt, tf.uint32)),
      (low, high * tf.constant(2**16, tf.uint32) + element))
  bits = tf.reshape(tf.stack(bits, -1), [-1, 2 * pairs])[:, :numbers]
  top = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)),
                tf.int32)
  return tf.reshape(tf.cast(top, tf.float32) * 2.0**-24, [-1, *shape])
