"""An exponential moving average of the weights (Polyak & Juditsky 1992)."""
from collections.abc import Sequence

import tensorflow as tf

from configs import schema


def update(averages: Sequence[tf.Tensor], values: Sequence[tf.Tensor],
           step: tf.Tensor, *, ema: schema.Ema) -> list[tf.Tensor]:
  """Returns the averages after one update.

  average = d * average + (1 - d) * value, with d as `decay` returns it.

  Args:
    averages: float32; empty if there are none.
    values: the weights and batch statistics after this update.
    step: int64 scalar, updates before this one.
    ema: its settings.
  """
  if not averages:
    return []
  kept = decay(step, ema)
  return [average + (1 - kept) * (value - average)
          for average, value in zip(averages, values, strict=True)]


def decay(step: tf.Tensor, ema: schema.Ema) -> tf.Tensor:
  """Returns the share of the average that an update keeps.

  With warm-up, it is at most (1 + t) / (10 + t) in update t, from 0: at first
  the average follows quickly, and soon forgets the weights that the run started
  from.

  Args:
    step: int64 scalar, updates before this one.
    ema: its settings.
  """
  most = tf.constant(ema.decay)
  if not ema.warmup:
    return most
  done = tf.cast(step, tf.float32)
  return tf.minimum(most, (1 + done) / (10 + done))
