"""The figures of an update: by hand, on several replicas, and only if asked."""
import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from resnet import compilation
from resnet.distribution.packing import Packing
from resnet.run.measures import update_figures
from tests.resnet import small_runs

# Two weights; their norm is 5. The gradients of the two replicas add up to
# [[3, -4], [12]], times a loss scale of 8: the norm is 13.
_PARAMS = [[[3.0, 0.0]], [4.0]]
_SHARES = ([[8.0, -32.0]], [16.0]), ([[16.0, 0.0]], [80.0])
# The change is [[0, 0.3], [0.4]]: its norm is 0.5, a tenth of 5.
_NEW = [[[3.0, 0.3]], [4.4]]
# Without batch norm, the update does not depend on the replicas.
_CONFIG = small_runs.config(
    model=schema.Model(name='lenet5'),
    optimizer=schema.Optimizer(momentum=0.0, nesterov=False, weight_decay=0.0),
    schedule=schema.Schedule(name='constant', peak=0.25))


def _tensors(values):
  return [tf.constant(value) for value in values]


def _measure(params, new, shares, *, scale=8.0, averages=(), **packed):
  params = _tensors(params)
  packing = Packing.of(
      [tf.Variable(p) for p in params], [], replicas=len(shares), **packed)
  packs = [packing.pack(_tensors(share), [], tf.constant([7.0]))
           for share in shares]
  vectors = [tf.add_n(parts) for parts in zip(*packs, strict=True)]
  return update_figures.named(update_figures.measure(
      params, _tensors(new), _tensors(averages), tf.constant(scale), vectors,
      packing=packing).numpy())


@pytest.mark.parametrize('packed', [
    {}, {'precision': 'bfloat16'}, {'pack_mib': 1}])
def test_the_norms_match_those_by_hand(packed):
  found = _measure(_PARAMS, _NEW, _SHARES, **packed)
  assert found.keys() == {'gradient_norm', 'weight_norm', 'update_ratio'}
  np.testing.assert_allclose(
      [*found.values()], [13, 5, 0.1], rtol=1e-6)


def test_one_replica_has_the_same_norms():
  gradients = [[[24.0, -32.0]], [96.0]]
  found = _measure(_PARAMS, _NEW, [gradients])
  np.testing.assert_allclose([*found.values()], [13, 5, 0.1], rtol=1e-6)


def test_the_distance_of_the_averages_is_that_of_the_new_weights():
  # From [0, 3, 4] to [0, 3, 2], and the average of a batch norm's statistic.
  found = _measure(_PARAMS, [[[0.0, 3.0]], [4.0]], _SHARES,
                   averages=[[[0.0, 3.0]], [2.0], [99.0]])
  assert found['ema_distance'] == pytest.approx(2 / 5)


def test_a_skipped_update_has_no_gradient_and_changes_nothing():
  overflowed = ([[np.inf, 1.0]], [1.0])
  assert _measure(_PARAMS, _PARAMS, [overflowed]) == {
      'weight_norm': 5.0, 'update_ratio': 0.0}


def _norm(arrays):
  return np.sqrt(sum((a.astype(np.float64)**2).sum() for a in arrays))


def _measured(config, replicas, jit='false', side=32):
  """Returns (weights before and after an update, trainer.Train after it)."""
  _, state, train = small_runs.build(
      config, replicas, small_runs.random_source(37, side=side), jit)
  assert train(0, 1, stop=False, measured_step=3).step == 1
  assert train.update_figures == {}
  before = [p.numpy() for p in state.params]
  train(1, 1, stop=False, measured_step=2)
  return before, [p.numpy() for p in state.params], train


@pytest.mark.parametrize('replicas, jit', [
    (1, 'false'), (2, 'false'),
    pytest.param(2, 'true', marks=pytest.mark.slow)])
def test_an_update_of_sgd_is_the_rate_times_its_gradient(replicas, jit):
  before, after, train = _measured(_CONFIG, replicas, jit)
  found = train.update_figures
  gradients = [(old - new) / 0.25 for old, new in zip(before, after)]
  assert found.keys() == {'gradient_norm', 'weight_norm', 'update_ratio'}
  np.testing.assert_allclose(found['weight_norm'], _norm(before), rtol=1e-5)
  # The difference of nearby weights has rounded what it is compared with.
  norm = _norm(gradients)
  np.testing.assert_allclose(found['gradient_norm'], norm, rtol=1e-3)
  np.testing.assert_allclose(
      found['update_ratio'], 0.25 * norm / _norm(before), rtol=1e-3)


def test_two_replicas_measure_what_one_does():
  small_runs.skip_if_onednn_is_wrong()
  one, two = (_measured(_CONFIG, replicas)[2].update_figures
              for replicas in (1, 2))
  assert one.keys() == two.keys()
  np.testing.assert_allclose([*two.values()], [*one.values()], rtol=1e-4)


