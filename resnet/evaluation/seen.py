"""What an evaluation saw of single examples: confused classes, the worst ones.

It is collected during the pass, after each host call, from the columns of
eval_steps. Memory does not depend on the number of examples.

  seen = Seen(classes=10, loss='softmax')
  seen.add(positions, rows)
  seen.of_all(group).worst
"""
from typing import NamedTuple

import numpy as np

from resnet.distribution.group import Group
from resnet.evaluation import charts, eval_steps

MOST_WORST = 16


class Example(NamedTuple):
  """An example and what the network made of it."""
  index: int  # In the split.
  label: int
  predicted: int  # The class with the largest logit.
  probability: float  # Of that class.
  loss: float  # Nats.


class Seen:
  """What a pass saw, on this worker or on all.

  Attributes:
    worst: the examples with the largest loss, at most MOST_WORST, worst first;
      of two with the same loss, the first in the split.
    confusion: int64 [classes, classes], see confusion.matrix; None with more
      than charts.MOST_CLASSES.
  """

  def __init__(self, classes: int, loss: str):
    """Makes that of no examples.

    Args:
      classes: how many there are.
      loss: see schema.Config.
    """
    self._classes, self._loss = classes, loss
    self.clear()

  def clear(self) -> None:
    """Forgets everything."""
    self.worst: list[Example] = []
    self.confusion = None
    if self._classes <= charts.MOST_CLASSES:
      self.confusion = np.zeros((self._classes, self._classes), np.int64)

  def add(self, positions: np.ndarray, rows: np.ndarray) -> None:
    """Notes some examples; padding and skipped ones do not count.

    Args:
      positions: int [n], their numbers in the split.
      rows: float32 [n, k], see eval_steps.COLUMNS.
    """
    counts = rows[:, eval_steps.COLUMNS.index('counts')] > 0
    positions, rows = positions[counts], rows[counts]
    _, label, predicted, top, log_sum, loss = rows.T.astype(np.float64)
    label, predicted = label.astype(np.int64), predicted.astype(np.int64)
    if self.confusion is not None:
      np.add.at(self.confusion, (label, predicted), 1)
    chosen = np.lexsort((positions, -_comparable(loss)))[:MOST_WORST]
    self._keep([Example(
        int(positions[i]), int(label[i]), int(predicted[i]),
        self._probability(top[i], log_sum[i]), float(loss[i]))
                for i in chosen])

  def of_all(self, group: Group) -> 'Seen':
    """Returns what all workers saw. All of them must call it."""
    if group.is_alone:
      return self
    own = np.full((MOST_WORST, len(Example._fields)), -1.0)
    if self.worst:
      own[:len(self.worst)] = self.worst
    found = group.exchange(own.ravel().tolist()).reshape(-1, own.shape[1])
    merged = Seen(self._classes, self._loss)
    merged._keep([
        Example(int(index), int(label), int(predicted), probability, loss)
        for index, label, predicted, probability, loss in found.tolist()
        if index >= 0])
    if self.confusion is not None:
      merged.confusion = group.total(self.confusion).astype(np.int64)
    return merged

  def _keep(self, examples):
    """Adds examples to the worst ones, and keeps those that still are."""
    self.worst = sorted([*self.worst, *examples], key=lambda one: (
        -_comparable(one.loss), one.index))[:MOST_WORST]

  def _probability(self, top, log_sum):
    """Returns the probability of the class with the largest logit."""
    if self._loss == 'sigmoid':
      return float(np.exp(-np.logaddexp(0, -top)))
    return float(np.exp(top - log_sum))


def _comparable(loss):
  """Returns losses in which one that is not a number is the largest."""
  return np.nan_to_num(loss, nan=np.inf, posinf=np.inf)
