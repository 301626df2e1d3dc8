"""Updates equal Keras's; weight decay and momentum equal values by hand."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from resnet.optimization import optimizers

# Keras's LAMB adapts the rates of all variables.
_DECAYING = (keras.optimizers.AdamW, keras.optimizers.Lamb)


def _zeros(params, optimizer):
  return [[tf.zeros_like(param) for param in params]
          for _ in optimizers.SLOTS[optimizer.name]]


def _run(params, gradients, optimizer, decayed, rates):
  """Returns the parameters after each update."""
  params = [tf.constant(param, tf.float32) for param in params]
  slots, after = _zeros(params, optimizer), []
  for step, rate in enumerate(rates):
    params, slots = optimizers.apply(
        params, slots,
        [tf.constant(gradient, tf.float32) for gradient in gradients[step]],
        optimizer=optimizer, decayed=decayed, step=tf.constant(step, tf.int64),
        learning_rate=tf.constant(rate, tf.float32))
    after.append([param.numpy() for param in params])
  return after


def _run_keras(params, gradients, optimizer):
  variables = [keras.Variable(param) for param in params]
  after = []
  for update in gradients:
    optimizer.apply([tf.constant(gradient) for gradient in update], variables)
    after.append([variable.numpy() for variable in variables])
  return after


def _random(updates):
  """Returns two parameters, and their gradients in each update."""
  rng = np.random.default_rng(0)

  def draw():
    return [rng.normal(size=shape).astype(np.float32)
            for shape in ((3, 2), (2,))]

  return draw(), [draw() for _ in range(updates)]


@pytest.mark.parametrize('ours, keras_optimizer', [
    (schema.Optimizer(name='sgd', momentum=0.0),
     lambda: keras.optimizers.SGD(0.05)),
    (schema.Optimizer(name='sgd', momentum=0.9),
     lambda: keras.optimizers.SGD(0.05, momentum=0.9)),
    (schema.Optimizer(name='sgd', momentum=0.8, nesterov=True),
     lambda: keras.optimizers.SGD(0.05, momentum=0.8, nesterov=True)),
    (schema.Optimizer(name='adam', beta_1=0.9, beta_2=0.999, epsilon=1e-8),
     lambda: keras.optimizers.Adam(0.05, 0.9, 0.999, 1e-8)),
    (schema.Optimizer(name='adam', beta_1=0.7, beta_2=0.9, epsilon=1e-2),
     lambda: keras.optimizers.Adam(0.05, 0.7, 0.9, 1e-2)),
    (schema.Optimizer(name='adamw', epsilon=1e-8, weight_decay=0.1),
     lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1, epsilon=1e-8)),
    (schema.Optimizer(name='rmsprop', beta_2=0.8, momentum=0.7, epsilon=1e-3),
     lambda: keras.optimizers.RMSprop(0.05, 0.8, 0.7, 1e-3)),
    (schema.Optimizer(name='lamb', weight_decay=0.0, epsilon=1e-6),
     lambda: keras.optimizers.Lamb(0.05, epsilon=1e-6)),
])
def test_updates_equal_those_of_keras(ours, keras_optimizer):
  params, gradients = _random(updates=5)
  theirs = keras_optimizer()
  after = _run(params, gradients, ours,
               decayed=[isinstance(theirs, _DECAYING)] * 2,
               rates=[0.05] * 5)
  expected = _run_keras(params, gradients, theirs)
  for update in range(5):
    for ours_now, theirs_now in zip(
        after[update], expected[update], strict=True):
      np.testing.assert_allclose(ours_now, theirs_now, rtol=1e-5, atol=1e-6)


def test_sgd_decays_through_the_gradient_and_only_where_asked():
  optimizer = schema.Optimizer(name='sgd', momentum=0.9, weight_decay=0.1)
  after = _run([2.0, 2.0], [[0.5, 0.5]] * 2, optimizer, [True, False],
               [0.1, 0.1])
  # Decayed: gradient 0.5 + 0.1 * 2 = 0.7, momentum 0.7; then gradient
  # 0.5 + 0.1 * 1.93 = 0.693, momentum 0.9 * 0.7 + 0.693 = 1.323.
  # Not decayed: momentum 0.5; then 0.9 * 0.5 + 0.5 = 0.95.
  np.testing.assert_allclose(after[0], [1.93, 1.95], rtol=1e-6)
  np.testing.assert_allclose(after[1], [1.7977, 1.855], rtol=1e-6)


def test_nesterov_decays_through_the_gradient():
  optimizer = schema.Optimizer(
      name='sgd', momentum=0.9, nesterov=True, weight_decay=0.1)
  after = _run([2.0], [[0.5]] * 2, optimizer, [True], [0.1, 0.1])
  # Gradient 0.7, direction 0.7 + 0.9 * 0.7 = 1.33; then gradient 0.6867,
  # momentum 0.63 + 0.6867 = 1.3167, direction 0.6867 + 1.18503 = 1.87173.
  np.testing.assert_allclose(after[0], [1.867], rtol=1e-6)
  np.testing.assert_allclose(after[1], [1.679827], rtol=1e-6)


def test_rate_multiplies_the_momentum_instead_of_entering_it():
  optimizer = schema.Optimizer(name='sgd', momentum=0.9, weight_decay=0.0)
  after = _run([0.0], [[1.0]] * 3, optimizer, [True], [0.1, 0.01, 0.01])
  # The momentum is 1, 1.9, 2.71, and the small rate applies to all of it at
  # once. If the rate entered it, the second update would be 0.9 * 0.1 + 0.01.
  np.testing.assert_allclose(after, [[-0.1], [-0.119], [-0.1461]], rtol=1e-6)


@pytest.mark.parametrize('gradient', [0.5, -50.0])
def test_adamw_decays_the_weights_but_not_the_moments(gradient):
  optimizer = schema.Optimizer(name='adamw', weight_decay=0.1, epsilon=1e-12)
  after = _run([2.0, 2.0], [[gradient] * 2], optimizer, [True, False], [0.01])
  # The first update is the rate times the gradient's sign, whatever its size;
  # decay takes 0.01 * 0.1 * 2 more.
  moved = 2 - 0.01 * np.sign(gradient)
  np.testing.assert_allclose(after[0], [moved - 0.002, moved], rtol=1e-6)


def test_adam_corrects_the_bias_by_the_step():
  optimizer = schema.Optimizer(name='adam', beta_1=0.5, beta_2=0.75,
                               weight_decay=0.0, epsilon=0.0)
  (param,), (firsts, seconds) = optimizers.apply(
      [tf.constant(1.0)], [[tf.constant(3.0)], [tf.constant(7.0)]],
      [tf.constant(5.0)], optimizer=optimizer, decayed=[False],
      step=tf.constant(1, tf.int64), learning_rate=tf.constant(0.1))
  # The second update: first (3 + 5) / 2 = 4, over 1 - 0.5 ** 2: 16 / 3; second
  # 0.75 * 7 + 0.25 * 25 = 11.5, over 1 - 0.75 ** 2: 26.285714.
  np.testing.assert_allclose((firsts[0], seconds[0]), (4, 11.5), rtol=1e-6)
  np.testing.assert_allclose(
      param, 1 - 0.1 * (16 / 3) / np.sqrt(11.5 / 0.4375), rtol=1e-6)


@pytest.mark.parametrize('name, slots', [
    ('sgd', 1), ('adam', 2), ('adamw', 2), ('rmsprop', 2), ('lars', 1),
    ('lamb', 2)])
def test_slots_keep_their_shapes(name, slots):
  optimizer = schema.Optimizer(name=name)
  params, gradients = _random(updates=1)
  params = [tf.constant(param) for param in params]
  _, new_slots = optimizers.apply(
      params, _zeros(params, optimizer), gradients[0], optimizer=optimizer,
      decayed=[True, False], step=tf.constant(0, tf.int64),
      learning_rate=tf.constant(0.1))
  assert len(optimizers.SLOTS[name]) == slots
  assert [[slot.shape for slot in one] for one in new_slots] == (
      [[(3, 2), (2,)]] * slots)


def test_adam_decays_through_the_gradient():
  """As Keras does with a regularizer: L2 of factor wd / 2 in the loss."""
  params, gradients = _random(updates=5)
  optimizer = schema.Optimizer(name='adam', weight_decay=0.2)
  variables = [keras.Variable(param) for param in params]
  theirs = keras.optimizers.Adam(0.05, epsilon=1e-8)
  for update in gradients:
    theirs.apply([gradient + 0.2 * variable.numpy()
                  for gradient, variable in zip(update, variables)], variables)
  after = _run(params, gradients, optimizer, [True, True], [0.05] * 5)
  for ours, variable in zip(after[-1], variables, strict=True):
    np.testing.assert_allclose(ours, variable.numpy(), rtol=1e-5, atol=1e-6)


def test_lars_takes_steps_in_proportion_to_the_weights():
  """Norms 5 of the weights and 10 of the gradients, by hand."""
  optimizer = schema.Optimizer(
      name='lars', momentum=0.5, weight_decay=0.1, trust=0.02)
  after = _run([[3.0, 4.0], [3.0, 4.0]], [[[6.0, 8.0], [6.0, 8.0]]] * 2,
               optimizer, [True, False], [0.1, 0.2])
  # Trust 0.02 * 5 / (10 + 0.1 * 5) = 2 / 210, of gradients 6.3 and 8.4: 0.06
  # and 0.08. Without decay a step of SGD.
  np.testing.assert_allclose(after[0], [[2.994, 3.992], [2.4, 3.2]], rtol=1e-6)
  # All has shrunk by 0.002 of itself: norm 4.99, trust 0.02 * 4.99 / (10 +
  # 0.499) = 0.0095056, of 6.2994: 0.05988. Half of the last step, 0.003, and
  # 0.2 of that: 0.014976. The rate of a step stays in the momentum.
  np.testing.assert_allclose(after[1][0], [2.994 - 0.014976, 3.992 - 0.019968],
                             rtol=1e-6)
  np.testing.assert_allclose(after[1][1], [2.4 - 0.3 - 1.2, 3.2 - 0.4 - 1.6],
                             rtol=1e-6)


def test_lamb_takes_steps_in_proportion_to_the_weights():
  optimizer = schema.Optimizer(name='lamb', weight_decay=0.5, epsilon=0.0)
  after = _run([[3.0, 4.0], [3.0, 4.0]], [[[7.0, -7.0], [7.0, -7.0]]],
               optimizer, [True, False], [0.1])
  # The first step of Adam is the sign, (1, -1); with 0.5 * (3, 4): (2.5, 1).
  step = 0.1 * 5 / np.hypot(2.5, 1) * np.array([2.5, 1])
  np.testing.assert_allclose(after[0][0], np.array([3, 4]) - step, rtol=1e-6)
  np.testing.assert_allclose(after[0][1], [2.9, 4.1], rtol=1e-6)


@pytest.mark.parametrize('name', ['lars', 'lamb'])
@pytest.mark.parametrize('param, gradient', [(0.0, 1.0), (1.0, 0.0)])
def test_a_norm_of_zero_leaves_the_step_as_it_is(name, param, gradient):
  optimizer = schema.Optimizer(name=name, weight_decay=0.0, epsilon=1e-8)
  (after,), = _run([[param]], [[[gradient]]], optimizer, [True], [0.1])
  np.testing.assert_allclose(after, [param - 0.1 * gradient], rtol=1e-5)


def test_names_decide_what_decays():
  names = ['stem_conv/kernel', 'stem_bn/gamma', 'logits/kernel', 'logits/bias']
  assert optimizers.decayed(names, schema.Optimizer()) == [
      True, False, True, False]
  assert optimizers.decayed(names, schema.Optimizer(
      decayed=('logits/*', '*gamma'))) == [False, True, True, True]
