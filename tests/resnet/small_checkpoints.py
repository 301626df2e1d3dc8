"""Checkpoints of three small variables that all hold the step."""
import numpy as np
import tensorflow as tf

from resnet.run import checkpoint

IDENTITY = {'data': {'classes': ['a', 'b'], 'train': {'examples': 10}}}


def variables(value=0, **others):
  """Returns {name: variable}, each filled with a value; `others` replace."""
  return {'step': tf.Variable(value, dtype=tf.int64),
          'model/a/kernel': tf.Variable(
              np.full((30, 40), value, np.float32)),
          'momentum/a/kernel': tf.Variable(
              np.full((30, 40), value, np.float32)), **others}


def fill(all_variables, value):
  """Fills every variable with a value."""
  for variable in all_variables.values():
    variable.assign(tf.fill(variable.shape, tf.cast(value, variable.dtype)))


def save(folder, steps, keep_last=3, best=()):
  """Writes checkpoints that hold their step in all variables."""
  state = variables()
  checkpoints = checkpoint.Checkpoints(folder, state, IDENTITY, keep_last)
  for step in steps:
    fill(state, step)
    checkpoints.save(step, best)
  checkpoints.wait()
  return checkpoints


def save_another(checkpoints, step):
  """Saves one more checkpoint, of the same kind."""
  fill(checkpoints._variables, step)
  checkpoints.save(step)


def restore(folder, step=None, state=None, identity=None, **kwargs):
  """Restores into new variables of value -1; returns (step, {name: array})."""
  state = state or variables(-1)
  found = checkpoint.Checkpoints(folder, state, identity or IDENTITY).restore(
      step, **kwargs)
  return found, {name: v.numpy() for name, v in state.items()}


def contents(folder):
  """Returns {name: bytes} of all files, None for what is not a file."""
  return {path.name: path.read_bytes() if path.is_file() else None
          for path in folder.iterdir()}
