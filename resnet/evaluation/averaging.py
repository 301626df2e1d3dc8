"""The mean of the newest checkpoints of a run, as one network.

Averaging the last points of a run often finds a better one (Izmailov et al.
2018, arXiv:1803.05407). Statistics of batch norm are averaged too: that costs
nothing, where the paper measures them anew over the training data. If the run
evaluates a moving average of its weights, it is the moving averages whose mean
is taken.
"""
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from configs.process.errors import UserError
from resnet.run.checkpoint import Checkpoints

_PREFIXES = ('model/', 'average/')  # Of weights and statistics.


def newest(steps: Sequence[int], last: int, count: int) -> list[int]:
  """Returns the steps of the `count` newest checkpoints, ascending.

  Args:
    steps: those of all checkpoints.
    last: the newest to take.
    count: how many to take.

  Raises:
    UserError: there are fewer.
  """
  there = sorted(step for step in steps if step <= last)
  if len(there) < count:
    raise UserError(
        f'--average_checkpoints={count} finds only {len(there)} up to step '
        f'{last} (steps {", ".join(map(str, there))}): give at most '
        f'{len(there)}, or train with --keep_last={count}.')
  return there[-count:]


def assign_mean(checkpoints: Checkpoints, steps: Sequence[int],
                variables: Mapping[str, tf.Variable]) -> None:
  """Gives weights and statistics their means over checkpoints.

  Args:
    checkpoints: of the run; restores into `variables`.
    steps: of those whose mean is taken, ascending.
    variables: of the network's state, by name. Those that are not weights or
      statistics get the values of the last checkpoint.

  Raises:
    UserError: a checkpoint is damaged, or of another network.
    TryAgain: one cannot be read now.
  """
  weights = {name: variable for name, variable in variables.items()
             if name.startswith(_PREFIXES)}
  totals: dict[str, np.ndarray] = {}
  for step in steps:
    checkpoints.restore(step)
    for name, variable in weights.items():
      totals[name] = totals.get(name, 0.0) + variable.numpy().astype(np.float64)
  for name, variable in weights.items():
    variable.assign((totals[name] / len(steps)).astype(np.float32))
