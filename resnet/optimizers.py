"""Optimisers as pure functions over lists of tensors.

Parameters, slots and gradients go in, new parameters and slots come out;
storing them is the caller's affair. So they compile, and they add nothing over
replicas by themselves.
"""
import tensorflow as tf

# Tensors of each parameter's shape that an optimiser keeps, all zero at first.
SLOTS = {'sgd': ('momentum',), 'adam': ('first_moment', 'second_moment')}


def apply(params, slots, gradients, *, optimizer, decayed, step, learning_rate):
  """One update by the configured optimiser.

  Args:
    params: list of float32 tensors.
    slots: list, one for each name in SLOTS, of lists like params.
    gradients: list like params, of the mean loss over the global batch.
    optimizer: a configs.schema.Optimizer.
    decayed: list of bools like params: which of them weight decay shrinks.
    step: int64 scalar, updates before this one.
    learning_rate: float32 scalar.

  Returns:
    (params, slots), updated.
  """
  if optimizer.name == 'sgd':
    return _sgd(params, slots, gradients, optimizer, decayed, learning_rate)
  if optimizer.name == 'adam':
    return _adam(params, slots, gradients, optimizer, decayed, step,
                 learning_rate)
  raise ValueError(f'Unknown optimizer {optimizer.name!r}.')


def _sgd(params, slots, gradients, optimizer, decayed, learning_rate):
  """Momentum as in Goyal et al. 2017, eq. 9: the rate is outside of it.

  Weight decay is an L2 term in the gradient, as in He et al. 2015.
  """
  new_params, new_momenta = [], []
  for param, momentum, gradient, decay in zip(
      params, slots[0], gradients, decayed):
    if decay:
      gradient += optimizer.weight_decay * param
    momentum = optimizer.momentum * momentum + gradient
    direction = (gradient + optimizer.momentum * momentum
                 if optimizer.nesterov else momentum)
    new_params.append(param - learning_rate * direction)
    new_momenta.append(momentum)
  return new_params, [new_momenta]


def _adam(params, slots, gradients, optimizer, decayed, step, learning_rate):
  """Kingma & Ba 2014, algorithm 1, in the order of its section 2's last remark.

  Weight decay is decoupled (Loshchilov & Hutter 2017): it acts on the weights
  and stays out of the moments.
  """
  t = tf.cast(step + 1, tf.float32)
  beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
  rate = learning_rate * tf.sqrt(1 - beta_2**t) / (1 - beta_1**t)
  new_params, firsts, seconds = [], [], []
  for param, first, second, gradient, decay in zip(
      params, *slots, gradients, decayed):
    first = first + (gradient - first) * (1 - beta_1)
    second = second + (tf.square(gradient) - second) * (1 - beta_2)
    if decay:
      param -= learning_rate * optimizer.weight_decay * param
    new_params.append(
        param - rate * first / (tf.sqrt(second) + optimizer.epsilon))
    firsts.append(first)
    seconds.append(second)
  return new_params, [firsts, seconds]
