"""The figures of each class. NumPy only."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class ClassFigures(NamedTuple):
  """What a network makes of one class."""
  label: int
  name: str
  examples: int  # Of this class.
  predicted: int  # Examples, of any class, that were taken for it.
  correct: int  # Examples of it that were taken for it.

  @property
  def recall(self) -> float | None:
    """The share of its examples that are recognized; None without examples.

    It is also what is called the accuracy of the class.
    """
    return self.correct / self.examples if self.examples else None

  @property
  def precision(self) -> float | None:
    """The share of what is taken for it that is of it; None if nothing is."""
    return self.correct / self.predicted if self.predicted else None


def figures(label: np.ndarray, predicted: np.ndarray,
            names: Sequence[str]) -> list[ClassFigures]:
  """Returns the figures of all classes, in the order of their labels.

  Args:
    label: int [n].
    predicted: int [n].
    names: of the classes.
  """
  examples, taken, correct = (
      np.bincount(values, minlength=len(names)).tolist()
      for values in (label, predicted, label[label == predicted]))
  return [ClassFigures(i, *values)
          for i, values in enumerate(zip(names, examples, taken, correct))]


def mean_accuracy(found: Sequence[ClassFigures]) -> float:
  """Returns the mean of the classes' accuracies: each class counts the same."""
  there = [one.recall for one in found if one.recall is not None]
  return sum(there) / len(there)
