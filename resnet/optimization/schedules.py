"""The learning rate as a pure function of the step."""
import dataclasses
import math

import tensorflow as tf

from configs import schema


def learning_rate(step: tf.Tensor, schedule: schema.Schedule, *,
                  total_steps: int, warmup_steps: int) -> tf.Tensor:
  """Returns the rate of update number `step`.

  During the first w = warmup_steps updates it rises linearly from zero, peak *
  (step + 1) / w (Goyal et al. 2017, section 2.2). After them it follows the
  schedule:
    'constant': peak.
    'step': peak, times one of drop_factors for each share in drops_at that has
      passed: its own, or the only one.
    'cosine': from peak to end by (1 + cos(pi * x)) / 2 (Loshchilov & Hutter
      2016), where x in [0, 1] is the share done of the updates after warm-up.
    'polynomial': from peak to end by (1 - x) ** power.

  Args:
    step: int64 scalar, from 0.
    schedule: its name and settings.
    total_steps: updates of the run.
    warmup_steps: updates over which the rate rises.

  Returns:
    float32 scalar.

  Raises:
    ValueError: the schedule is unknown.
  """
  now = tf.cast(step, tf.float64)
  remaining = max(total_steps - warmup_steps, 1)
  x = tf.clip_by_value((now - warmup_steps) / remaining, 0.0, 1.0)
  if schedule.name == 'constant':
    rate = tf.constant(schedule.peak, tf.float64)
  elif schedule.name == 'step':
    rate = tf.constant(schedule.peak, tf.float64)
    for share, factor in zip(schedule.drops_at, _factors(schedule)):
      passed = step >= round(share * total_steps)
      rate *= tf.where(passed, tf.constant(factor, tf.float64), 1)
  elif schedule.name == 'cosine':
    rate = _between(schedule, (1 + tf.cos(math.pi * x)) / 2)
  elif schedule.name == 'polynomial':
    rate = _between(schedule, (1 - x) ** schedule.power)
  else:
    raise ValueError(f'Unknown schedule {schedule.name!r}.')
  if warmup_steps:
    rate = tf.where(step < warmup_steps,
                    schedule.peak * (now + 1) / warmup_steps, rate)
  return tf.cast(rate, tf.float32)


def reduced(rate: tf.Tensor, scale: tf.Tensor, floor: float) -> tf.Tensor:
  """Returns the rate times `scale`; not below `floor`, if it was above before.

  Args:
    rate: float32 scalar, of the schedule.
    scale: float32 scalar; 1 as long as nothing has reduced the rate.
    floor: at least 0.
  """
  return tf.where(scale < 1, tf.maximum(rate * scale, tf.minimum(rate, floor)),
                  rate)


def scaled(schedule: schema.Schedule, global_batch: int) -> schema.Schedule:
  """Returns the schedule whose rates are for this batch.

  They are proportional to the batch (Goyal et al. 2017, section 2.1), if the
  schedule says for which batch it gives them.
  """
  if not schedule.peak_batch:
    return schedule
  factor = global_batch / schedule.peak_batch
  return dataclasses.replace(
      schedule, peak=factor * schedule.peak, end=factor * schedule.end,
      peak_batch=global_batch)


def _factors(schedule):
  """Returns one factor for each drop."""
  if len(schedule.drop_factors) == 1:
    return schedule.drop_factors * len(schedule.drops_at)
  return schedule.drop_factors


def _between(schedule, share):
  return schedule.end + (schedule.peak - schedule.end) * share
