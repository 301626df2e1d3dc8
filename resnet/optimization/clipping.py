"""Bounds gradients before the optimizer uses them."""
from collections.abc import Callable, Sequence

import tensorflow as tf

from configs import schema

_LEAST_NORM = 1e-3  # Of a unit's weights; Brock et al. 2021, section 4.1.


def clip(params: Sequence[tf.Tensor], gradients: Sequence[tf.Tensor], *,
         optimizer: schema.Optimizer, names: Sequence[str]
         ) -> Sequence[tf.Tensor]:
  """Returns the gradients, clipped as the optimizer's settings say.

    'norm': all gradients together, to a Euclidean norm of at most clip_at
      (Pascanu et al. 2012, arXiv:1211.5063, algorithm 1).
    'value': each number, to at most clip_at in absolute value.
    'adaptive': each unit's, to a norm of at most clip_at times that of its
      weights (Brock et al. 2021, arXiv:2102.06171, equation 3), but for the
      classifier. A unit is an output channel; of biases and batch norm, the
      whole vector.

  Args:
    params: float32 tensors.
    gradients: like params, of the mean loss over the global batch.
    optimizer: its settings.
    names: of the params; those of the classifier start with 'logits/'.
  """
  return _KINDS[optimizer.clip](params, gradients, names, optimizer.clip_at)


def _none(params, gradients, names, most):
  del params, names, most
  return gradients


def _norm(params, gradients, names, most):
  del params, names
  norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]))
  factor = most / tf.maximum(norm, most) if most else 0.0
  return [g * factor for g in gradients]


def _value(params, gradients, names, most):
  del params, names
  return [tf.clip_by_value(g, -most, most) for g in gradients]


def _adaptive(params, gradients, names, most):
  return [gradient if name.startswith('logits/')
          else gradient * tf.minimum(1.0, most * tf.maximum(
              _unit_norms(param), _LEAST_NORM) / tf.maximum(
                  _unit_norms(gradient), 1e-6))
          for param, gradient, name in zip(
              params, gradients, names, strict=True)]


_KINDS: dict[str, Callable] = {
    'none': _none, 'norm': _norm, 'value': _value, 'adaptive': _adaptive}


def _unit_norms(tensor):
  """Returns the norm of each output channel, ready to multiply the tensor."""
  axes = list(range(max(1, len(tensor.shape) - 1)))
  return tf.sqrt(tf.reduce_sum(tf.square(tensor), axes, keepdims=True))
