"""Everything that a run changes while it trains; saving it saves the run."""
from collections.abc import Sequence
import concurrent.futures
import hashlib
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from resnet.models import parts
from resnet.optimization import optimizers

_FIRST_LOSS_SCALE = 2.0**15


class State(NamedTuple):
  """Plain variables, the same on every replica at all times."""
  step: tf.Variable  # int64, updates done; also the position in the data.
  params: list[tf.Variable]  # float32, trainable.
  # float32, all that is not trainable: batch norm's moving statistics, and what
  # config.finetune freezes.
  statistics: list[tf.Variable]
  moving: list[tf.Variable]  # Those of the statistics that training changes.
  slots: list[list[tf.Variable]]  # One list like params per optimizer slot.
  averages: list[tf.Variable]  # Of params and moving; empty: none are kept.
  rate_scale: tf.Variable  # float32, see schedules.reduced.
  monitor: tf.Variable  # float64 [4], see optimization/monitor.py.
  recovery: tf.Variable  # int64 [2]: returns, batches left out; recovery.py.
  loss_scale: tf.Variable  # float32; 1 unless precision is float16.
  good_steps: tf.Variable  # int64, updates since loss_scale last changed.
  sums: tf.Variable  # float32 [loss, correct, count] since the last log point.
  digest: tf.Variable  # int64 [3], of the positions since then; order.digest.
  mean: tf.Variable  # float32 [c] or [h, w, c], subtracted from images.
  stddev: tf.Variable  # float32 [c], divides images.
  paths: dict[str, tf.Variable]  # Name in the checkpoint -> variable.


def create(model: keras.Model, *, optimizer: str, precision: str,
           mean: np.ndarray, stddev: np.ndarray, ema: bool = False,
           frozen: Sequence[str] = ()) -> State:
  """Creates the state at step 0. Call it in the strategy's scope.

  Args:
    model: the network, built in the same scope.
    optimizer: a key of optimizers.SLOTS.
    precision: 'float32', 'bfloat16' or 'float16'.
    mean: float32 [c] or [h, w, c], in units of 0..255.
    stddev: float32 [c], in the same units.
    ema: whether to keep averages of the weights.
    frozen: what freezing.freeze has frozen in the model.
  """
  params = [v.value for v in model.trainable_variables]
  statistics = [v.value for v in model.non_trainable_variables]
  still = parts.frozen([v.path for v in model.variables], frozen)
  moving = [v for v in model.non_trainable_variables if v.path not in still]
  slots = [[_variable(tf.zeros(p.shape)) for p in params]
           for _ in optimizers.SLOTS[optimizer]]
  averaged = [*model.trainable_variables, *moving]
  averages = [_variable(tf.identity(v.value)) for v in averaged if ema]
  scale = _FIRST_LOSS_SCALE if precision == 'float16' else 1.0
  single = {
      'step': _variable(tf.constant(0, tf.int64)),
      'loss_scale': _variable(tf.constant(scale)),
      'rate_scale': _variable(tf.constant(1.0)),
      'monitor': _variable(tf.zeros([4], tf.float64)),
      'recovery': _variable(tf.zeros([2], tf.int64)),
      'good_steps': _variable(tf.constant(0, tf.int64)),
      'sums': _variable(tf.zeros([3])),
      'digest': _variable(tf.zeros([3], tf.int64)),
      'mean': _variable(tf.constant(mean)),
      'stddev': _variable(tf.constant(stddev)),
  }
  paths = dict(single)
  paths.update((f'model/{v.path}', v.value) for v in model.variables)
  for name, slot in zip(optimizers.SLOTS[optimizer], slots):
    paths.update((f'{name}/{v.path}', s)
                 for v, s in zip(model.trainable_variables, slot))
  if ema:  # What is frozen is its own average.
    paths.update((f'average/{v.path}', v.value) for v in model.variables)
  paths.update((f'average/{v.path}', a) for v, a in zip(averaged, averages))
  return State(params=params, statistics=statistics,
               moving=[v.value for v in moving], slots=slots,
               averages=averages, paths=paths, **single)


def averaged(state: State) -> State:
  """Returns the state with the averages in place of weights and statistics."""
  count = len(state.params)
  moving = {id(variable): average for variable, average in zip(
      state.moving, state.averages[count:], strict=True)}
  return state._replace(
      params=state.averages[:count],
      statistics=[moving.get(id(v), v) for v in state.statistics])


def digests(state: State) -> list[bytes]:
  """Returns a digest of all bytes of a state for each replica of this process.

  Waits for the devices. Each replica has a thread, since copying from a GPU and
  hashing take turns in one; on CPUs nothing is copied.
  """
  copies = [tf.nest.flatten(getattr(variable, 'values', (variable,)))
            for _, variable in sorted(state.paths.items())]
  with concurrent.futures.ThreadPoolExecutor(len(copies[0])) as pool:
    return list(pool.map(_digest, zip(*copies, strict=True)))


def _digest(variables):
  digest = hashlib.sha256()
  for variable in variables:
    digest.update(memoryview(variable.read_value()))
  return digest.digest()


def _variable(value):
  return tf.Variable(value, trainable=False)
