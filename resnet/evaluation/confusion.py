"""Which classes are taken for which. NumPy only."""
from typing import NamedTuple

import numpy as np


class Pair(NamedTuple):
  """Examples of one class that were taken for another."""
  label: int
  predicted: int
  examples: int


def matrix(label: np.ndarray, predicted: np.ndarray,
           classes: int) -> np.ndarray:
  """Counts the examples of each label (row) and prediction (column).

  Args:
    label: int [n].
    predicted: int [n].
    classes: how many there are.

  Returns:
    int64 [classes, classes].
  """
  place = label.astype(np.int64) * classes + predicted
  return np.bincount(place, minlength=classes**2).reshape(classes, classes)


def pairs(label: np.ndarray, predicted: np.ndarray) -> list[Pair]:
  """Returns all pairs of classes that were confused, the most frequent first.

  Of two that are equally frequent, the one with the lower label comes first.
  Memory does not depend on the number of classes.
  """
  wrong = label != predicted
  both = np.stack([label[wrong], predicted[wrong]], 1)
  found, counts = np.unique(both, axis=0, return_counts=True)
  order = np.argsort(-counts, kind='stable')
  return [Pair(int(found[i, 0]), int(found[i, 1]), int(counts[i]))
          for i in order]


def hardest(matrix: np.ndarray, most: int) -> np.ndarray:
  """Returns the classes with the most errors, in the order of their labels.

  Args:
    matrix: int [classes, classes], see `matrix`. An error counts for the label
      and for the prediction.
    most: how many classes to return at most. Of two with equally many errors,
      the one with the lower label is taken.

  Returns:
    int64 [k].
  """
  errors = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
  return np.sort(np.argsort(-errors, kind='stable')[:most])
