"""Policies: the tables, what is drawn and how often, and what is applied."""
import collections

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
import pytest
import tensorflow as tf

from pipelines import operations, policies, salts, threefry

_FOURTEEN = set(operations.OPERATIONS) - {'invert'}
_SIGNED = {'shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate',
           'color', 'contrast', 'brightness', 'sharpness'}


def _positions(b):
  return tf.range(1000, 1000 + b, dtype=tf.int64)


def _images(b, h=9, w=12, c=3):
  return np.random.default_rng(0).integers(0, 256, (b, h, w, c), dtype=np.uint8)


def _assert_binomial(counts, draws, probabilities):
  """Checks that each count is binomial, within 5 standard deviations."""
  probabilities = np.array(probabilities)
  deviation = np.sqrt(draws * probabilities * (1 - probabilities))
  np.testing.assert_array_less(
      np.abs(counts - draws * probabilities), 5 * deviation + 1e-9)


# From the paper's appendix, for each operation and its place in the row: the
# number of its rows, the sum of their tenths of probability, and the sum of
# their magnitudes.
@pytest.mark.parametrize('policy, expected', [
    ('cifar10', {
        ('auto_contrast', 0): (3, 22, 0), ('auto_contrast', 1): (4, 28, 0),
        ('brightness', 0): (2, 10, 9), ('brightness', 1): (2, 13, 16),
        ('color', 0): (3, 20, 19), ('color', 1): (2, 9, 8),
        ('contrast', 0): (1, 6, 7), ('contrast', 1): (1, 2, 6),
        ('equalize', 0): (5, 21, 0), ('equalize', 1): (4, 26, 0),
        ('invert', 0): (1, 1, 0), ('invert', 1): (2, 1, 0),
        ('posterize', 1): (1, 3, 7), ('rotate', 0): (1, 7, 2),
        ('sharpness', 0): (2, 11, 10), ('sharpness', 1): (3, 17, 14),
        ('shear_y', 0): (2, 7, 15),
        ('solarize', 0): (2, 9, 7), ('solarize', 1): (2, 10, 11),
        ('translate_x', 1): (2, 8, 17),
        ('translate_y', 0): (3, 20, 21), ('translate_y', 1): (2, 14, 18)}),
    ('imagenet', {
        ('auto_contrast', 1): (2, 12, 0),
        ('color', 0): (4, 24, 16), ('color', 1): (2, 14, 2),
        ('contrast', 1): (2, 20, 16),
        ('equalize', 0): (7, 34, 0), ('equalize', 1): (10, 78, 0),
        ('invert', 0): (2, 12, 0), ('invert', 1): (1, 6, 0),
        ('posterize', 0): (3, 18, 20), ('posterize', 1): (2, 10, 12),
        ('rotate', 0): (4, 22, 28), ('rotate', 1): (2, 14, 17),
        ('sharpness', 0): (1, 4, 7), ('shear_x', 0): (1, 6, 5),
        ('solarize', 0): (3, 18, 13), ('solarize', 1): (4, 18, 23)}),
])
def test_tables_have_the_sums_of_the_paper(policy, expected):
  rows = policies.POLICIES[policy]
  assert len(rows) == 25
  sums = collections.defaultdict(lambda: np.zeros(3, int))
  for row in rows:
    for place, (name, tenths, magnitude) in enumerate((row[:3], row[3:])):
      assert tenths in range(11) and magnitude in (None, *range(11))
      assert (magnitude is None) == (
          name in ('auto_contrast', 'equalize', 'invert'))
      sums[name, place] += (1, tenths, magnitude or 0)
  assert {key: tuple(value) for key, value in sums.items()} == expected


def test_five_rows_of_imagenet_occur_twice_as_in_the_paper():
  counts = collections.Counter(policies.POLICIES['imagenet'])
  assert sorted(counts.values()) == [1] * 15 + [2] * 5
  assert len(set(policies.POLICIES['cifar10'])) == 25