def test_the_gradient_is_measured_before_it_is_clipped():
  clipped = dataclasses.replace(_CONFIG, optimizer=dataclasses.replace(
      _CONFIG.optimizer, clip='norm', clip_at=1e-3))
  before, after, train = _measured(clipped, 1)
  changed = _norm([new - old for old, new in zip(before, after)])
  assert changed == pytest.approx(0.25 * 1e-3, rel=1e-2)
  assert train.update_figures['gradient_norm'] > 0.1


def test_an_update_that_float16_skips_has_a_ratio_of_0():
  small_runs.skip_unless_cpu_convolves('float16')
  _, state, train = small_runs.build(
      dataclasses.replace(_CONFIG, precision='float16'), 1,
      small_runs.random_source(37, side=32))
  state.loss_scale.assign(2.0**40)  # The gradients overflow.
  weights = _norm([p.numpy() for p in state.params])
  train(0, 1, stop=False, measured_step=1)
  assert train.update_figures == {
      'weight_norm': pytest.approx(weights), 'update_ratio': 0.0}


def test_only_the_last_of_several_updates_is_measured():
  """A call of three measures as a call of two and one of one."""
  config = dataclasses.replace(_CONFIG, train_steps=4)
  runs = [small_runs.build(config, 1, small_runs.random_source(37, side=32))[2]
          for _ in range(2)]
  runs[0](0, 3, stop=False, measured_step=3)
  runs[1](0, 2, stop=False, measured_step=3)
  assert not runs[1].update_figures
  runs[1](2, 1, stop=False, measured_step=3)
  assert runs[0].update_figures == runs[1].update_figures != {}
  runs[1](3, 1, stop=False)
  assert not runs[1].update_figures


def test_what_is_not_wanted_is_not_computed():
  computed = []

  def doubled(x, nested):
    computed.append('traced')
    return tf.numpy_function(
        lambda a: computed.append('run') or 2 * a, [x + nested[0]], tf.float32,
        stateful=True)

  @tf.function(autograph=False)
  def call(last):
    def update(step, _):
      result = compilation.only_if(
          tf.equal(step + 1, last), _with_shape(doubled), tf.ones([2]),
          [tf.ones([2])])
      return step + 1, result
    return tf.while_loop(lambda step, _: step < 4, update,
                         [tf.constant(0), tf.fill([2], 9.0)])[1]

  assert call(tf.constant(4)).numpy().tolist() == [4, 4]
  assert computed == ['traced', 'run']
  assert call(tf.constant(2)).numpy().tolist() == [0, 0]
  assert computed == ['traced', 'run', 'run']


def _with_shape(function):
  return lambda *arguments: tf.ensure_shape(function(*arguments), [2])


def _log_point(config, rate_factors, averages=()):
  """Returns the figures of a log point at step 5 of a run at a rate of 0.5."""
  state = types.SimpleNamespace(
      averages=averages, loss_scale=tf.constant(1024.0))
  train = types.SimpleNamespace(
      update_figures={'weight_norm': 5.0}, rate_factors=rate_factors,
      learning_rate={4: 0.5}.__getitem__)
  return update_figures.figures(types.SimpleNamespace(
      config=config, state=state, train=train, step=5))


def test_a_log_point_has_only_what_the_run_has():
  assert _log_point(_CONFIG, {}) == {'weight_norm': 5.0}
  config = dataclasses.replace(
      _CONFIG, precision='float16', ema=schema.Ema(decay=0.9))
  # Update 4 (from 0) keeps (1 + 4) / (10 + 4) of the average.
  assert _log_point(config, {'stem': 0.25, 'head': 1.0}, ['average']) == {
      'weight_norm': 5.0, 'loss_scale': 1024.0,
      'ema_decay': pytest.approx(5 / 14), 'learning_rate_stem': 0.125,
      'learning_rate_head': 0.5}
  steady = dataclasses.replace(
      config, ema=schema.Ema(decay=0.25, warmup=False))
  assert _log_point(steady, {}, ['average'])['ema_decay'] == 0.25


def test_parts_have_factors_if_the_rates_differ():
  names = ['stem_conv/kernel', 'stage1_block1_bn1/gamma', 'stem_bn/beta',
           'logits/kernel']
  assert update_figures.part_factors(names, [1.0] * 4) == {}
  assert update_figures.part_factors(names, [0.25, 0.5, 0.25, 1.0]) == {
      'stem': 0.25, 'stage1': 0.5, 'head': 1.0}
  # A frozen head leaves one rate, which is not that of the schedule.
  assert update_figures.part_factors(names[:1], [0.25]) == {'stem': 0.25}
