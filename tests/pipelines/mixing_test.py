"""Mixup and CutMix against NumPy, and Beta quantiles against closed forms."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines import mixing, threefry

_MIDDLES = (np.arange(4096) + 0.5) / 4096
_SETTINGS = [(0.4, 0.0), (0.0, 1.0), (0.3, 1.0)]


def _batch(b=16, h=9, w=7, c=3, classes=5, dtype=np.uint8):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (b, h, w, c)).astype(dtype)
  targets = rng.dirichlet(np.ones(classes), b).astype(np.float32)
  return images, targets, tf.range(100, 100 + b, dtype=tf.int64)


def _mix(images, targets, positions, mixup, cutmix, run='eager', seed=5):
  def function(x, t, p):
    return mixing.mix(x, t, p, seed=seed, mixup=mixup, cutmix=cutmix)
  if run != 'eager':
    function = tf.function(
        function, jit_compile=run == 'xla', autograph=False)
  images, targets = function(
      tf.constant(images), tf.constant(targets), positions)
  assert images.dtype == targets.dtype == tf.float32
  return images.numpy(), targets.numpy()


def _black_and_white(pairs, h, w, mixup, cutmix):
  """Returns the weights of the first image [pairs, h, w] and target [pairs]."""
  images = np.zeros((2 * pairs, h, w, 1), np.float32)
  images[::2] = 1
  targets = np.tile(np.eye(2, dtype=np.float32), (pairs, 1))
  images, targets = _mix(images, targets, tf.range(2 * pairs, dtype=tf.int64),
                         mixup, cutmix)
  np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
  np.testing.assert_allclose(targets[::2, 0], targets[1::2, 1], rtol=1e-6)
  np.testing.assert_allclose(images[::2] + images[1::2], 1, rtol=1e-6)
  return images[::2, ..., 0], targets[::2, 0]


def _weights_by_hand(draw, h, w, mixup, cutmix):
  """Returns what the first image of a pair keeps of its pixels: [h, w, 1]."""
  which, share, row, column = draw
  index = int(share * 4096)
  if not cutmix or (mixup and which >= 0.5):
    return np.full((h, w, 1), mixing.beta_quantiles(mixup)[index])
  weights = np.ones((h, w, 1))
  side = np.sqrt(1 - mixing.beta_quantiles(cutmix)[index])
  def box(center, size):  # Centers are multiples of half a pixel.
    distance = np.abs(np.arange(size) + 0.5 - np.floor(center * 2 * size) / 2)
    return distance < side * size / 2
  weights[np.ix_(box(row, h), box(column, w))] = 0
  return weights


@pytest.mark.parametrize('run', ['eager', 'graph', 'xla'])
@pytest.mark.parametrize('mixup, cutmix, c, dtype', [
    (0.4, 0.0, 3, np.uint8), (0.0, 1.0, 1, np.float32),
    (0.3, 1.0, 3, np.float32), (0.3, 1.0, 1, np.uint8)])
def test_mix_matches_numpy(mixup, cutmix, c, dtype, run):
  images, targets, positions = _batch(c=c, dtype=dtype)
  mixed, mixed_targets = _mix(images, targets, positions, mixup, cutmix, run)

  draws = threefry.uniform(5, tf.range(50, 58, dtype=tf.int64), 7, (4,)).numpy()
  for pair, draw in enumerate(draws):
    first, second = 2 * pair, 2 * pair + 1
    weights = _weights_by_hand(draw, 9, 7, mixup, cutmix)
    share = weights.mean()
    for own, other in [(first, second), (second, first)]:
      np.testing.assert_allclose(
          mixed[own], weights * images[own] + (1 - weights) * images[other],
          rtol=1e-6, atol=1e-4)
      np.testing.assert_allclose(
          mixed_targets[own],
          share * targets[own] + (1 - share) * targets[other], atol=1e-6)


def test_cutmix_takes_every_pixel_from_one_image():
  images, targets, positions = _batch(dtype=np.float32)
  images += np.float32(0.1)
  for run in ('eager', 'xla'):
    mixed, _ = _mix(images, targets, positions, 0.0, 1.0, run)
    swapped = images.reshape(8, 2, 9, 7, 3)[:, ::-1].reshape(images.shape)
    own, other = mixed == images, mixed == swapped
    assert np.all(own | other)
    assert 0 < own.mean() < 1


def test_no_box_moves_between_eager_and_compiled():
  images, targets, positions = _batch(4000, 32, 24, 1)
  eager, _ = _mix(images, targets, positions, 0.0, 0.7, 'eager')
  for run in ('graph', 'xla'):
    mixed, _ = _mix(images, targets, positions, 0.0, 0.7, run)
    np.testing.assert_array_equal(mixed, eager)


@pytest.mark.parametrize('alpha', [0.2, 1.0, 4.0])
def test_mixup_weights_are_beta_and_the_same_for_pixels_and_target(alpha):
  pairs = 20000
  weights, shares = _black_and_white(pairs, 1, 1, alpha, 0.0)
  np.testing.assert_allclose(weights[:, 0, 0], shares, rtol=1e-6)
  variance = 1 / (4 * (2 * alpha + 1))
  np.testing.assert_allclose(
      shares.mean(), 1 / 2, atol=5 * (variance / pairs)**.5)
  np.testing.assert_allclose(shares.var(), variance, rtol=0.05)


@pytest.mark.parametrize('alpha', [0.5, 1.0])
def test_cutmix_targets_are_the_shares_of_pixels(alpha):
  weights, shares = _black_and_white(500, 12, 10, 0.0, alpha)
  assert set(np.unique(weights)) == {0, 1}
  np.testing.assert_allclose(shares, weights.mean((1, 2)), atol=1e-6)


def test_cutmix_boxes_have_the_share_of_the_sides_and_uniform_centers():
  pairs, size = 3000, 64
  weights, _ = _black_and_white(pairs, size, size, 0.0, 1.0)
  exchanged = 1 - weights
  # A box with sides s contains the middle of a line with probability s and its
  # end with probability s / 2, and the mean of s**2 = 1 - lambda is 1/2. Half a
  # pixel of 64 is 0.8 %.
  middle = exchanged[:, size // 2, size // 2].mean()
  np.testing.assert_allclose(middle, 1 / 2, atol=0.03)
  for row, column in [(0, 0), (0, -1), (-1, 0), (-1, -1)]:
    corner = exchanged[:, row, column].mean()
    np.testing.assert_allclose(corner, 1 / 8, atol=0.03)
  # A box that is not cut off has as many rows as columns.
  rows, columns = exchanged.any(2), exchanged.any(1)
  free = ~(rows[:, [0, -1]].any(1) | columns[:, [0, -1]].any(1))
  difference = rows.sum(1)[free] - columns.sum(1)[free]
  assert free.sum() > 200
  assert set(np.unique(difference)) <= {-1, 0, 1}


def test_with_both_on_half_of_the_pairs_are_cut():
  pairs = 4000
  weights, shares = _black_and_white(pairs, 8, 8, 1.0, 1.0)
  cut = np.isin(weights, (0, 1)).all((1, 2))
  np.testing.assert_allclose(cut.mean(), 1 / 2, atol=5 * 0.5 / pairs**.5)
  np.testing.assert_allclose(shares, weights.mean((1, 2)), atol=1e-6)
  # The choice is independent of lambda.
  np.testing.assert_allclose(
      shares[~cut].mean(), 1 / 2, atol=5 * (1 / 12 / (pairs / 2))**.5)


def test_with_both_on_each_has_its_own_alpha():
  weights, shares = _black_and_white(20000, 8, 8, 0.2, 1000.0)
  cut = np.isin(weights, (0, 1)).all((1, 2))
  np.testing.assert_allclose(shares[~cut].var(), 1 / (4 * 1.4), rtol=0.05)
  # Sides of sqrt(1 / 2) of 8 pixels, 5.7; of sqrt(0.55), 5.9.
  longest = (1 - weights[cut]).any(2).sum(1).max()
  assert longest == 6


@pytest.mark.parametrize('mixup, cutmix', _SETTINGS)
def test_a_pair_is_mixed_the_same_way_in_every_batch(mixup, cutmix):
  images, targets, positions = _batch()
  together = _mix(images, targets, positions, mixup, cutmix)
  order = np.arange(16).reshape(8, 2)[::-1].ravel()  # Pairs from last to first.
  backwards = _mix(images[order], targets[order], tf.gather(positions, order),
                   mixup, cutmix)
  half = _mix(images[8:], targets[8:], positions[8:], mixup, cutmix)
  for whole, reverse, part in zip(together, backwards, half):
    np.testing.assert_array_equal(reverse, whole[order])
    np.testing.assert_array_equal(part, whole[8:])
  other = _mix(images, targets, positions, mixup, cutmix, seed=6)
  assert not np.array_equal(other[0], together[0])


def test_mixing_that_is_off_only_converts_images_to_float():
  images, targets, positions = _batch(b=3)
  mixed, mixed_targets = _mix(images, targets, positions, 0.0, 0.0)
  np.testing.assert_array_equal(mixed, images)
  np.testing.assert_array_equal(mixed_targets, targets)


@pytest.mark.parametrize('b', [3, None])
@pytest.mark.parametrize('mixup, cutmix', _SETTINGS)
def test_odd_and_unknown_batches_are_refused_while_tracing(b, mixup, cutmix):
  function = tf.function(lambda x, t, p: mixing.mix(
      x, t, p, seed=0, mixup=mixup, cutmix=cutmix), autograph=False)
  with pytest.raises(ValueError, match=f'even batch on each replica, not {b}'):
    function.get_concrete_function(
        tf.TensorSpec([b, 4, 4, 3], tf.uint8),
        tf.TensorSpec([b, 2], tf.float32), tf.TensorSpec([b], tf.int64))


def test_quantiles_of_the_uniform_and_the_arcsine_law():
  np.testing.assert_allclose(mixing.beta_quantiles(1.0), _MIDDLES, atol=1e-7)
  np.testing.assert_allclose(
      mixing.beta_quantiles(0.5), np.sin(np.pi * _MIDDLES / 2)**2, atol=1e-7)


def test_quantiles_of_beta_2_2_solve_its_cubic():
  x = mixing.beta_quantiles(2.0)
  np.testing.assert_allclose(3 * x**2 - 2 * x**3, _MIDDLES, atol=1e-7)


@pytest.mark.parametrize('alpha', [0.1, 0.2, 0.4, 8.0, 1000.0])
def test_quantiles_invert_the_incomplete_beta_function(alpha):
  x = mixing.beta_quantiles(alpha)
  # The lower half only: for small alpha the upper half is within 1e-16 of 1.
  a = tf.constant(alpha, tf.float64)
  np.testing.assert_allclose(
      tf.math.betainc(a, a, x[:2048]), _MIDDLES[:2048], atol=1e-7)
  np.testing.assert_allclose(x[2048:], 1 - x[2047::-1], atol=1e-9)
  np.testing.assert_allclose(x.var(), 1 / (4 * (2 * alpha + 1)), rtol=1e-3)


@pytest.mark.parametrize('alpha', [0.001, 0.01, 1e5])
def test_quantiles_of_extreme_alphas_are_finite(alpha):
  with np.errstate(over='raise', invalid='raise', divide='raise'):
    x = mixing.beta_quantiles(alpha)
  np.testing.assert_allclose(x.mean(), 1 / 2, atol=1e-9)
  np.testing.assert_allclose(x.var(), 1 / (4 * (2 * alpha + 1)), rtol=1e-3)


def test_the_quantiles_are_one_constant_of_the_graph():
  graph = tf.function(lambda x, t, p: mixing.mix(
      x, t, p, seed=0, mixup=0.2, cutmix=0.0),
                      autograph=False).get_concrete_function(
                          tf.TensorSpec([4, 4, 4, 3], tf.uint8),
                          tf.TensorSpec([4, 2], tf.float32),
                          tf.TensorSpec([4], tf.int64)).graph
  large = [op for op in graph.get_operations()
           if op.outputs and (op.outputs[0].shape.num_elements() or 0) >= 4096]
  assert [op.type for op in large] == ['Const']


@pytest.mark.parametrize('run', ['eager', 'graph', 'xla'])
@pytest.mark.parametrize('mixup, cutmix', _SETTINGS)
@pytest.mark.parametrize('probability, until', [
    (0.5, None), (1.0, 108), (0.7, 107), (0.0, None), (1.0, 0)])
def test_pairs_are_mixed_with_a_probability_and_up_to_a_position(
    mixup, cutmix, probability, until, run):
  images, targets, positions = _batch()
  function = lambda x, t, p: mixing.mix(
      x, t, p, seed=5, mixup=mixup, cutmix=cutmix, probability=probability,
      until=until)
  if run != 'eager':
    function = tf.function(function, jit_compile=run == 'xla', autograph=False)
  got_images, got_targets = function(
      tf.constant(images), tf.constant(targets), positions)
  mixed_images, mixed_targets = _mix(images, targets, positions, mixup, cutmix)
  draws = threefry.uniform(
      5, tf.range(50, 58, dtype=tf.int64), 12, (1,)).numpy()[:, 0]
  # The first of a pair decides: 106 is before 107, and so are both.
  kept = draws >= probability
  if until is not None:
    kept |= np.arange(100, 116, 2) >= until
  kept = kept.repeat(2)
  np.testing.assert_array_equal(got_images[kept], images[kept])
  np.testing.assert_array_equal(got_targets[kept], targets[kept])
  # Under XLA, a fused multiplication may round the last bit differently.
  np.testing.assert_allclose(
      got_images[~kept], mixed_images[~kept], rtol=1e-6, atol=1e-4)
  np.testing.assert_allclose(got_targets[~kept], mixed_targets[~kept], 1e-6)
  if probability == 0.5:
    assert 0 < kept.sum() < len(kept)


@pytest.mark.parametrize('epochs, size, position', [
    (0, 50_000, None), (1, 50_000, 50_000), (0.1, 10, 1), (0.7, 10, 7),
    (2.5, 3, 8), (1e6, 10**8, 10**14)])
def test_epochs_of_mixing_become_a_position(epochs, size, position):
  assert mixing.mix_until(epochs, size) == position
