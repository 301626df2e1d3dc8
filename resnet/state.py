"""All that a run changes while it trains; saving it is saving the run."""
from typing import NamedTuple

import tensorflow as tf

from resnet import optimizers

_FIRST_LOSS_SCALE = 2.0**15


class State(NamedTuple):
  """Plain variables, the same on every replica at all times."""
  step: tf.Variable  # int64, updates done: also the place in the data.
  params: list  # float32, trainable.
  statistics: list  # float32, batch norm's moving means and variances.
  slots: list  # For each slot of the optimiser a list like params.
  loss_scale: tf.Variable  # float32; 1 unless precision is float16.
  good_steps: tf.Variable  # int64, updates since loss_scale last changed.
  sums: tf.Variable  # float32 [loss, correct, count] since the last log line.
  digest: tf.Variable  # int64 [3]: of positions since then, order.digest.
  mean: tf.Variable  # float32 [c] or [h, w, c]: what standardises images.
  stddev: tf.Variable  # float32 [c].
  paths: dict  # Name in the checkpoint -> variable.


def create(model, *, optimizer, precision, mean, stddev):
  """The state at step 0. Call in the strategy's scope.

  Args:
    model: Keras model, built in the same scope.
    optimizer: optimiser's name, a key of optimizers.SLOTS.
    precision: 'float32', 'bfloat16' or 'float16'.
    mean: float32 [c] or [h, w, c], in units of 0..255.
    stddev: float32 [c].

  Returns:
    State.
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


def contents(state):
  """All bytes of a state, once for each replica of this process."""
  copies = [tf.nest.flatten(getattr(variable, 'values', (variable,)))
            for _, variable in sorted(state.paths.items())]
  return [b''.join(copy[replica].numpy().tobytes() for copy in copies)
          for replica in range(len(copies[0]))]


def _variable(value):
  return tf.Variable(value, trainable=False)