def test_rand_augment_draws_fourteen_operations_evenly_with_either_sign():
  b, layers = 7000, 3
  operation, share = policies.draw_rand_augment(
      _positions(b), seed=0, layers=layers, magnitude=9)
  for layer in range(layers):
    negative = share[:, layer].numpy() < 0
    names = np.array(operations.OPERATIONS)[operation[:, layer]]
    counts = collections.Counter(names)
    assert set(counts) == _FOURTEEN
    _assert_binomial(np.array(list(counts.values())), b, [1 / 14] * 14)
    signed = np.isin(names, list(_SIGNED))
    assert not negative[~signed].any()
    _assert_binomial(negative[signed].sum(), signed.sum(), 1 / 2)
  np.testing.assert_array_equal(np.abs(share), np.float32(0.9))
  # Layers are independent: in 14 of the 196 pairs, both operations are equal.
  _assert_binomial(np.sum(operation[:, 0] == operation[:, 1]), b, 1 / 14)


@pytest.mark.parametrize('policy', ['cifar10', 'imagenet'])
def test_auto_augment_draws_rows_evenly_and_operations_independently(policy):
  b = 20000
  operation, share = (x.numpy() for x in policies.draw_auto_augment(
      _positions(b), seed=0, policy=policy))
  names = np.array(operations.OPERATIONS)[operation]
  expected = collections.Counter()
  for row in policies.POLICIES[policy]:
    first = {row[0]: row[1] / 10, 'identity': 1 - row[1] / 10}
    second = {row[3]: row[4] / 10, 'identity': 1 - row[4] / 10}
    for one in first:
      for other in second:
        expected[one, other] += first[one] * second[other] / 25
  counts = collections.Counter(zip(*names.T))
  assert set(counts) <= {pair for pair, p in expected.items() if p > 0}
  for pair, probability in expected.items():
    _assert_binomial(counts[pair], b, min(probability, 1))
  for name in operations.GEOMETRIC:
    drawn = share[names == name]
    _assert_binomial(np.sum(drawn < 0), drawn.size, 1 / 2)


@pytest.mark.parametrize('policy', ['cifar10', 'imagenet'])
def test_auto_augment_follows_its_draws(policy):
  positions = _positions(300)
  operation, share = policies.draw_auto_augment(
      positions, seed=4, policy=policy)
  draws = threefry.uniform(4, positions, salts.POLICY, (5,)).numpy()
  for draw, indices, shares in zip(draws, operation.numpy(), share.numpy()):
    row = policies.POLICIES[policy][int(draw[0] * 25)]
    for place, (name, tenths, magnitude) in enumerate((row[:3], row[3:])):
      if draw[1 + place] >= tenths / 10:
        name = 'identity'
      assert operations.OPERATIONS[indices[place]] == name
      if name in ('color', 'contrast', 'brightness', 'sharpness'):
        np.testing.assert_allclose(
            1 + 0.9 * shares[place], 0.1 + 1.8 * magnitude / 10, atol=1e-6)
      elif name in ('solarize', 'posterize', *operations.GEOMETRIC):
        negative = name in operations.GEOMETRIC and draw[3 + place] < 0.5
        np.testing.assert_allclose(
            shares[place], (-1 if negative else 1) * magnitude / 10, atol=1e-7)


def test_rand_augment_follows_its_draws():
  positions = _positions(300)
  operation, share = (x.numpy() for x in policies.draw_rand_augment(
      positions, seed=4, layers=2, magnitude=3.5))
  draws = threefry.uniform(4, positions, salts.POLICY, (2, 2)).numpy()
  names = [name for name in operations.OPERATIONS if name != 'invert']
  for index in np.ndindex(300, 2):
    name = names[int(draws[index][0] * 14)]
    assert operations.OPERATIONS[operation[index]] == name
    negative = name in _SIGNED and draws[index][1] < 0.5
    np.testing.assert_allclose(share[index], -0.35 if negative else 0.35)


def _rand_augment(images, positions):
  return policies.rand_augment(
      images, positions, seed=2, layers=2, magnitude=7.0)


