"""Mixup and CutMix between the two images of a pair, and between their targets.

A pair is positions 2k and 2k + 1, neighbors in the batch. All random numbers
are keyed by (seed, k): a pair is mixed in the same way whatever batch it is in.
"""
import fractions
import math

import numpy as np
import tensorflow as tf

from pipelines import salts, threefry

_QUANTILES = 4096


def mix(images: tf.Tensor, targets: tf.Tensor, positions: tf.Tensor, *,
        seed: int, mixup: float, cutmix: float, probability: float = 1.0,
        until: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
  """Mixes the two images of each pair with one another, and their targets.

  Both members of a pair get the same lambda and box: the first becomes lambda *
  first + (1 - lambda) * second, and the second the other way round.

  Mixup, Zhang et al. 2017 (arXiv:1710.09412): lambda ~ Beta(mixup, mixup)
  weights whole images. CutMix, Yun et al. 2019 (arXiv:1905.04899), section 3.1:
  lambda ~ Beta(cutmix, cutmix), and a box with sqrt(1 - lambda) of the height
  and of the width is exchanged. Its center is uniform and it is cut off at the
  border; lambda then becomes the share of pixels that were not exchanged. If
  both are on, each is used for half of the pairs.

  Args:
    images: uint8 or float32 [b, h, w, c], in units of 0..255.
    targets: float32 [b, classes], soft labels.
    positions: int64 [b], consecutive in pairs, the first of each pair even.
    seed: of the run, in [0, 2**32).
    mixup: alpha of the Beta distribution, at least 0; 0: off.
    cutmix: the same for CutMix.
    probability: share of the pairs that are mixed.
    until: pairs from this position on are not mixed; None: all are.

  Returns:
    (images float32 [b, h, w, c], in units of 0..255; targets float32
    [b, classes]).

  Raises:
    ValueError: mixing is on and b is odd or unknown, while tracing.
  """
  images = tf.cast(images, tf.float32)
  if not (mixup or cutmix):
    return images, targets
  b, h, w, _ = images.shape
  if b is None or b % 2:
    raise ValueError(
        f'Mixup and CutMix need an even batch on each replica, not {b}: change '
        'the global batch or the number of replicas, or turn both off.')
  pairs = tf.reshape(positions, [-1, 2])[:, 0] // 2
  draws = threefry.uniform(seed, pairs, salts.MIXING, (4,))
  shares, weights = _shares_and_weights(draws, h, w, mixup, cutmix)
  if probability < 1 or until is not None:
    kept = _kept_whole(pairs, seed, probability, until)
    shares = tf.where(kept, 1.0, shares)
    weights = tf.where(
        kept[:, tf.newaxis, tf.newaxis, tf.newaxis], 1.0, weights)
  return _blend(images, weights), _blend(targets, shares[:, tf.newaxis])


def mix_until(mix_epochs: float, train_size: int) -> int | None:
  """Returns the position from which on nothing is mixed.

  Args:
    mix_epochs: epochs with mixing; 0: all.
    train_size: examples of an epoch.

  Returns:
    None: all positions are mixed.
  """
  if not mix_epochs:
    return None
  # 0.1 means 1/10; the float is slightly larger.
  exact = fractions.Fraction(mix_epochs).limit_denominator(10**9)
  return math.ceil(exact * train_size)


def beta_quantiles(alpha: float) -> np.ndarray:
  """Returns the quantiles of Beta(alpha, alpha) in the middles of 4096 bins.

  All bins have the same probability. Uses NumPy, not TensorFlow: inside a trace
  it adds a constant of 16 kB and no operation. Takes 20 ms; the probabilities
  are accurate to 1e-7.

  Args:
    alpha: positive.

  Returns:
    float64 [4096], increasing.
  """
  # As a function of t = ln(x / (1 - x)) the density is (4 x (1 - x))**alpha,
  # smooth with tails e**(-alpha |t|). As a function of x it has poles for
  # alpha < 1.
  peak = 2 * np.log(2)
  end = 40 / alpha + peak  # Beyond it the density is below e**-40.
  t = np.linspace(-end, end, 2**18)
  density = np.exp(alpha * (peak - np.logaddexp(0, t) - np.logaddexp(0, -t)))
  below = np.cumsum(density) - density / 2  # The trapezoid rule.
  middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
  t = np.interp(middles * density.sum(), below, t)
  return np.exp(-np.logaddexp(0, -t))


def _kept_whole(pairs, seed, probability, last):
  """Returns which pairs are not mixed: bool [p]."""
  draws = threefry.uniform(seed, pairs, salts.MIX_PROBABILITY, (1,))[:, 0]
  kept = draws >= probability
  return kept if last is None else kept | (2 * pairs >= last)


def _shares_and_weights(draws, h, w, mixup, cutmix):
  """Returns how much each member of a pair keeps of itself.

  Args:
    draws: float32 [p, 4], uniform in [0, 1): for the choice between mixup and
      CutMix, for lambda, and for the row and column of the box's center.
    h, w: rows and columns of the images.
    mixup, cutmix: alphas; 0: off. At least one of them is on.

  Returns:
    (shares for the targets, float32 [p]; weights for the pixels, float32
    [p, 1, 1, 1] or [p, h, w, 1]).
  """
  if not cutmix:
    return _mixup_shares_and_weights(draws, mixup)
  cut_weights, cut_shares = _outside_boxes(
      1 - _beta(draws[:, 1], cutmix), draws[:, 2:], h, w)
  if not mixup:
    return cut_shares, cut_weights
  shares, weights = _mixup_shares_and_weights(draws, mixup)
  cut = draws[:, 0] < 0.5
  return (tf.where(cut, cut_shares, shares),
          tf.where(cut[:, tf.newaxis, tf.newaxis, tf.newaxis],
                   cut_weights, weights))


def _mixup_shares_and_weights(draws, alpha):
  shares = _beta(draws[:, 1], alpha)
  return shares, shares[:, tf.newaxis, tf.newaxis, tf.newaxis]


def _beta(draws, alpha):
  """Maps uniform draws to Beta(alpha, alpha), to one of its 4096 quantiles.

  Only looks values up: without arithmetic, such as an interpolation, the bits
  are the same on every device. This costs 1e-4 of the variance at alpha = 8,
  less below.
  """
  table = tf.constant(beta_quantiles(alpha), tf.float32)
  return tf.gather(table, tf.cast(draws * _QUANTILES, tf.int32))


def _outside_boxes(shares, centers, h, w):
  """Returns the pixels that each pair keeps: 1 outside its box, 0 inside.

  Args:
    shares: float32 [p], area of the box before it is cut off at the border.
    centers: float32 [p, 2], uniform in [0, 1): row, column.
    h: rows.
    w: columns.

  Returns:
    (float32 [p, h, w, 1]; their means, float32 [p]).
  """
  rows = _inside(shares, centers[:, 0], h)
  columns = _inside(shares, centers[:, 1], w)
  exchanged = tf.reduce_sum(rows, 1) * tf.reduce_sum(columns, 1)
  kept = 1 - rows[:, :, tf.newaxis] * columns[:, tf.newaxis, :]
  return kept[..., tf.newaxis], 1 - exchanged / (h * w)


def _inside(shares, centers, size):
  """Returns float32 [p, size]: 1 within sqrt(share) * size / 2 of the center.

  Compares squares in units of half a pixel: the left side is exact and the
  right side is rounded once, so that no device has a box one pixel wider.
  """
  centers = tf.cast(centers * (2 * size), tf.int32)
  distances = 2 * tf.range(size) + 1 - centers[:, tf.newaxis]
  squares = tf.cast(distances * distances, tf.float32)
  return tf.cast(squares < shares[:, tf.newaxis] * size**2, tf.float32)


def _blend(values, weights):
  """Weights each member of a pair by `weights` and the other by 1 - weights.

  Args:
    values: float32 [b, ...].
    weights: float32 [b / 2, ...], the same for both members.

  Returns:
    float32 [b, ...].
  """
  first, second = tf.unstack(
      tf.reshape(values, [-1, 2, *values.shape[1:]]), axis=1)
  mixed = tf.stack([weights * first + (1 - weights) * second,
                    weights * second + (1 - weights) * first], 1)
  return tf.reshape(mixed, values.shape)
