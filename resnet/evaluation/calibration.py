"""How far a network's confidence can be trusted: bins, and their mean error.

The expected calibration error (ECE; Guo et al. 2017, arXiv:1706.04599) is the
difference between confidence and accuracy in each of 15 equal bins of
confidence, weighted by the examples in them. Confidence is the probability of
the predicted class. NumPy only.

  found = bins(probability, correct)
  error(found)
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BINS = 15


class Bin(NamedTuple):
  """The examples whose confidence is above `low` and at most `high`."""
  low: float  # The first bin holds its lower end, 0, as well.
  high: float
  examples: int
  confidence: float | None  # The mean; None without examples.
  accuracy: float | None


def bins(probability: np.ndarray, correct: np.ndarray,
         count: int = BINS) -> list[Bin]:
  """Sorts examples into equal bins of confidence.

  Args:
    probability: float [n], of the predicted class, in [0, 1].
    correct: bool [n], whether that is the label.
    count: how many bins.
  """
  ends = np.arange(count + 1) / count
  place = np.digitize(probability, ends[1:-1], right=True)
  found = []
  for number in range(count):
    inside = place == number
    examples = int(inside.sum())
    found.append(Bin(
        float(ends[number]), float(ends[number + 1]), examples,
        float(probability[inside].mean()) if examples else None,
        float(correct[inside].mean()) if examples else None))
  return found


def error(found: Sequence[Bin]) -> float:
  """Returns the expected calibration error of bins, in [0, 1]."""
  total = sum(one.examples for one in found)
  return sum(one.examples * abs(one.accuracy - one.confidence)
             for one in found if one.accuracy is not None
             and one.confidence is not None) / total
