"""Draws the operations that are applied to each image, and applies them.

RandAugment: Cubuk et al. 2019, arXiv:1909.13719. AutoAugment: Cubuk et al.
2018, arXiv:1805.09501. TrivialAugment: Müller & Hutter 2021, arXiv:2103.10158.
What happens to an image depends on (seed, position) alone. Do not use several
policies together: they draw the same numbers.

  images = policies.rand_augment(
      images, positions, seed=0, layers=2, magnitude=9.0)
"""
from typing import cast

import numpy as np
import tensorflow as tf

from pipelines import operations, salts, threefry

# Two operations per row, each with tenths of its probability and a magnitude in
# 0..10 (None: the operation has no strength). Cubuk et al. 2018, appendix:
# reduced CIFAR-10.
_CIFAR10 = (
    ('invert', 1, None, 'contrast', 2, 6),
    ('rotate', 7, 2, 'translate_x', 3, 9),
    ('sharpness', 8, 1, 'sharpness', 9, 3),
    ('shear_y', 5, 8, 'translate_y', 7, 9),
    ('auto_contrast', 5, None, 'equalize', 9, None),
    ('shear_y', 2, 7, 'posterize', 3, 7),
    ('color', 4, 3, 'brightness', 6, 7),
    ('sharpness', 3, 9, 'brightness', 7, 9),
    ('equalize', 6, None, 'equalize', 5, None),
    ('contrast', 6, 7, 'sharpness', 6, 5),
    ('color', 7, 7, 'translate_x', 5, 8),
    ('equalize', 3, None, 'auto_contrast', 4, None),
    ('translate_y', 4, 3, 'sharpness', 2, 6),
    ('brightness', 9, 6, 'color', 2, 8),
    ('solarize', 5, 2, 'invert', 0, None),
    ('equalize', 2, None, 'auto_contrast', 6, None),
    ('equalize', 2, None, 'equalize', 6, None),
    ('color', 9, 9, 'equalize', 6, None),
    ('auto_contrast', 8, None, 'solarize', 2, 8),
    ('brightness', 1, 3, 'color', 7, 0),
    ('solarize', 4, 5, 'auto_contrast', 9, None),
    ('translate_y', 9, 9, 'translate_y', 7, 9),
    ('auto_contrast', 9, None, 'solarize', 8, 3),
    ('equalize', 8, None, 'invert', 1, None),
    ('translate_y', 7, 9, 'auto_contrast', 9, None),
)
# The same for reduced ImageNet. Five rows occur twice, as they do in the paper.
_IMAGENET = (
    ('posterize', 4, 8, 'rotate', 6, 9),
    ('solarize', 6, 5, 'auto_contrast', 6, None),
    ('equalize', 8, None, 'equalize', 6, None),
    ('posterize', 6, 7, 'posterize', 6, 6),
    ('equalize', 4, None, 'solarize', 2, 4),
    ('equalize', 4, None, 'rotate', 8, 8),
    ('solarize', 6, 3, 'equalize', 6, None),
    ('posterize', 8, 5, 'equalize', 10, None),
    ('rotate', 2, 3, 'solarize', 6, 8),
    ('equalize', 6, None, 'posterize', 4, 6),
    ('rotate', 8, 8, 'color', 4, 0),
    ('rotate', 4, 9, 'equalize', 6, None),
    ('equalize', 0, None, 'equalize', 8, None),
    ('invert', 6, None, 'equalize', 10, None),
    ('color', 6, 4, 'contrast', 10, 8),
    ('rotate', 8, 8, 'color', 10, 2),
    ('color', 8, 8, 'solarize', 8, 7),
    ('sharpness', 4, 7, 'invert', 6, None),
    ('shear_x', 6, 5, 'equalize', 10, None),
    ('color', 4, 0, 'equalize', 6, None),
    ('equalize', 4, None, 'solarize', 2, 4),
    ('solarize', 6, 5, 'auto_contrast', 6, None),
    ('invert', 6, None, 'equalize', 10, None),
    ('color', 6, 4, 'contrast', 10, 8),
    ('equalize', 8, None, 'equalize', 6, None),
)
POLICIES = {'cifar10': _CIFAR10, 'imagenet': _IMAGENET}
# TrivialAugment draws the strength from these: 30 is the end of each range.
_BINS = 31
_SIGNED = operations.GEOMETRIC + operations.ENHANCING


