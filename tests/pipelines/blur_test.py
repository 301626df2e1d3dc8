"""Gaussian blur against a convolution in float64."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines import blur, threefry


def _images(b, h, w, c=3):
  return np.random.default_rng(0).integers(0, 256, (b, h, w, c), dtype=np.uint8)


def _blurred(images, run='eager', probability=0.6, first=100):
  function = lambda x, p: blur.gaussian(x, p, seed=5, probability=probability)
  if run != 'eager':
    function = tf.function(function, jit_compile=run == 'xla', autograph=False)
  return function(tf.constant(images), tf.range(
      first, first + len(images), dtype=tf.int64)).numpy()


def _by_hand(image, sigma, radius):
  """Convolves with the outer product of two Gaussians, in float64."""
  weights = np.exp(-np.arange(-radius, radius + 1)**2 / (2 * sigma**2))
  weights /= weights.sum()
  padded = np.pad(image.astype(float), [(radius, radius)] * 2 + [(0, 0)],
                  mode='reflect')
  windows = np.lib.stride_tricks.sliding_window_view(
      padded, (2 * radius + 1,) * 2, (0, 1))
  return np.einsum('hwcij,i,j->hwc', windows, weights, weights)


@pytest.mark.parametrize('run', ['eager', 'graph', 'xla'])
@pytest.mark.parametrize('h, w, c, radius', [
    (32, 32, 3, 1), (28, 28, 1, 1), (64, 50, 3, 2), (2, 9, 3, 1)])
def test_some_images_are_blurred_as_by_hand(h, w, c, radius, run):
  images = _images(12, h, w, c)
  result = _blurred(images, run)
  draws = threefry.uniform(
      5, tf.range(100, 112, dtype=tf.int64), 11, (2,)).numpy()
  assert 0 < (draws[:, 0] < 0.6).sum() < 12
  for image, (chosen, width), got in zip(images, draws, result):
    if chosen >= 0.6:
      np.testing.assert_array_equal(got, image)
      continue
    sigma = 0.1 + 1.9 * (np.floor(width * 1024) + 0.5) / 1024
    # Rounded at the end; weights and the first pass add 0.1 at most.
    np.testing.assert_allclose(got, _by_hand(image, sigma, radius), atol=0.6)


@pytest.mark.parametrize('side, kernel', [
    (8, 3), (32, 3), (40, 5), (224, 23), (256, 25), (288, 29)])
def test_kernels_have_a_tenth_of_the_side(side, kernel):
  radius = blur.kernel_radius(side, side + 1)
  assert 2 * radius + 1 == kernel
  weights = blur.kernels(radius)
  assert weights.shape == (1025, radius + 1)
  assert (2 * weights.sum(1) - weights[:, 0] == 1).all()  # To the bit.
  assert (weights == np.round(weights * 4096) / 4096).all()
  assert (weights >= 0).all() and (weights[-1, 1:] == 0).all()


def test_compilers_agree_to_the_bit_and_plain_images_stay():
  images = _images(6, 60, 64)
  eager = _blurred(images, probability=1.0)
  for run in ('graph', 'xla'):
    np.testing.assert_array_equal(_blurred(images, run, 1.0), eager)
  plain = np.full_like(images, 255)
  np.testing.assert_array_equal(_blurred(plain, probability=1.0), plain)


@pytest.mark.parametrize('h, w', [(1, 1), (1, 5), (4, 1)])
def test_images_of_one_row_or_column_stay(h, w):
  images = _images(3, h, w)
  np.testing.assert_array_equal(_blurred(images, probability=1.0), images)


def test_nothing_is_blurred_with_probability_0():
  images = _images(3, 8, 8)
  np.testing.assert_array_equal(_blurred(images, probability=0.0), images)
