"""How large the last update before a log point was, and what it was made with.

Norms are Euclidean, over all trainable weights together. They are the same bits
in every repetition of a run.
"""
from collections.abc import Sequence
import math
from typing import Any

import numpy as np
import tensorflow as tf

from configs import schema
from resnet.distribution.packing import Packing
from resnet.models import parts
from resnet.optimization import averages as averages_lib

_NAMES = ('gradient_norm', 'weight_norm', 'update_ratio', 'ema_distance')
SIZE = len(_NAMES)


def measure(params: Sequence[tf.Tensor], new_params: Sequence[tf.Tensor],
            averages: Sequence[tf.Tensor], loss_scale: tf.Tensor,
            vectors: Sequence[tf.Tensor], *, packing: Packing) -> tf.Tensor:
  """Computes the norms of one update. On a device.

  Args:
    params: float32 tensors, before the update.
    new_params: after it.
    averages: of new_params, and then of other variables; or empty.
    loss_scale: float32 scalar, that the gradients were multiplied by.
    vectors: with the gradients before clipping, summed over all replicas.
    packing: of these vectors.

  Returns:
    float32 [SIZE]: the norm of the gradient; that of the weights before the
    update; that of their change, divided by it; that of the difference between
    the new weights and their averages, divided by that of the new weights: not
    a number if there are no averages.
  """
  norm = tf.linalg.global_norm
  gradients, _, _ = packing.unpack(vectors)
  distance = math.nan
  if averages:
    distance = norm([new - average for new, average in zip(
        new_params, averages)]) / norm(new_params)
  change = [new - old for new, old in zip(new_params, params, strict=True)]
  return tf.stack([norm(gradients) / loss_scale, norm(params),
                   norm(change) / norm(params), distance])


def named(values: np.ndarray) -> dict[str, float]:
  """Returns {name: number} of a result of `measure`.

  What is not finite is left out: the gradient of an update that float16 skips,
  for one.
  """
  return {name: value for name, value in zip(
      _NAMES, values.tolist(), strict=True) if math.isfinite(value)}


def figures(run: Any) -> dict[str, float]:
  """Returns {name: number} for a log point.

  Args:
    run: the session.Session, at the step of the log point.
  """
  config, values = run.config, dict(run.train.update_figures)
  if schema.loss_precision(config) == 'float16':
    values['loss_scale'] = float(run.state.loss_scale.numpy())
  last = tf.constant(run.step - 1, tf.int64)
  if run.state.averages:
    values['ema_decay'] = float(averages_lib.decay(last, config.ema))
  rate = np.float32(run.train.learning_rate(run.step - 1))
  return {**values, **{
      f'learning_rate_{part}': float(rate * np.float32(factor))
      for part, factor in run.train.rate_factors.items()}}


def part_factors(names: Sequence[str], factors: Sequence[float]
                 ) -> dict[str, float]:
  """Returns {part: factor} of the learning rate; empty if all factors are 1.

  Args:
    names: paths of the trainable variables.
    factors: like names, see parts.rate_factors.
  """
  if all(factor == 1 for factor in factors):
    return {}
  of_part = dict(zip(map(parts.part, names), factors, strict=True))
  return {part: of_part[part] for part in parts.parts(names)}
