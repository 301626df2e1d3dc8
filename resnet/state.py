"""Everything that a run changes while it trains; saving it saves the run."""
import concurrent.futures
import hashlib
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from resnet.optimization import optimizers

_FIRST_LOSS_SCALE = 2.0**15


class State(NamedTuple):
  """Plain variables, the same on every replica at all times."""
  step: tf.Variable  # int64, updates done; also the position in the data.
  params: list[tf.Variable]  # float32, trainable.
  statistics: list[tf.Variable]  # float32, batch norm's moving statistics.
  slots: list[list[tf.Variable]]  # One list like params per optimizer slot.
  loss_scale: tf.Variable  # float32; 1 unless precision is float16.
  good_steps: tf.Variable  # int64, updates since loss_scale last changed.
  sums: tf.Variable  # float32 [loss, correct, count] since the last log point.
  digest: tf.Variable  # int64 [3], of the positions since then; order.digest.
  mean: tf.Variable  # float32 [c] or [h, w, c], subtracted from images.
  stddev: tf.Variable  # float32 [c], divides images.
  paths: dict[str, tf.Variable]  # Name in the checkpoint -> variable.


def create(model: keras.Model, *, optimizer: str, precision: str,
           mean: np.ndarray, stddev: np.ndarray) -> State:
  """Creates the state at step 0. Call it in the strategy's scope.

  Args:
    model: the network, built in the same scope.
    optimizer: a key of optimizers.SLOTS.
    precision: 'float32', 'bfloat16' or 'float16'.
    mean: float32 [c] or [h, w, c], in units of 0..255.
    stddev: float32 [c], in the same units.
  """
  params = [v.value for v in model.trainable_variables]
  statistics = [v.value for v in model.non_trainable_variables]
  slots = [[_variable(tf.zeros(p.shape)) for p in params]
           for _ in optimizers.SLOTS[optimizer]]
  scale = _FIRST_LOSS_SCALE if precision == 'float16' else 1.0
  single = {
      'step': _variable(tf.constant(0, tf.int64)),
      'loss_scale': _variable(tf.constant(scale)),
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
  return State(params=params, statistics=statistics, slots=slots, paths=paths,
               **single)


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
