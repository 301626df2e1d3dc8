"""Gradients are summed in the precision of the config, all else in float32."""
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from resnet.distribution.packing import Packing
from tests.resnet import small_runs

_PARAMS = [tf.Variable(tf.zeros(shape)) for shape in ((3, 2), (), (4,))]
_STATISTICS = [tf.Variable(tf.zeros(shape)) for shape in ((5,), (1, 2))]


def _packing(**kwargs):
  return Packing.of(_PARAMS, _STATISTICS, **kwargs)


def _values(seed):
  """Returns gradients, statistics and sums of one replica: whole numbers."""
  rng = np.random.default_rng(seed)
  draw = lambda shape: tf.constant(
      rng.integers(-8, 9, shape), tf.float32)
  return ([draw(p.shape) for p in _PARAMS],
          [draw(s.shape) for s in _STATISTICS], draw((6,)))


@pytest.mark.parametrize('precision, pack_mib, vectors', [
    ('float32', 0, 1), ('bfloat16', 0, 2), ('float16', 0, 2),
    ('float32', 1, 2)])
def test_what_is_unpacked_is_the_sum_and_the_average(
    precision, pack_mib, vectors):
  packing = _packing(replicas=2, precision=precision, pack_mib=pack_mib)
  replicas = [_values(seed) for seed in (0, 1)]
  packed = [packing.pack(*values) for values in replicas]
  assert [len(one) for one in packed] == [vectors, vectors]
  assert packed[0][0].dtype == precision and packed[0][-1].dtype == 'float32'
  gradients, statistics, sums = packing.unpack(
      [a + b for a, b in zip(*packed, strict=True)])
  (g0, s0, v0), (g1, s1, v1) = replicas
  for got, a, b in zip(gradients, g0, g1, strict=True):
    assert got.dtype == 'float32'
    np.testing.assert_array_equal(got, a + b)  # Small whole numbers are exact.
  for got, a, b in zip(statistics, s0, s1, strict=True):
    np.testing.assert_array_equal(got, (a + b) / 2)
  np.testing.assert_array_equal(sums, v0 + v1)


def test_packs_have_at_most_their_size():
  weights = tf.Variable(tf.zeros([2**18 + 5]))
  for precision, sizes in (('float32', [2**18, 5]), ('float16', [2**18 + 5])):
    packing = Packing.of([weights], [], replicas=2, precision=precision,
                         pack_mib=1)
    gradient = tf.range(2**18 + 5, dtype=tf.float32)
    packed = packing.pack([gradient], [], tf.zeros([3]))
    assert [v.shape[0] for v in packed] == [*sizes, 3]
    (unpacked,), _, _ = packing.unpack(packed)
    np.testing.assert_array_equal(
        unpacked, tf.cast(tf.cast(gradient, precision), tf.float32))


def test_one_replica_copies_nothing():
  values = _values(0)
  packed = _packing(replicas=1, precision='bfloat16').pack(*values)
  flat = tf.nest.flatten(values)
  assert all(a is b for a, b in zip(packed, flat, strict=True))


def _trained(scale=None, **settings):
  """Returns (weights, loss scale) after an update on two replicas."""
  config = small_runs.config(model=schema.Model(name='baseline'), **settings)
  model, state, train = small_runs.build(
      config, 2, small_runs.random_source(37))
  if scale:
    state.loss_scale.assign(scale)
  before = [v.numpy() for v in model.trainable_variables]
  train(0, 1, stop=False)
  return (before, [v.numpy() for v in model.trainable_variables],
          float(state.loss_scale.numpy()))


@pytest.mark.slow
@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_a_sum_in_low_precision_trains_close_to_float32(precision):
  before, exact, _ = _trained()
  _, close, scale = _trained(reduce_precision=precision)
  assert scale == (2**15 if precision == 'float16' else 1)
  # Two summands and their sum are rounded to 8 bits at least. The sum may be
  # smaller than its summands, which one update at one rate cannot tell.
  for old, a, b in zip(before, exact, close, strict=True):
    np.testing.assert_allclose(
        a, b, rtol=0, atol=2**-5 * np.abs(a - old).max() + 1e-6)


@pytest.mark.slow
def test_a_sum_that_overflows_float16_changes_only_the_scale():
  before, after, scale = _trained(2.0**40, reduce_precision='float16')
  assert scale == 2.0**39
  for old, new in zip(before, after, strict=True):
    np.testing.assert_array_equal(old, new)
