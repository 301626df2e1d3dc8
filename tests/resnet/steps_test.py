"""The update must not depend on how many replicas share the global batch."""
import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from pipelines import sources
from pipelines.options import Reading
from resnet import evaluator, network, steps, trainer
from resnet import state as state_lib
from tests import tiny_dataset
from tests.resnet import strategies


def _source(size, classes=2, side=8, seed=0):
  rng = np.random.default_rng(seed)
  return sources.InMemory(
      tf.constant(rng.integers(0, 256, (size, side, side, 1), np.uint8)),
      tf.constant(rng.integers(0, classes, size), tf.int32), classes)


def _linear_state(strategy):
  """A linear classifier of one-pixel images with 3 channels, zero weights."""
  with strategy.scope():
    image = keras.Input((1, 1, 3), name='image')
    logits = keras.layers.Dense(
        2, use_bias=False, kernel_initializer='zeros')(
            keras.layers.Flatten()(image))
    model = keras.Model({'image': image}, logits)
    state = state_lib.create(
        model, optimizer='sgd', precision='float32',
        mean=np.zeros(3, np.float32), stddev=np.ones(3, np.float32))
  return model, state


def _leave_alone(images, target, positions, mean):
  del positions, mean
  return images, target


def _run_step(strategy, step, batch):
  """One call on all replicas, each with its contiguous share of the batch."""
  replicas = strategy.num_replicas_in_sync
  share = len(batch['label']) // replicas

  def of_replica(context):
    r = context.replica_id_in_sync_group
    return {k: tf.constant(v[r * share:(r + 1) * share])
            for k, v in batch.items()}

  shares = strategy.experimental_distribute_values_from_function(of_replica)
  result = tf.function(lambda b: strategy.run(step, args=(b,)))(shares)
  return strategy.experimental_local_results(result)[0].numpy()


@pytest.mark.parametrize('jit', [False, True])
@pytest.mark.parametrize('replicas', [1, 2])
def test_update_and_sums_match_the_closed_form(replicas, jit):
  strategy = strategies.on_cpus(replicas)
  model, state = _linear_state(strategy)
  compiled = lambda f: tf.function(lambda *a: f(*a), jit_compile=jit)
  config = schema.Optimizer(momentum=0.0, weight_decay=0.0)
  rng = np.random.default_rng(0)
  batch = {'image': rng.integers(0, 256, (4, 1, 1, 3), np.uint8),
           'label': np.array([0, 1, 1, 0], np.int32),
           'position': np.arange(4),
           'weight': np.ones(4, np.float32)}

  totals = _run_step(strategy, functools.partial(
      steps.replica_train_step, state, host=tf.constant([0.0, 0.5]),
      step=tf.constant(0, tf.int64),
      forward_backward=compiled(functools.partial(
          steps.forward_backward, model=model, augment=_leave_alone,
          standardize=lambda x, m, s: tf.cast(x, tf.float32) / 255,
          label_smoothing=0.0, global_batch=4)),
      update=compiled(functools.partial(
          steps.update, optimizer=config,
          schedule=schema.Schedule(name='constant', peak=0.5), decayed=[True],
          total_steps=1, warmup_steps=0, precision='float32'))), batch)

  # Zero weights: softmax is 1/2 for both classes, the loss ln 2 per example.
  error = 0.5 - np.eye(2)[batch['label']]  # [4, 2]
  gradient = (batch['image'].reshape(4, 3) / 255).T @ error / 4
  np.testing.assert_allclose(
      model.trainable_variables[0].numpy(), -0.5 * gradient, rtol=1e-5)
  # Both classes score the same: the first counts as the answer.
  np.testing.assert_allclose(
      totals, [0, 0.5 * replicas, 4 * np.log(2), 2, 4], rtol=1e-6)
  np.testing.assert_allclose(state.sums.numpy(), totals[2:])