def _auto_augment(images, positions):
  return policies.auto_augment(images, positions, seed=2, policy='cifar10')


def _trivial_augment(images, positions):
  return policies.trivial_augment(images, positions, seed=2)


def test_operations_are_applied_in_turn():
  images, positions = _images(40), _positions(40)
  for result, draw in (
      (_rand_augment(images, positions), policies.draw_rand_augment(
          positions, seed=2, layers=2, magnitude=7.0)),
      (_auto_augment(images, positions), policies.draw_auto_augment(
          positions, seed=2, policy='cifar10'))):
    (first, second), (share, other_share) = (
        tf.unstack(x, axis=1) for x in draw)
    once = operations.apply(images, first, share)
    np.testing.assert_array_equal(
        result, operations.apply(once, second, other_share))


@pytest.mark.parametrize('augment, c', [
    (_rand_augment, 3), (_auto_augment, 1), (_trivial_augment, 3)])
def test_compilers_agree_to_the_bit(augment, c):
  images, positions = _images(32, c=c), _positions(32)
  eager = augment(images, positions)
  assert eager.shape == images.shape and eager.dtype == tf.uint8
  assert np.any(eager != images)
  for jit in (False, True):
    compiled = tf.function(augment, jit_compile=jit, autograph=False)
    np.testing.assert_array_equal(
        compiled(tf.constant(images), positions), eager)


@pytest.mark.parametrize(
    'augment', [_rand_augment, _auto_augment, _trivial_augment])
def test_an_image_does_not_depend_on_its_batch(augment):
  images, positions = _images(20), _positions(20)
  together = augment(images, positions)
  backwards = augment(images[::-1], positions[::-1])
  np.testing.assert_array_equal(backwards[::-1], together)
  np.testing.assert_array_equal(
      augment(images[10:], positions[10:]), together[10:])


# TA (Wide) as the authors' code has it: the ends of the ranges, what is rounded
# down, and whether the sign is drawn (Müller & Hutter 2021; aug_lib.py).
_WIDE = {
    'shear_x': (0, 0.99, False, True), 'shear_y': (0, 0.99, False, True),
    'translate_x': (0, 32, True, True), 'translate_y': (0, 32, True, True),
    'rotate': (0, 135, True, True), 'solarize': (0, 256, True, False),
    'posterize': (0, 6, True, False),
    **dict.fromkeys(('color', 'contrast', 'brightness', 'sharpness'),
                    (0.01, 2.0, False, False))}


def _strength(name, share, h, w):
  """Returns what a share means to operations.apply, see its docstring."""
  return {
      'shear_x': 0.3 * share, 'shear_y': 0.3 * share,
      'translate_x': 150 / 331 * share * w,
      'translate_y': 150 / 331 * share * h, 'rotate': 30 * share,
      'solarize': 256 * share, 'posterize': np.round(4 * share),
  }.get(name, 1 + 0.9 * share)


def test_trivial_augment_follows_its_draws():
  b, h, w = 3000, 40, 64
  operation, share = (x.numpy() for x in policies.draw_trivial_augment(
      _positions(b), seed=4, height=h, width=w))
  draws = threefry.uniform(4, _positions(b), salts.POLICY, (3,)).numpy()
  names = [name for name in operations.OPERATIONS if name != 'invert']
  for draw, index, value in zip(draws, operation, share):
    name = names[int(draw[0] * 14)]
    assert operations.OPERATIONS[index] == name
    if name in ('identity', 'auto_contrast', 'equalize'):
      continue
    low, high, is_whole, is_signed = _WIDE[name]
    wanted = low + (high - low) * int(draw[1] * 31) / 30
    wanted = np.floor(wanted) if is_whole else wanted
    wanted *= -1 if is_signed and draw[2] < 0.5 else 1
    np.testing.assert_allclose(
        _strength(name, value, h, w), wanted, rtol=1e-6, atol=1e-6)


