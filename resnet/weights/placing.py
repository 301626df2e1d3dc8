"""Puts weights that were read into the state of a run at step 0."""
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from configs import schema
from configs.process.errors import UserError
from resnet.optimization import optimizers
from resnet.state import State
from resnet.weights.imported import Imported
from resnet.weights.source import Source


def place(weights: Imported, config: schema.Config, model: keras.Model,
          state: State) -> bool:
  """Assigns weights to a network, on every replica; averages start as they are.

  Args:
    weights: fit the network.
    config: what is trained; where it gives the mean or the deviation of the
      input, these stay.
    model: the network.
    state: its state, at step 0.

  Returns:
    Whether the mean and the deviation of the input are those of the weights.

  Raises:
    UserError: the mean of the input has another shape.
  """
  statistics = _statistics(weights, config, state)
  for variable in model.variables:
    if variable.path in weights.values:
      variable.value.assign(weights.values[variable.path])
  for average, value in zip(state.averages, [*state.params, *state.moving]):
    average.assign(value.read_value())
  for name, value in statistics.items():
    state.paths[name].assign(value)
  return len(statistics) == 2


def check_optimizer(source: Source, config: schema.Config) -> None:
  """Raises UserError unless a source has a run's optimizer, and the same."""
  if source.tensors is None or source.config is None:
    raise UserError(f'--keep_optimizer is for the runs of this program, but '
                    f'{source.name} has no optimizer: leave it out.')
  theirs, ours = source.config.optimizer.name, config.optimizer.name
  if theirs != ours:
    raise UserError(
        f'--keep_optimizer does not work with config.optimizer.name={ours}, '
        f'because {source.name} was trained with {theirs}: give '
        f'--config.optimizer.name={theirs}, or leave --keep_optimizer out.')


def place_optimizer(source: Source, weights: Imported, config: schema.Config,
                    state: State) -> None:
  """Assigns all else of a run's state that a copy of it trains on with.

  Those are the weights themselves, where `place` has taken averages; averages;
  slots; what has scaled the learning rate and, in float16, the loss. What the
  run does not have, slots of what was frozen or new for example, stays.

  Args:
    source: passed check_optimizer.
    weights: of it.
    config: what is trained.
    state: passed `place`.
  """
  assert source.tensors is not None and source.config is not None
  tensors = dict(source.tensors)
  kept = ['rate_scale']
  if 'float16' == schema.loss_precision(config) == schema.loss_precision(
      source.config):
    kept += ['loss_scale', 'good_steps']
  groups = ('model', 'average', *optimizers.SLOTS[config.optimizer.name])
  for name, variable in state.paths.items():
    group, _, path = name.partition('/')
    frozen = group == 'average' and variable is state.paths[f'model/{path}']
    if name in kept or (group in groups and path not in weights.made_new
                        and not frozen):
      value = tensors.get(name)
      if group == 'average' and value is None:
        value = tensors[f'model/{path}']
      if value is not None:
        variable.assign(value)


def _statistics(weights, config, state) -> Mapping[str, Any]:
  """Returns {'mean', 'stddev'}, as far as they follow the weights."""
  found = {}
  for name in ('mean', 'stddev'):
    value = getattr(weights, name)
    if value is None or getattr(config.data, name):
      continue
    shape = tuple(state.paths[name].shape)
    try:
      found[name] = np.broadcast_to(np.asarray(value, np.float32), shape)
    except ValueError as error:
      raise UserError(
          f'{weights.source} has a {name} of the input of shape '
          f'{list(np.shape(value))}, which does not fit this run, whose is '
          f'{list(shape)}: give the config.data.center and image size of those '
          f'weights, or config.data.{name}.') from error
  return found