def _forward_backward(batch, augment, **kwargs):
  """Of the linear classifier with zero weights; images in 0..255 as float."""
  model, state = _linear_state(strategies.on_cpus(1))
  return steps.forward_backward(
      [tf.convert_to_tensor(state.params[0])], [], tf.zeros(3), tf.ones(3),
      tf.constant(1.0), {k: tf.constant(v) for k, v in batch.items()},
      model=model, augment=augment,
      standardize=lambda x, m, s: tf.cast(x, tf.float32), global_batch=4,
      **{'label_smoothing': 0.0, **kwargs})


_BATCH = {'image': np.arange(12, dtype=np.uint8).reshape(4, 1, 1, 3),
          'label': np.array([0, 1, 1, 0], np.int32),
          'position': np.arange(4), 'weight': np.ones(4, np.float32)}


def test_images_of_weight_0_have_no_part():
  batch = {**_BATCH, 'weight': np.array([1, 0, 1, 1], np.float32)}
  gradients, _, sums = _forward_backward(batch, lambda x, t, p, m: (x, t))
  error = (0.5 - np.eye(2)[batch['label']]) * batch['weight'][:, None]
  np.testing.assert_allclose(
      gradients[0], batch['image'].reshape(4, 3).T @ error / 4, rtol=1e-6)
  np.testing.assert_allclose(sums, [3 * np.log(2), 2, 3], rtol=1e-6)


def test_mixed_targets_train_on_their_shares():
  """What augment returns is trained on, smoothed labels and all."""
  def mix(images, targets, positions, mean):
    assert mean.shape == (3,) and positions.shape == (4,)
    # Smoothing 0.2 over two classes: 0.9 and 0.1.
    np.testing.assert_allclose(targets, 0.1 + 0.8 * np.eye(2)[_BATCH['label']],
                               rtol=1e-6)
    shares = tf.constant([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.4, 0.6]])
    return tf.cast(images, tf.float32) * 2, shares

  gradients, _, sums = _forward_backward(_BATCH, mix, label_smoothing=0.2)
  error = 0.5 - np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0.4, 0.6]])
  np.testing.assert_allclose(
      gradients[0], 2.0 * _BATCH['image'].reshape(4, 3).T @ error / 4,
      rtol=1e-6)
  # Equal logits answer the first class: right where its share is the larger.
  np.testing.assert_allclose(sums, [4 * np.log(2), 2, 4], rtol=1e-6)


def test_batch_norm_statistics_are_the_mean_over_replicas():
  strategy = strategies.on_cpus(2)
  with strategy.scope():
    image = keras.Input((1, 1, 1), name='image')
    x = keras.layers.BatchNormalization(momentum=0.5)(image)
    logits = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    model = keras.Model({'image': image}, logits)
    state = state_lib.create(model, optimizer='sgd', precision='float32',
                             mean=np.zeros(1, np.float32),
                             stddev=np.ones(1, np.float32))
  batch = {'image': np.array([1, 3, 10, 30], np.uint8).reshape(4, 1, 1, 1),
           'label': np.zeros(4, np.int32), 'position': np.arange(4),
           'weight': np.ones(4, np.float32)}
  _run_step(strategy, functools.partial(
      steps.replica_train_step, state, host=tf.constant([0.0, 0.5]),
      step=tf.constant(0, tf.int64),
      forward_backward=functools.partial(
          steps.forward_backward, model=model, augment=_leave_alone,
          standardize=lambda x, m, s: tf.cast(x, tf.float32),
          label_smoothing=0.0, global_batch=4),
      update=functools.partial(
          steps.update, optimizer=schema.Optimizer(),
          schedule=schema.Schedule(name='constant', peak=0.1),
          decayed=[False] * 4, total_steps=1, warmup_steps=0,
          precision='float32')), batch)
  # Replica means 2 and 20, variances 1 and 100; from 0 and 1 at momentum 1/2.
  for value in state.statistics[0].values:
    np.testing.assert_allclose(value, [(2 + 20) / 2 / 2])
  for value in state.statistics[1].values:
    np.testing.assert_allclose(value, [(1 + (1 + 100) / 2) / 2])


