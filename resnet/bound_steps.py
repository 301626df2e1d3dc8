"""The functions of a step, with the settings of a config bound.

What is left are tensors: see resnet/steps.py.
"""
from collections.abc import Callable
import functools

import keras

from configs import schema
from pipelines import augmentation
from resnet import steps
from resnet.evaluation import eval_steps
from resnet.models import own, parts
from resnet.optimization import accumulation, averages, losses, schedules


def forward_backward(config: schema.Config, model: keras.Model,
                     augment: Callable) -> Callable:
  """Returns steps.forward_backward for the config, accumulating if it says so.

  Args:
    config: what is trained.
    model: its network.
    augment: see compilation.augment.
  """
  function = functools.partial(
      steps.forward_backward, model=model, augment=augment,
      standardize=augmentation.standardize, loss=losses.LOSSES[config.loss],
      class_weights=config.class_weights,
      label_smoothing=config.label_smoothing, global_batch=config.global_batch)
  parts = config.optimizer.accumulate
  return function if parts == 1 else functools.partial(
      accumulation.in_parts, forward_backward=function, parts=parts)


def update(config: schema.Config, model: keras.Model, *, total_steps: int,
           warmup_steps: int) -> Callable:
  """Returns steps.update for the config."""
  names, factors = rate_factors(config, model)
  return functools.partial(
      steps.update, optimizer=config.optimizer,
      schedule=schedules.scaled(config.schedule, config.global_batch),
      rate_floor=config.monitor.plateau_floor,
      names=names, rate_factors=factors,
      total_steps=total_steps, warmup_steps=warmup_steps,
      precision=schema.loss_precision(config))


def rate_factors(config: schema.Config, model: keras.Model
                 ) -> tuple[list[str], list[float]]:
  """Returns (paths of the trainable variables, parts.rate_factors of them).
  """
  names = [v.path for v in model.trainable_variables]
  return names, parts.rate_factors(
      names, [v.path for v in model.variables], config.finetune.layer_decay)


def average(config: schema.Config) -> Callable:
  """Returns averages.update for the config."""
  return functools.partial(averages.update, ema=config.ema)


def evaluate(config: schema.Config, model: keras.Model) -> Callable:
  """Returns eval_steps.evaluate for the config."""
  return functools.partial(
      eval_steps.evaluate, model=model, standardize=augmentation.standardize,
      loss=losses.LOSSES[config.loss], flip=config.data.eval_flip,
      metrics=tuple(own.metrics(config).values()))


def logits(config: schema.Config, model: keras.Model) -> Callable:
  """Returns eval_steps.logits for the config: what `evaluate` scores."""
  return functools.partial(
      eval_steps.logits, model=model, standardize=augmentation.standardize,
      flip=config.data.eval_flip)
