"""The temperature that calibrates a network: its logits are divided by it.

It changes no prediction (Guo et al. 2017, arXiv:1706.04599). The loss is convex
in 1 / temperature, so there is one best value, and it is found by Newton's
method between bounds, without random numbers. NumPy only.

  fitted = fit(logits, labels, 'softmax')
  probabilities = top_probability(logits / fitted, 'softmax')
"""
from typing import NamedTuple

import numpy as np

LOWEST, HIGHEST = 0.01, 100.0  # That are tried.
_ROUNDS = 100
_ROWS = 4096  # Whose exponentials are in memory at a time.


class Slope(NamedTuple):
  """The loss at some factor of the logits, and how it changes with it."""
  loss: float  # Nats, the mean.
  first: float  # Derivative by the factor.
  second: float


def fit(logits: np.ndarray, labels: np.ndarray, loss: str) -> float:
  """Returns the temperature with the smallest loss.

  Args:
    logits: float32 [n, classes], n > 0.
    labels: int [n].
    loss: 'softmax' or 'sigmoid', see schema.Config.

  Returns:
    A number from LOWEST to HIGHEST. It is LOWEST if the loss still falls there,
    as it does where every example is predicted right.
  """
  low, high = 1 / HIGHEST, 1 / LOWEST  # Of the factor, 1 / temperature.
  if slope(logits, labels, high, loss).first <= 0:
    return LOWEST
  if slope(logits, labels, low, loss).first >= 0:
    return HIGHEST
  factor = 1.0
  for _ in range(_ROUNDS):
    here = slope(logits, labels, factor, loss)
    low, high = (factor, high) if here.first < 0 else (low, factor)
    following = factor - here.first / here.second if here.second else low
    if not low <= following <= high:
      following = (low + high) / 2
    if abs(following - factor) <= 1e-12 * factor:
      break
    factor = following
  return 1 / factor


def slope(logits: np.ndarray, labels: np.ndarray, factor: float,
          loss: str) -> Slope:
  """Returns the mean loss of logits times a factor; see `fit`."""
  total = np.zeros(3)
  for start in range(0, len(logits), _ROWS):
    part = slice(start, start + _ROWS)
    total += _SUMS[loss](logits[part].astype(np.float64), labels[part], factor)
  return Slope(*(total / len(logits)).tolist())


def top_probability(logits: np.ndarray, loss: str) -> np.ndarray:
  """Returns the probability of the most likely class, float64 [n].

  softmax: the classes exclude each other. sigmoid: each class has a probability
  of its own, and they do not add up to 1.

  Args:
    logits: float [n, classes].
    loss: see `fit`.
  """
  values = logits.astype(np.float64)
  top = values.max(1)
  if loss == 'sigmoid':
    return np.exp(-np.logaddexp(0, -top))
  return 1 / np.exp(values - top[:, np.newaxis]).sum(1)


def _softmax_sums(logits, labels, factor):
  """Returns sums over examples: loss, first and second derivative."""
  logits = logits - logits.max(1, keepdims=True)
  own = logits[np.arange(len(logits)), labels]
  weights = np.exp(factor * logits)
  partition = weights.sum(1)
  mean = (weights * logits).sum(1) / partition
  square = (weights * logits**2).sum(1) / partition
  return np.array([(np.log(partition) - factor * own).sum(),
                   (mean - own).sum(), (square - mean**2).sum()])


def _sigmoid_sums(logits, labels, factor):
  """As _softmax_sums; the loss of an example is the mean over its classes."""
  target = np.zeros(logits.shape)
  target[np.arange(len(logits)), labels] = 1
  scaled = factor * logits
  probability = np.exp(-np.logaddexp(0, -scaled))
  per_example = [
      np.logaddexp(0, scaled) - target * scaled,
      (probability - target) * logits,
      probability * (1 - probability) * logits**2]
  return np.array([values.mean(1).sum() for values in per_example])


_SUMS = {'softmax': _softmax_sums, 'sigmoid': _sigmoid_sums}
