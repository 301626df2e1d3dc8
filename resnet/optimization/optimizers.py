"""Optimizers as pure functions over lists of tensors.

Parameters, slots and gradients go in; new parameters and slots come out. The
caller stores them. This way an update can be compiled, and it does not reduce
over replicas.
"""
from collections.abc import Sequence

import tensorflow as tf

from configs import schema

# The tensors, shaped like a parameter, that an optimizer keeps for each
# parameter. All start at zero.
SLOTS = {'sgd': ('momentum',), 'adam': ('first_moment', 'second_moment')}


def apply(params: Sequence[tf.Tensor], slots: Sequence[Sequence[tf.Tensor]],
          gradients: Sequence[tf.Tensor], *, optimizer: schema.Optimizer,
          decayed: Sequence[bool], step: tf.Tensor, learning_rate: tf.Tensor
          ) -> tuple[list[tf.Tensor], list[list[tf.Tensor]]]:
  """Returns the parameters and slots after one update.

  Args:
    params: float32 tensors.
    slots: one sequence like params for each name in SLOTS.
    gradients: like params, of the mean loss over the global batch.
    optimizer: its name and settings.
    decayed: like params: whether weight decay shrinks each one.
    step: int64 scalar, updates before this one.
    learning_rate: float32 scalar.

  Raises:
    ValueError: the optimizer is unknown.
  """
  if optimizer.name == 'sgd':
    return _sgd(params, slots, gradients, optimizer, decayed, learning_rate)
  if optimizer.name == 'adam':
    return _adam(params, slots, gradients, optimizer, decayed, step,
                 learning_rate)
  raise ValueError(f'Unknown optimizer {optimizer.name!r}.')


def _sgd(params, slots, gradients, optimizer, decayed, learning_rate):
  """Momentum as in Goyal et al. 2017, eq. 9: the rate multiplies all of it.

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
  """Kingma & Ba 2014, algorithm 1, reordered as the end of section 2 suggests.

  Weight decay is decoupled (Loshchilov & Hutter 2017): it acts on the weights
  and does not enter the moments.
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
