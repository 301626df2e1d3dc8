"""Runs train the same on other devices, compiled, and in longer calls."""
import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from pipelines import sources
from pipelines.options import Reading
from resnet.evaluation import evaluator
from tests import tiny_dataset
from tests.resnet import small_runs, strategies

# The cheapest network to trace; it has batch norm and dropout.
_BASELINE = schema.Model(name='baseline')


def _assert_weights_agree(one, other, tolerance):
  for a, b in zip(one.variables, other.variables, strict=True):
    np.testing.assert_allclose(
        a.numpy(), b.numpy(), atol=tolerance, err_msg=a.path)


@pytest.mark.parametrize('model', [
    pytest.param(schema.Model(depth=8, width=4, sync_batch_norm=True),
                 marks=pytest.mark.slow),
    schema.Model(name='lenet5'),  # No batch norm.
    dataclasses.replace(_BASELINE, sync_batch_norm=True),
])
def test_one_and_two_devices_agree(model):
  small_runs.skip_if_onednn_is_wrong()
  side = 32 if model.name == 'lenet5' else 8
  config = small_runs.config(model=model)
  one, two = (small_runs.train(config, replicas, side=side, updates=1)
              for replicas in (1, 2))
  _assert_weights_agree(one[0], two[0], 2e-5)
  np.testing.assert_allclose(one[2]['loss'], two[2]['loss'], rtol=1e-5)


@pytest.mark.slow
def test_xla_trains_the_same_network():
  config = small_runs.config(model=_BASELINE)
  plain, compiled = (small_runs.train(config, 2, jit=jit, updates=1)
                     for jit in ('false', 'true'))
  _assert_weights_agree(plain[0], compiled[0], 1e-4)
  np.testing.assert_allclose(plain[2]['loss'], compiled[2]['loss'], rtol=1e-4)


@pytest.mark.slow
def test_xla_draws_the_same_augmentation():
  """--jit=auto compiles a policy and nothing else, on several devices too."""
  config = small_runs.config(
      model=dataclasses.replace(_BASELINE, sync_batch_norm=True),
      augment=schema.Augment(
          policy='rand_augment', layers=1, flip=True, brightness=0.4,
          mixup=0.3))
  plain, compiled = (small_runs.train(config, replicas, jit=jit, updates=1)
                     for replicas, jit in ((1, 'false'), (2, 'auto')))
  _assert_weights_agree(plain[0], compiled[0], 2e-5)


@pytest.mark.slow
def test_every_variable_is_the_same_on_all_replicas():
  _, state, _ = small_runs.train(small_runs.config(), 2)
  for path, variable in state.paths.items():
    first, second = (value.numpy() for value in variable.values)
    np.testing.assert_array_equal(first, second, err_msg=path)


@pytest.mark.slow
def test_images_grow_during_the_run(tmp_path):
  tiny_dataset.prepare_photos(tmp_path)
  source = sources.load(
      schema.Data('photos', image_size=32), 'train', Reading(str(tmp_path)))
  config = small_runs.config(
      data=schema.Data(name='photos', image_size=32), train_steps=5,
      augment=schema.Augment(sizes=(16, 24), flip=True))
  model, state, train = small_runs.build(config, 2, source)
  # 16 until step 5 / 2, rounded up: a call ends there.
  calls = [train(0, 5, False), train(3, 5, False)]
  assert [(call.step, call.images) for call in calls] == [(3, 24), (5, 16)]
  assert train.is_finite()
  evaluate = evaluator.Evaluate(
      config, strategies.on_cpus(2), model, state, source, jit='false')
  assert evaluate()['examples'] == 24


def test_a_request_to_stop_is_known_after_the_call():
  _, _, train = small_runs.build(
      small_runs.config(model=_BASELINE), 2, small_runs.random_source(37))
  call = train(0, 3, stop='SIGTERM')
  assert (call.step, call.stop, call.images) == (3, True, 24)


def test_the_update_that_breaks_the_loss_is_known_after_the_call():
  _, state, train = small_runs.build(
      small_runs.config(model=_BASELINE), 2, small_runs.random_source(37))
  assert train(0, 1, stop=False).broken_at is None
  state.params[-1].assign(tf.fill(state.params[-1].shape, np.nan))
  call = train(1, 2, stop=False)
  assert (call.step, call.broken_at) == (3, 2)


def test_one_call_of_three_updates_equals_three_calls_of_one():
  config = small_runs.config(model=_BASELINE)
  _, state, _ = small_runs.train(config, 1)
  _, other, train = small_runs.build(config, 1, small_runs.random_source(37))
  for step in range(3):
    assert train(step, 1, stop=False).step == step + 1
  for path, variable in state.paths.items():
    np.testing.assert_array_equal(
        variable.numpy(), other.paths[path].numpy(), err_msg=path)


@functools.cache
def _weights_in_float32():
  model, _, _ = small_runs.train(small_runs.config(), 1, updates=1)
  return [v.numpy() for v in model.trainable_variables]


@pytest.mark.slow
@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_low_precision_trains_close_to_float32(precision):
  small_runs.skip_unless_cpu_convolves(precision)
  small_runs.skip_if_onednn_is_wrong()
  low, _, _ = small_runs.train(
      small_runs.config(precision=precision), 1, updates=1)
  for a, b in zip(_weights_in_float32(), low.trainable_variables, strict=True):
    assert b.dtype == 'float32'
    # bfloat16 keeps 8 bits; an update at rate 0.1 stays within a percent.
    np.testing.assert_allclose(a, b.numpy(), atol=0.01, err_msg=b.path)