def test_trivial_augment_draws_operations_and_strengths_evenly():
  b = 14000
  operation, share = (x.numpy() for x in policies.draw_trivial_augment(
      _positions(b), seed=0, height=40, width=64))
  names = np.array(operations.OPERATIONS)[operation]
  counts = collections.Counter(names)
  assert set(counts) == _FOURTEEN
  _assert_binomial(np.array(list(counts.values())), b, [1 / 14] * 14)
  rotations = np.abs(share[names == 'rotate'])
  strengths, counts = np.unique(rotations, return_counts=True)
  assert len(strengths) == 31
  _assert_binomial(counts, rotations.size, [1 / 31] * 31)


@pytest.mark.parametrize('run', ['eager', 'graph', 'xla'])
def test_trivial_augment_matches_pillow_at_the_ends(run):
  h, w = 40, 64
  image = _images(1, h, w)[0]
  picture = Image.fromarray(image)
  fill = dict(resample=Image.Resampling.NEAREST, fillcolor=(128,) * 3)
  affine = lambda *m: picture.transform(
      (w, h), Image.Transform.AFFINE, m, **fill)
  expected = {
      ('shear_x', 0.99 / 0.3): affine(1, 0.99, 0, 0, 1, 0),
      ('shear_y', -0.99 / 0.3): affine(1, 0, 0, -0.99, 1, 0),
      ('translate_x', 32 / (150 / 331 * w)): affine(1, 0, 32, 0, 1, 0),
      ('translate_y', -32 / (150 / 331 * h)): affine(1, 0, 0, 0, 1, -32),
      ('rotate', 135 / 30): picture.rotate(135, **fill),
      ('rotate', -126 / 30): picture.rotate(-126, **fill),
      ('solarize', 1.0): ImageOps.solarize(picture, 0),
      ('solarize', 8 / 256): ImageOps.solarize(picture, 248),
      ('posterize', 6 / 4): ImageOps.posterize(picture, 2),
      **{(name, (factor - 1) / 0.9): getattr(
          ImageEnhance, name.capitalize())(picture).enhance(factor)
         for name in operations.ENHANCING for factor in (0.01, 2.0)}}
  function = operations.apply
  if run != 'eager':
    function = tf.function(function, jit_compile=run == 'xla', autograph=False)
  result = function(
      tf.constant(np.stack([image] * len(expected))),
      tf.constant([operations.OPERATIONS.index(n) for n, _ in expected]),
      tf.constant([share for _, share in expected], tf.float32)).numpy()
  for (name, share), picture, got in zip(expected, expected.values(), result):
    difference = np.abs(got.astype(int) - np.asarray(picture))
    # Pillow rounds a product of float32s; this code needs no rounding.
    assert difference.max() <= (name in operations.ENHANCING), (name, share)
    assert np.mean(difference > 0) < 0.01, (name, share)


def test_trivial_augment_applies_what_was_drawn():
  images, positions = _images(40), _positions(40)
  result = policies.trivial_augment(images, positions, seed=2)
  np.testing.assert_array_equal(result, operations.apply(
      images, *policies.draw_trivial_augment(
          positions, seed=2, height=9, width=12)))


def test_nothing_but_positions_and_seed_changes_what_is_drawn():
  draws = {
      policies.draw_rand_augment(
          _positions(50) + offset, seed=seed, layers=2, magnitude=5
      )[0].numpy().tobytes() for seed in (0, 1) for offset in (0, 2**32)}
  assert len(draws) == 4


@pytest.mark.parametrize('magnitude', [-0.1, 10.5])
def test_magnitudes_beyond_the_range_are_refused(magnitude):
  with pytest.raises(ValueError, match=rf'{magnitude} is out of.*\[0, 10\]'):
    policies.rand_augment(_images(1), _positions(1), seed=0, layers=1,
                          magnitude=magnitude)


def test_unknown_policies_are_refused():
  with pytest.raises(ValueError, match="'svhn' is unknown.*cifar10, imagenet"):
    policies.auto_augment(_images(1), _positions(1), seed=0, policy='svhn')
