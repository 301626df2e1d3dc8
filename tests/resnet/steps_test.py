"""One update, in closed form; the number of replicas does not change it."""
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from resnet import state as state_lib
from resnet import steps
from resnet.distribution.packing import Packing
from resnet.evaluation import eval_steps
from resnet.optimization import averages, losses
from tests.resnet import strategies


def _linear_state(strategy):
  """Returns (model, state): linear, for one-pixel images, with zero weights."""
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
  """Calls step on all replicas, each with its contiguous share of the batch."""
  replicas = strategy.num_replicas_in_sync
  share = len(batch['label']) // replicas

  def of_replica(context):
    r = context.replica_id_in_sync_group
    return {k: tf.constant(v[r * share:(r + 1) * share])
            for k, v in batch.items()}

  shares = strategy.experimental_distribute_values_from_function(of_replica)
  totals, _ = tf.function(lambda b: strategy.run(step, args=(b,)))(shares)
  return strategy.experimental_local_results(totals)[0].numpy()


def _replica_step(model, state, replicas, compiled, reduce_precision, *,
                  standardize, **update):
  """Returns steps.replica_train_step for a global batch of 4, unaugmented."""
  packing = Packing.of(state.params, state.statistics, replicas=replicas,
                       precision=reduce_precision)
  return functools.partial(
      steps.replica_train_step, state, host=tf.constant([0.0, 0.5]),
      step=tf.constant(0, tf.int64), measured=tf.constant(False),
      measure=lambda *_: tf.zeros([1]),
      local_share=compiled(functools.partial(
          steps.local_share, digest=steps.no_digest, packing=packing,
          forward_backward=functools.partial(
              steps.forward_backward, model=model, augment=_leave_alone,
              standardize=standardize, label_smoothing=0.0, global_batch=4,
              loss=losses.cross_entropy, class_weights=()))),
      apply_total=compiled(functools.partial(
          steps.apply_total, packing=packing, average=functools.partial(
              averages.update, ema=schema.Ema()), update=functools.partial(
              steps.update, total_steps=1, warmup_steps=0, rate_floor=0.0,
              **update))))


@pytest.mark.parametrize('jit', [False, True])
@pytest.mark.parametrize('replicas, reduce_precision', [
    (1, 'float32'), (2, 'float32'), (2, 'bfloat16'), (2, 'float16')])
def test_update_and_sums_match_the_closed_form(replicas, reduce_precision, jit):
  strategy = strategies.on_cpus(replicas)
  model, state = _linear_state(strategy)
  compiled = lambda f: tf.function(lambda *a: f(*a), jit_compile=jit)
  config = schema.Optimizer(momentum=0.0, weight_decay=0.0)
  rng = np.random.default_rng(0)
  batch = {'image': rng.integers(0, 256, (4, 1, 1, 3), np.uint8),
           'label': np.array([0, 1, 1, 0], np.int32),
           'position': np.arange(4),
           'weight': np.ones(4, np.float32)}

  totals = _run_step(strategy, _replica_step(
      model, state, replicas, compiled, reduce_precision,
      standardize=lambda x, m, s: tf.cast(x, tf.float32) / 255,
      optimizer=config,
      schedule=schema.Schedule(name='constant', peak=0.5), names=['kernel'],
      precision='float32'), batch)

  # Zero weights: softmax is 1/2 for both classes, the loss ln 2 per example.
  error = 0.5 - np.eye(2)[batch['label']]  # [4, 2]
  gradient = (batch['image'].reshape(4, 3) / 255).T @ error / 4
  # A number rounded to k bits is off by at most 2**-k of itself. Two of them
  # and their sum are rounded, all below 1; the rate is 0.5.
  bits = {'float32': 24, 'float16': 11, 'bfloat16': 8}[reduce_precision]
  np.testing.assert_allclose(
      model.trainable_variables[0].numpy(), -0.5 * gradient,
      rtol=1e-5 if bits == 24 else 0, atol=3 * 2**-bits * 0.5)
  # Both logits are equal, so the answer is class 0.
  np.testing.assert_allclose(
      totals, [0, 0.5 * replicas, 4 * np.log(2), 2, 4], rtol=1e-6)
  np.testing.assert_allclose(state.sums.numpy(), totals[2:])


def _forward_backward(batch, augment, **kwargs):
  """Runs steps.forward_backward on the linear model; images stay in 0..255."""
  model, state = _linear_state(strategies.on_cpus(1))
  return steps.forward_backward(
      [tf.convert_to_tensor(state.params[0])], [], tf.zeros(3), tf.ones(3),
      tf.constant(1.0), {k: tf.constant(v) for k, v in batch.items()},
      model=model, augment=augment,
      standardize=lambda x, m, s: tf.cast(x, tf.float32), global_batch=4,
      **{'label_smoothing': 0.0, 'loss': losses.cross_entropy,
         'class_weights': (), **kwargs})


