"""Computes the gradients of a batch in several parts, one after the other."""
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf


def in_parts(params: Sequence[tf.Tensor], statistics: Sequence[tf.Tensor],
             mean: tf.Tensor, stddev: tf.Tensor, loss_scale: tf.Tensor,
             batch: Mapping[str, tf.Tensor], *, forward_backward: Callable,
             parts: int) -> tuple[list, list, tf.Tensor]:
  """Does what steps.forward_backward does, in less memory.

  The gradients of the parts add up to those of the batch. Batch norm, though,
  normalizes with the statistics of each part, and its moving statistics change
  with each.

  Args:
    params: see steps.forward_backward.
    statistics: see steps.forward_backward.
    mean: see steps.forward_backward.
    stddev: see steps.forward_backward.
    loss_scale: see steps.forward_backward.
    batch: see steps.forward_backward; `parts` divides its size.
    forward_backward: the function, with its keyword arguments bound.
    parts: consecutive, equal parts of the batch.

  Returns:
    See steps.forward_backward.
  """
  pieces = {name: tf.reshape(value, [parts, -1, *value.shape[1:]])
            for name, value in batch.items()}

  def add_part(part, gradients, statistics, sums):
    more, statistics, new_sums = forward_backward(
        params, statistics, mean, stddev, loss_scale,
        {name: value[part] for name, value in pieces.items()})
    return (part + 1, [old + new for old, new in zip(gradients, more)],
            statistics, sums + new_sums)

  # A loop, so that one part's activations are gone before the next one's.
  _, gradients, statistics, sums = tf.while_loop(
      lambda part, *_: part < parts, add_part,
      (0, [tf.zeros_like(p) for p in params], list(statistics), tf.zeros([3])),
      parallel_iterations=1, maximum_iterations=parts)
  return gradients, list(statistics), sums
