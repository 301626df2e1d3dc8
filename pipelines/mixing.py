"""Mixup and CutMix between the two images of a pair, and their targets.

Pairs are positions 2k and 2k + 1, neighbours in the batch. Whatever is drawn is
keyed by (seed, k): a pair is mixed in the same way whatever batch it is in.
"""
import numpy as np
import tensorflow as tf

from pipelines import salts, threefry

_QUANTILES = 4096


def mix(images, targets, positions, *, seed, mixup, cutmix):
  """Mixes the images of each pair with one another, and their targets.

  Both members get the same lambda and box: first becomes lambda * first +
  (1 - lambda) * second, and second the other way round.

  Mixup, Zhang et al. 2017 (arXiv:1710.09412): lambda ~ Beta(mixup, mixup)
  weights whole images. CutMix, Yun et al. 2019 (arXiv:1905.04899), section 3.1:
  lambda ~ Beta(cutmix, cutmix), a box with sqrt(1 - lambda) of the height and
  of the width is exchanged, its center uniform, cut off at the border; lambda
  is then the share of pixels that were not exchanged. With both, either is
  used for half of the pairs.

  Args:
    images: uint8 or float32 [b, h, w, c], in units of 0..255.
    targets: float32 [b, classes], soft labels.
    positions: int64 [b], consecutive in pairs, the first of each even.
    seed: Python int in [0, 2**32).
    mixup: Python float >= 0, alpha of the Beta distribution; 0 is off.
    cutmix: the same for CutMix.

  Returns:
    float32 [b, h, w, c] images in units of 0..255, float32 [b, classes]
    targets.

  Raises:
    ValueError: while tracing, if anything is to be mixed and b is unknown or
      odd.
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
  if mixup:
    shares = _beta(draws[:, 1], mixup)  # Of the own image, [b/2].
    weights = shares[:, tf.newaxis, tf.newaxis, tf.newaxis]
  if cutmix:
    kept, kept_shares = _outside_boxes(
        1 - _beta(draws[:, 1], cutmix), draws[:, 2:], h, w)
    if mixup:
      cut = draws[:, 0] < 0.5
      shares = tf.where(cut, kept_shares, shares)
      weights = tf.where(cut[:, tf.newaxis, tf.newaxis, tf.newaxis],
                         kept, weights)
    else:
      shares, weights = kept_shares, kept
  return _blend(images, weights), _blend(targets, shares[:, tf.newaxis])


def beta_quantiles(alpha):
  """Quantiles of Beta(alpha, alpha) in the middles of 4096 equal shares.

  NumPy, not TensorFlow: inside of a trace it adds a constant of 16 kB and no
  operation. Takes 20 ms; the shares are right to 1e-7.

  Args:
    alpha: Python float, positive.

  Returns:
    float64 [4096], increasing.
  """
  # Over t = ln(x / (1 - x)) the density is (4 x (1 - x))**alpha: smooth, with
  # tails e**(-alpha |t|), where over x it has poles for alpha < 1.
  peak = 2 * np.log(2)
  end = 40 / alpha + peak  # Beyond it the density is below e**-40.
  t = np.linspace(-end, end, 2**18)
  density = np.exp(alpha * (peak - np.logaddexp(0, t) - np.logaddexp(0, -t)))
  below = np.cumsum(density) - density / 2  # The trapezoid rule.
  middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
  t = np.interp(middles * density.sum(), below, t)
  return np.exp(-np.logaddexp(0, -t))


def _beta(draws, alpha):
  """Maps uniform draws to Beta(alpha, alpha), to one of 4096 equal shares.

  A look-up and no arithmetic, not even between neighbours: the same bits on
  every device. The price is 1e-4 of the variance at alpha = 8, less below.
  """
  table = tf.constant(beta_quantiles(alpha), tf.float32)
  return tf.gather(table, tf.cast(draws * _QUANTILES, tf.int32))


def _outside_boxes(shares, centers, h, w):
  """The pixels each pair keeps: 1 outside of its box, 0 inside.

  Args:
    shares: float32 [p], area of the box before it is cut off at the border.
    centers: float32 [p, 2], uniform in [0, 1): row, column.
    h: rows.
    w: columns.

  Returns:
    float32 [p, h, w, 1] and their means, float32 [p].
  """
  rows = _inside(shares, centers[:, 0], h)
  columns = _inside(shares, centers[:, 1], w)
  exchanged = tf.reduce_sum(rows, 1) * tf.reduce_sum(columns, 1)
  kept = 1 - rows[:, :, tf.newaxis] * columns[:, tf.newaxis, :]
  return kept[..., tf.newaxis], 1 - exchanged / (h * w)


def _inside(shares, centers, size):
  """Float32 [p, size]: 1 within sqrt(share) * size / 2 of the center, else 0.

  In half pixels, squared: what is compared is exact on the left and rounded
  once on the right, so that no device has a box one pixel wider.
  """
  centers = tf.cast(centers * (2 * size), tf.int32)
  distances = 2 * tf.range(size) + 1 - centers[:, tf.newaxis]
  squares = tf.cast(distances * distances, tf.float32)
  return tf.cast(squares < shares[:, tf.newaxis] * size**2, tf.float32)


def _blend(values, weights):
  """Weights each member of a pair, [b/2, ...], and the other by 1 - weight."""
  first, second = tf.unstack(
      tf.reshape(values, [-1, 2, *values.shape[1:]]), axis=1)
  mixed = tf.stack([weights * first + (1 - weights) * second,
                    weights * second + (1 - weights) * first], 1)
  return tf.reshape(mixed, values.shape)