def _config(**changes):
  config = schema.Config(
      model=schema.Model(depth=8, width=4), train_steps=3, global_batch=8,
      eval_batch=4, augment=schema.Augment(crop_padding=1, flip=True))
  return dataclasses.replace(config, **changes)


def _train(config, replicas, jit='false', side=8):
  """Three updates; returns (model, state, means)."""
  strategy = strategies.on_cpus(replicas)
  source = _source(37, side=side)
  model, state = network.build(config, strategy, source)
  train = trainer.Train(config, strategy, model, state, source, jit=jit,
                        first_step=0)
  assert train(0, 3, stop=False).step == 3
  return model, state, train.means()


@pytest.mark.parametrize('model', [
    schema.Model(depth=8, width=4, sync_batch_norm=True),
    schema.Model(name='lenet5'),  # No batch norm.
    schema.Model(name='baseline', sync_batch_norm=True),  # With dropout.
])
def test_one_and_two_devices_agree(model):
  side = 32 if model.name == 'lenet5' else 8
  config = _config(model=model)
  one, two = _train(config, 1, side=side), _train(config, 2, side=side)
  for a, b in zip(one[0].variables, two[0].variables):
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-5, err_msg=a.path)
  np.testing.assert_allclose(one[2]['loss'], two[2]['loss'], rtol=1e-5)


def test_xla_trains_as_without_it():
  config = _config(model=schema.Model(name='baseline'))
  plain, compiled = _train(config, 2), _train(config, 2, jit='true')
  for a, b in zip(plain[0].variables, compiled[0].variables):
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-4, err_msg=a.path)
  np.testing.assert_allclose(plain[2]['loss'], compiled[2]['loss'], rtol=1e-4)


def test_augmentation_is_the_same_compiled_alone():
  """--jit=auto compiles a policy where it compiles nothing else."""
  config = _config(augment=schema.Augment(
      policy='rand_augment', flip=True, brightness=0.4, mixup=0.3))
  plain, compiled = _train(config, 2), _train(config, 2, jit='auto')
  for a, b in zip(plain[0].variables, compiled[0].variables):
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-5, err_msg=a.path)


def test_every_variable_is_the_same_on_all_replicas():
  _, state, _ = _train(_config(), 2)
  for path, variable in state.paths.items():
    first, second = (value.numpy() for value in variable.values)
    np.testing.assert_array_equal(first, second, err_msg=path)


@pytest.mark.parametrize('replicas, batch', [(1, 4), (2, 4), (3, 4), (3, 500)])
def test_evaluation_counts_each_example_once(replicas, batch):
  config = _config(eval_batch=batch)
  strategy, source = strategies.on_cpus(replicas), _source(11, classes=7)
  model, state = network.build(config, strategy, source)
  values = evaluator.Evaluate(
      config, strategy, model, state, source, jit='false')()

  mean, stddev = state.mean.numpy(), state.stddev.numpy()
  loss, correct, top5 = 0.0, 0, 0
  for image, label in zip(source.images.numpy(), source.labels.numpy()):
    x = (image[None].astype(np.float32) - mean) / stddev
    logits = model({'image': x}, training=False).numpy()[0].astype(float)
    loss += np.log(np.exp(logits).sum()) - logits[label]
    rank = list(np.argsort(-logits)).index(label)
    correct, top5 = correct + (rank < 1), top5 + (rank < 5)
  assert values['examples'] == 11
  assert values['accuracy'] == pytest.approx(correct / 11, abs=1e-7)
  assert values['top5_accuracy'] == pytest.approx(top5 / 11, abs=1e-7)
  assert values['loss'] == pytest.approx(loss / 11, rel=1e-5)