def rand_augment(images: tf.Tensor, positions: tf.Tensor, *, seed: int,
                 layers: int, magnitude: float) -> tf.Tensor:
  """Applies `layers` operations in turn to each image, all of one strength.

  Args:
    images: uint8 [b, h, w, c], c = 1 or 3.
    positions: int64 [b].
    seed: of the run, in [0, 2**32).
    layers: number of operations; N in the paper.
    magnitude: in [0, 10], where 10 is the end of the ranges in
      operations.apply; M in the paper.

  Returns:
    uint8 [b, h, w, c].

  Raises:
    ValueError: magnitude is not in [0, 10].
  """
  return _apply_all(images, *draw_rand_augment(
      positions, seed=seed, layers=layers, magnitude=magnitude))


def auto_augment(images: tf.Tensor, positions: tf.Tensor, *, seed: int,
                 policy: str) -> tf.Tensor:
  """Applies one of the 25 sub-policies of a policy to each image.

  Args:
    images: uint8 [b, h, w, c], c = 1 or 3.
    positions: int64 [b].
    seed: of the run, in [0, 2**32).
    policy: a key of POLICIES: the data set that the policy was found on.

  Returns:
    uint8 [b, h, w, c].

  Raises:
    ValueError: there is no such policy.
  """
  return _apply_all(images, *draw_auto_augment(
      positions, seed=seed, policy=policy))


def trivial_augment(images: tf.Tensor, positions: tf.Tensor, *,
                    seed: int) -> tf.Tensor:
  """Applies one operation to each image, of a strength drawn for it.

  Args:
    images: uint8 [b, h, w, c], c = 1 or 3.
    positions: int64 [b].
    seed: of the run, in [0, 2**32).

  Returns:
    uint8 [b, h, w, c].
  """
  h, w = cast(tuple[int, int], images.shape[1:3])
  operation, share = draw_trivial_augment(
      positions, seed=seed, height=h, width=w)
  return operations.apply(images, operation, share)


def draw_rand_augment(positions: tf.Tensor, *, seed: int, layers: int,
                      magnitude: float) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws what `rand_augment` applies: any operation but invert, either sign.

  Args:
    positions, seed, layers, magnitude: see rand_augment.

  Returns:
    (indices into operations.OPERATIONS, int32 [b, layers]; shares for
    operations.apply, float32 [b, layers]).

  Raises:
    ValueError: magnitude is not in [0, 10].
  """
  if not 0 <= magnitude <= 10:
    raise ValueError(f'The RandAugment magnitude {magnitude} is out of range: '
                     'give a number in [0, 10].')
  names = [name for name in operations.OPERATIONS if name != 'invert']
  draws = threefry.uniform(seed, positions, salts.POLICY, (layers, 2))
  which = tf.cast(draws[:, :, 0] * len(names), tf.int32)
  is_negative = (draws[:, :, 1] < 0.5) & tf.gather(
      tf.constant([name in _SIGNED for name in names]), which)
  operation = tf.gather(
      tf.constant([operations.OPERATIONS.index(name) for name in names]), which)
  return operation, tf.where(is_negative, -magnitude / 10, magnitude / 10)


def draw_auto_augment(positions: tf.Tensor, *, seed: int,
                      policy: str) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws what `auto_augment` applies; identity where an operation is left out.

  Geometric operations have either sign. In the paper, the enhancing ones have
  no sign: magnitude 0 is factor 0.1, and 10 is factor 1.9.

  Args:
    positions, seed, policy: see auto_augment.

  Returns:
    (indices into operations.OPERATIONS, int32 [b, 2]; shares for
    operations.apply, float32 [b, 2]).

  Raises:
    ValueError: there is no such policy.
  """
  if policy not in POLICIES:
    raise ValueError(f'The AutoAugment policy {policy!r} is unknown: choose '
                     f'one of {", ".join(sorted(POLICIES))}.')
  rows = np.array(POLICIES[policy], object).reshape(-1, 2, 3)
  index = np.vectorize(operations.OPERATIONS.index)(rows[..., 0])
  tenths = rows[..., 1].astype(np.float32)
  share = np.vectorize(_auto_augment_share)(rows[..., 0], rows[..., 2])
  draws = threefry.uniform(seed, positions, salts.POLICY, (5,))
  row = tf.cast(draws[:, 0] * len(rows), tf.int32)
  operation = tf.gather(tf.constant(index, tf.int32), row)
  share = tf.gather(tf.constant(share, tf.float32), row)
  is_geometric = tf.gather(tf.constant(np.isin(
      rows[..., 0].astype(str), operations.GEOMETRIC)), row)
  share = tf.where(is_geometric & (draws[:, 3:] < 0.5), -share, share)
  is_applied = draws[:, 1:3] * 10 < tf.gather(tf.constant(tenths), row)
  return tf.where(is_applied, operation,
                  operations.OPERATIONS.index('identity')), share


