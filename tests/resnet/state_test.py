"""A digest of a state tells copies apart that differ in a single bit."""
import numpy as np
import pytest
import tensorflow as tf

from resnet import network
from resnet import state as state_lib
from tests.resnet import small_runs, strategies


def _build(replicas):
  return network.build(small_runs.config(), strategies.on_cpus(replicas),
                       small_runs.random_source(11))[1]


def _flip(copy, number, bit):
  """Flips one bit of one number of a replica's copy of a variable."""
  values = np.atleast_1d(copy.numpy())
  words = values.view(f'u{values.itemsize}').ravel()
  words[number % len(words)] ^= words.dtype.type(1 << bit)
  copy.assign(tf.reshape(tf.constant(values), copy.shape))


@pytest.mark.parametrize('replica', [
    0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_every_flipped_bit_changes_the_digest_of_its_replica(replica):
  state = _build(3)
  equal = state_lib.digests(state)
  assert len(equal) == 3 and len(set(equal)) == 1
  rng = np.random.default_rng(replica)
  for path, variable in state.paths.items():
    copy = variable.values[replica]
    number = int(rng.integers(2**31))
    for bit in (0, 8 * copy.dtype.size - 1):
      _flip(copy, number, bit)
      digests = state_lib.digests(state)
      assert [digest == equal[0] for digest in digests] == [
          r != replica for r in range(3)], (path, bit)
      _flip(copy, number, bit)
  assert state_lib.digests(state) == equal


def test_swapped_values_change_the_digest():
  state = _build(1)
  before, kernel = state_lib.digests(state), state.params[0]
  values = kernel.numpy()
  swapped = values.copy()
  swapped[0, 0, 0, :2] = values[0, 0, 0, 1::-1]
  kernel.assign(swapped)
  assert state_lib.digests(state) != before
  kernel.assign(values)
  assert state_lib.digests(state) == before


def test_one_process_has_one_digest_of_the_same_content():
  alone, of_two = state_lib.digests(_build(1)), state_lib.digests(_build(2))
  assert len(alone) == 1 and of_two == 2 * alone
