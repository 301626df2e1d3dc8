"""Optimizers as pure functions over lists of tensors.

Parameters, slots and gradients go in; new parameters and slots come out. The
caller stores them. This way an update can be compiled, and it does not reduce
over replicas.
"""
from collections.abc import Sequence
import fnmatch

import tensorflow as tf

from configs import schema

# The tensors, shaped like a parameter, that an optimizer keeps for each
# parameter. All start at zero.
SLOTS = {
    'sgd': ('momentum',), 'adam': ('first_moment', 'second_moment'),
    'adamw': ('first_moment', 'second_moment'),
    'rmsprop': ('mean_square', 'momentum'), 'lars': ('momentum',),
    'lamb': ('first_moment', 'second_moment')}


def decayed(names: Sequence[str], optimizer: schema.Optimizer) -> list[bool]:
  """Returns whether weight decay applies to each variable of these names.

  LARS and LAMB adapt the rates of the same variables and of no others.
  """
  return [any(fnmatch.fnmatchcase(name, pattern)
              for pattern in optimizer.decayed) for name in names]


def apply(params: Sequence[tf.Tensor], slots: Sequence[Sequence[tf.Tensor]],
          gradients: Sequence[tf.Tensor], *, optimizer: schema.Optimizer,
          decayed: Sequence[bool], step: tf.Tensor, learning_rate: tf.Tensor,
          rate_factors: Sequence[float] = ()
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
    rate_factors: like params: what multiplies the rate of each one; (): 1.
  """
  rule, count = _RULES[optimizer.name], tf.cast(step + 1, tf.float32)
  factors = rate_factors or [1.0] * len(params)
  new = [rule(param, own, gradient, decay, optimizer,
              learning_rate * factor if factor != 1 else learning_rate, count)
         for param, gradient, decay, factor, *own in zip(
             params, gradients, decayed, factors, *slots, strict=True)]
  new_params, *new_slots = map(list, zip(*new, strict=True))
  return new_params, new_slots


# The rules below return (parameter, *slots) after update number `count`, from
# 1, of one parameter.


def _sgd(param, slots, gradient, decay, optimizer, rate, count):
  """Momentum as in Goyal et al. 2017, eq. 9: the rate multiplies all of it."""
  del count
  gradient = _with_l2(param, gradient, decay, optimizer)
  momentum = optimizer.momentum * slots[0] + gradient
  direction = (gradient + optimizer.momentum * momentum
               if optimizer.nesterov else momentum)
  return param - rate * direction, momentum


def _adam(param, slots, gradient, decay, optimizer, rate, count):
  """Adam, with weight decay as an L2 term in the gradient."""
  gradient = _with_l2(param, gradient, decay, optimizer)
  return _adam_step(param, slots, gradient, optimizer, rate, count)


def _adamw(param, slots, gradient, decay, optimizer, rate, count):
  """Adam, with decoupled weight decay (Loshchilov & Hutter 2017).

  It acts on the weights and does not enter the moments.
  """
  if decay:
    param -= rate * optimizer.weight_decay * param
  return _adam_step(param, slots, gradient, optimizer, rate, count)


def _adam_step(param, slots, gradient, optimizer, rate, count):
  """Kingma & Ba 2014, algorithm 1, reordered as the end of section 2 suggests.
  """
  first, second = _moments(slots, gradient, optimizer)
  rate = rate * tf.sqrt(1 - optimizer.beta_2**count) / (
      1 - optimizer.beta_1**count)
  return (param - rate * first / (tf.sqrt(second) + optimizer.epsilon),
          first, second)


def _rmsprop(param, slots, gradient, decay, optimizer, rate, count):
  """Tieleman & Hinton 2012, with epsilon inside the root and momentum.

  As in Keras and in the first TensorFlow, whose rates are published.
  """
  del count
  gradient = _with_l2(param, gradient, decay, optimizer)
  square = slots[0] + (tf.square(gradient) - slots[0]) * (1 - optimizer.beta_2)
  momentum = optimizer.momentum * slots[1] + (
      rate * gradient * tf.math.rsqrt(square + optimizer.epsilon))
  return param - momentum, square, momentum


def _lars(param, slots, gradient, decay, optimizer, rate, count):
  """You et al. 2017 (arXiv:1708.03888), algorithm 1: the rate enters momentum.

  Parameters without weight decay take steps of SGD.
  """
  del count
  if decay:
    norm, gradient_norm = tf.norm(param), tf.norm(gradient)
    trust = optimizer.trust * norm / (
        gradient_norm + optimizer.weight_decay * norm)
    gradient = _with_l2(param, gradient, decay, optimizer) * tf.where(
        (norm > 0) & (gradient_norm > 0), trust, 1.0)
  momentum = optimizer.momentum * slots[0] + rate * gradient
  return param - momentum, momentum


def _lamb(param, slots, gradient, decay, optimizer, rate, count):
  """You et al. 2019 (arXiv:1904.00962), algorithm 2, phi the identity.

  Parameters without weight decay take steps of Adam.
  """
  first, second = _moments(slots, gradient, optimizer)
  update = first / (1 - optimizer.beta_1**count) / (
      tf.sqrt(second / (1 - optimizer.beta_2**count)) + optimizer.epsilon)
  if decay:
    update += optimizer.weight_decay * param
    norm, update_norm = tf.norm(param), tf.norm(update)
    update *= tf.where((norm > 0) & (update_norm > 0), norm / update_norm, 1.0)
  return param - rate * update, first, second


_RULES = {'sgd': _sgd, 'adam': _adam, 'adamw': _adamw, 'rmsprop': _rmsprop,
          'lars': _lars, 'lamb': _lamb}


def _with_l2(param, gradient, decay, optimizer):
  """Returns the gradient of the loss with an L2 term (He et al. 2015)."""
  return gradient + optimizer.weight_decay * param if decay else gradient


def _moments(slots, gradient, optimizer):
  first, second = slots
  return (first + (gradient - first) * (1 - optimizer.beta_1),
          second + (tf.square(gradient) - second) * (1 - optimizer.beta_2))