def test_pictures_whose_size_grows_during_the_run(tmp_path):
  tiny_dataset.prepare_photos(tmp_path)
  source = sources.load('photos', 'train', Reading(tmp_path), 32)
  config = _config(
      data=schema.Data(name='photos', image_size=32), train_steps=5,
      augment=schema.Augment(sizes=(16, 24), flip=True))
  strategy = strategies.on_cpus(2)
  model, state = network.build(config, strategy, source)
  train = trainer.Train(config, strategy, model, state, source, jit='false',
                        first_step=0)
  # 16 until step 5 / 2, rounded up: a call ends there.
  calls = [train(0, 5, False), train(3, 5, False)]
  assert [(call.step, call.images) for call in calls] == [(3, 24), (5, 16)]
  assert train.is_finite()
  evaluate = evaluator.Evaluate(
      config, strategy, model, state, source, jit='false')
  assert evaluate()['examples'] == 24


def test_evaluation_stops_when_asked():
  config, strategy, source = _config(), strategies.on_cpus(2), _source(11)
  model, state = network.build(config, strategy, source)
  evaluate = evaluator.Evaluate(
      config, strategy, model, state, source, jit='false')
  assert evaluate(lambda: 'SIGTERM') is None


def test_a_request_to_stop_ends_the_call_after_one_update():
  config, strategy, source = _config(), strategies.on_cpus(2), _source(37)
  model, state = network.build(config, strategy, source)
  train = trainer.Train(config, strategy, model, state, source, jit='false',
                        first_step=0)
  call = train(0, 3, stop='SIGTERM')
  assert (call.step, call.stop, call.images) == (1, True, 8)


def test_several_updates_a_call_are_the_same_as_one():
  config, strategy, source = _config(), strategies.on_cpus(1), _source(37)
  weights = []
  for counts in ([3], [1, 1, 1]):
    model, state = network.build(config, strategy, source)
    train = trainer.Train(config, strategy, model, state, source, jit='false',
                          first_step=0)
    step = 0
    for count in counts:
      step = train(step, count, stop=False).step
    weights.append({p: v.numpy() for p, v in state.paths.items()})
  for path, value in weights[0].items():
    np.testing.assert_array_equal(value, weights[1][path], err_msg=path)


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_low_precision_trains_close_to_float32(precision):
  base = _train(_config(), 1)[0]
  low = _train(_config(precision=precision), 1)[0]
  for a, b in zip(base.trainable_variables, low.trainable_variables):
    assert b.dtype == 'float32'
    # bfloat16 keeps 8 bits; three updates at rate 0.1 stay within a percent.
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=0.03, err_msg=a.path)


def _scaled_update(gradient, scale, good_steps):
  return steps.update(
      [tf.constant([1.0])], [[tf.constant([0.0])]], [tf.constant([gradient])],
      tf.constant(scale), tf.constant(good_steps, tf.int64),
      tf.constant(0, tf.int64),
      optimizer=schema.Optimizer(momentum=0.9, weight_decay=0.0),
      schedule=schema.Schedule(name='constant', peak=0.5), decayed=[True],
      total_steps=1, warmup_steps=0, precision='float16')


def test_float16_loss_scale():
  # 8 / 16 = 0.5 is the gradient; the rate 0.5 takes 0.25 away.
  params, slots, scale, good = _scaled_update(8.0, 16.0, 5)
  assert (params[0], slots[0][0], scale, good) == (0.75, 0.5, 16.0, 6)
  # An overflow changes nothing but the scale.
  params, slots, scale, good = _scaled_update(np.inf, 16.0, 5)
  assert (params[0], slots[0][0], scale, good) == (1.0, 0.0, 8.0, 0)
  # After 2,000 good updates the scale doubles.
  params, slots, scale, good = _scaled_update(8.0, 16.0, 1999)
  assert (params[0], scale, good) == (0.75, 32.0, 0)