_BATCH = {'image': np.arange(12, dtype=np.uint8).reshape(4, 1, 1, 3),
          'label': np.array([0, 1, 1, 0], np.int32),
          'position': np.arange(4), 'weight': np.ones(4, np.float32)}


def test_images_of_weight_0_do_not_count():
  batch = {**_BATCH, 'weight': np.array([1, 0, 1, 1], np.float32)}
  gradients, _, sums = _forward_backward(batch, lambda x, t, p, m: (x, t))
  error = (0.5 - np.eye(2)[batch['label']]) * batch['weight'][:, None]
  np.testing.assert_allclose(
      gradients[0], batch['image'].reshape(4, 3).T @ error / 4, rtol=1e-6)
  np.testing.assert_allclose(sums, [3 * np.log(2), 2, 3], rtol=1e-6)


def test_mixed_targets_train_on_their_shares():
  """The step trains on what augment returns, smoothed labels included."""
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
  # With equal logits the answer is class 0: correct if its share is larger.
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
  _run_step(strategy, _replica_step(
      model, state, 2, lambda f: f, 'float32',
      standardize=lambda x, m, s: tf.cast(x, tf.float32),
      optimizer=schema.Optimizer(),
      schedule=schema.Schedule(name='constant', peak=0.1),
      names=['gamma'] * 4, precision='float32'), batch)
  # Replica means 2 and 20, variances 1 and 100; from 0 and 1 at momentum 1/2.
  for value in state.statistics[0].values:
    np.testing.assert_allclose(value, [(2 + 20) / 2 / 2])
  for value in state.statistics[1].values:
    np.testing.assert_allclose(value, [(1 + (1 + 100) / 2) / 2])


def _scaled_update(gradient, scale, good_steps):
  return steps.update(
      [tf.constant([1.0])], [[tf.constant([0.0])]], [tf.constant([gradient])],
      tf.constant(scale), tf.constant(good_steps, tf.int64),
      tf.constant(1.0), tf.constant(0, tf.int64),
      optimizer=schema.Optimizer(momentum=0.9, weight_decay=0.0),
      schedule=schema.Schedule(name='constant', peak=0.5), names=['kernel'],
      rate_floor=0.0, total_steps=1, warmup_steps=0, precision='float16')


def test_float16_loss_scale_halves_on_overflow_and_grows_after_2000_steps():
  # The gradient is 8 / 16 = 0.5; at a rate of 0.5 the weight falls by 0.25.
  params, slots, scale, good = _scaled_update(8.0, 16.0, 5)
  assert (params[0], slots[0][0], scale, good) == (0.75, 0.5, 16.0, 6)
  # An overflow changes only the scale.
  params, slots, scale, good = _scaled_update(np.inf, 16.0, 5)
  assert (params[0], slots[0][0], scale, good) == (1.0, 0.0, 8.0, 0)
  # After 2,000 good updates the scale doubles.
  params, slots, scale, good = _scaled_update(8.0, 16.0, 1999)
  assert (params[0], scale, good) == (0.75, 32.0, 0)


def test_flipped_evaluation_averages_the_logits_of_mirror_images():
  """Images of 1 x 2 pixels; the left pixel is the logit of class 0."""
  image = keras.Input((1, 2, 1), name='image')
  logits = keras.layers.Dense(
      2, use_bias=False,
      kernel_initializer=lambda shape, dtype: tf.constant([[1., 0.], [0., 0.]])
      )(keras.layers.Flatten()(image))
  model = keras.Model({'image': image}, logits)
  batch = {'image': tf.constant([[[[2], [4]]]], tf.uint8),
           'label': tf.constant([1]), 'position': tf.constant([0], tf.int64),
           'weight': tf.ones([1])}
  # A mean for each pixel, taken from the mirror image too, not mirrored.
  mean = tf.constant([[[1.0], [0.0]]])
  for flip, logit in ((False, 2 - 1), (True, ((2 - 1) + (4 - 1)) / 2)):
    sums, _ = eval_steps.evaluate(
        [tf.convert_to_tensor(v.value) for v in model.trainable_variables], [],
        mean, tf.ones(1), batch, model=model, flip=flip,
        standardize=lambda x, m, s: (tf.cast(x, tf.float32) - m) / s,
        loss=losses.cross_entropy)
    np.testing.assert_allclose(sums[0], np.log(1 + np.exp(logit)), rtol=1e-6)