def draw_trivial_augment(positions: tf.Tensor, *, seed: int, height: int,
                         width: int) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws what `trivial_augment` applies: any operation but invert.

  The ranges are those of the paper's TA (Wide), and strengths are rounded down
  where the authors' code does so. Geometric operations have either sign.

  Args:
    positions, seed: see trivial_augment.
    height: of the images, in pixels.
    width: of the images, in pixels.

  Returns:
    (indices into operations.OPERATIONS, int32 [b]; shares for
    operations.apply, float32 [b]).
  """
  names = [name for name in operations.OPERATIONS if name != 'invert']
  shares = np.array([[_trivial_augment_share(name, strength, height, width)
                      for strength in range(_BINS)] for name in names])
  draws = threefry.uniform(seed, positions, salts.POLICY, (3,))
  which = tf.cast(draws[:, 0] * len(names), tf.int32)
  strength = tf.cast(draws[:, 1] * _BINS, tf.int32)
  share = tf.gather(tf.constant(shares.ravel(), tf.float32),
                    which * _BINS + strength)
  is_negative = (draws[:, 2] < 0.5) & tf.gather(
      tf.constant([name in operations.GEOMETRIC for name in names]), which)
  operation = tf.gather(
      tf.constant([operations.OPERATIONS.index(name) for name in names]), which)
  return operation, tf.where(is_negative, -share, share)


def _trivial_augment_share(name, strength, height, width):
  """Maps a strength in 0..30 to a share, before the sign."""
  if name in ('shear_x', 'shear_y'):
    return 0.99 * strength / 30 / 0.3
  if name in ('translate_x', 'translate_y'):
    side = width if name == 'translate_x' else height
    return 32 * strength // 30 / (150 / 331 * side)
  if name == 'rotate':
    return 135 * strength // 30 / 30  # Degrees.
  if name == 'solarize':
    return 256 * strength // 30 / 256
  if name == 'posterize':
    return 6 * strength // 30 / 4  # Bits that are dropped.
  if name in operations.ENHANCING:
    return (0.01 + 1.99 * strength / 30 - 1) / 0.9
  return 0.0


def _auto_augment_share(name, magnitude):
  """Maps a magnitude of the paper to a share, before the sign."""
  if magnitude is None:
    return 0.0
  if name in operations.ENHANCING:
    return magnitude / 5 - 1  # (0.1 + 1.8 * magnitude / 10 - 1) / 0.9.
  return magnitude / 10


def _apply_all(images, operation, share):
  """Applies the operations of each image in turn.

  Args:
    images: uint8 [b, h, w, c].
    operation: int32 [b, layers].
    share: float32 [b, layers].
  """
  # If the loop were unrolled, XLA would recompute the first layer wherever the
  # second one uses it.
  _, images = tf.while_loop(
      lambda layer, _: layer < operation.shape[1],
      lambda layer, images: (layer + 1, operations.apply(
          images, operation[:, layer], share[:, layer])),
      (0, images))
  return images
