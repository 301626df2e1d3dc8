"""Color jitter and grayscale against Pillow, NumPy and their distributions."""
import numpy as np
from PIL import Image, ImageEnhance
import pytest
import tensorflow as tf

from pipelines import color, threefry

_ALL = {'brightness': 0.4, 'contrast': 0.6, 'saturation': 1.5}
_OFF = dict.fromkeys(_ALL, 0.0)


def _images(b=8, h=24, w=20, c=3):
  """Makes noise around a different color in each image: every change shows."""
  rng = np.random.default_rng(0)
  base = rng.integers(40, 216, (b, 1, 1, c))
  return (base + rng.integers(-40, 40, (b, h, w, c))).astype(np.uint8)


def _positions(b=8):
  return tf.range(100, 100 + b, dtype=tf.int64)


def _factors(positions, strengths, seed=5):
  """Returns the factors, [b, 3], uniform between max(0, 1 - x) and 1 + x."""
  draws = threefry.uniform(seed, positions, 3, (3,)).numpy().astype(float)
  x = np.array([strengths[name] for name in _ALL])
  low = np.maximum(0, 1 - x)
  return low + draws * (1 + x - low)


def _jitter(images, positions, strengths, run='eager', seed=5):
  def function(x, p):
    return color.jitter(x, p, seed=seed, **strengths)
  if run != 'eager':
    function = tf.function(
        function, jit_compile=run == 'xla', autograph=False)
  return function(tf.constant(images), positions).numpy()


def _by_hand(image, factors):
  """Makes the three changes in float64, to a [h, w, c] image."""
  x = image.astype(float)
  luma = np.array([0.299, 0.587, 0.114]) if x.shape[-1] == 3 else np.ones(1)
  x = np.clip(factors[0] * x, 0, 255)
  mean = np.rint(x @ luma).mean()  # Of integer levels, as in Pillow.
  x = np.clip(mean + factors[1] * (x - mean), 0, 255)
  gray = (x @ luma)[..., np.newaxis]
  return np.rint(np.clip(gray + factors[2] * (x - gray), 0, 255))


@pytest.mark.parametrize('run', ['eager', 'graph', 'xla'])
@pytest.mark.parametrize('names, c', [
    (('brightness',), 3), (('contrast',), 3), (('saturation',), 3),
    (tuple(_ALL), 3), (tuple(_ALL), 1)])
def test_jitter_matches_numpy(names, c, run):
  images, positions = _images(c=c), _positions()
  strengths = _OFF | {name: _ALL[name] for name in names}
  result = _jitter(images, positions, strengths, run)
  assert result.dtype == np.uint8
  expected = np.stack([
      _by_hand(*pair) for pair in zip(images, _factors(positions, strengths))])
  difference = np.abs(result - expected)
  assert difference.max() <= 1
  # Float32 and float64 may round a value between two levels differently.
  assert np.mean(difference > 0) <= 0.001


@pytest.mark.parametrize('name, enhance', [
    ('brightness', ImageEnhance.Brightness),
    ('contrast', ImageEnhance.Contrast),
    ('saturation', ImageEnhance.Color)])
def test_each_change_matches_pillow(name, enhance):
  images, positions = _images(), _positions()
  strengths = _OFF | {name: 0.9}
  result = _jitter(images, positions, strengths)
  factors = _factors(positions, strengths)[:, list(_ALL).index(name)]
  for image, factor, got in zip(images, factors, result):
    expected = np.asarray(enhance(Image.fromarray(image)).enhance(factor))
    # Pillow drops the fraction, and rounds the mean gray level.
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_contrast_uses_the_mean_gray_level_after_the_brightness():
  # Half black, half 200, which is doubled and clipped to 255: a mean of 127.5.
  # The levels before have a mean of 100, unclipped levels a mean of 200.
  image = np.zeros((1, 2, 2, 3), np.uint8)
  image[0, 0] = 200
  strengths = {'brightness': 9.0, 'contrast': 0.5, 'saturation': 0.0}
  for position in range(20):
    positions = tf.constant([position], tf.int64)
    bright, contrast, _ = _factors(positions, strengths)[0]
    if bright > 2 and contrast < 1:
      break
  result = _jitter(image, positions, strengths)
  np.testing.assert_array_equal(
      result[0, :, 0, 0], np.rint(127.5 + contrast * np.array([127.5, -127.5])))


@pytest.mark.parametrize('strength, low, high', [(0.5, 40, 120), (2, 0, 240)])
def test_factors_are_uniform_and_never_negative(strength, low, high):
  b = 4000
  images = np.full((b, 1, 1, 1), 80, np.uint8)
  levels = _jitter(images, _positions(b), _OFF | {'brightness': strength})
  assert (levels.min(), levels.max()) == (low, high)
  width = high - low
  np.testing.assert_allclose(
      levels.mean(), (low + high) / 2, atol=5 * width / (12 * b)**.5)
  np.testing.assert_allclose(levels.var(), width**2 / 12, rtol=0.07)


def test_an_image_is_changed_the_same_way_in_every_batch():
  images, positions = _images(), _positions()
  together = _jitter(images, positions, _ALL)
  assert len({image.tobytes() for image in _jitter(
      np.repeat(images[:1], 8, 0), positions, _ALL)}) == 8
  np.testing.assert_array_equal(
      _jitter(images[::-1], positions[::-1], _ALL), together[::-1])
  np.testing.assert_array_equal(
      _jitter(images[4:], positions[4:], _ALL), together[4:])


def test_a_different_seed_draws_different_factors():
  images, positions = _images(), _positions()
  assert not np.array_equal(_jitter(images, positions, _ALL),
                            _jitter(images, positions, _ALL, seed=6))


@pytest.mark.parametrize('strengths, c', [
    (_OFF, 3), (_OFF | {'saturation': 1.0}, 1)])
def test_jitter_that_is_off_returns_the_images(strengths, c):
  images = tf.constant(_images(c=c))
  assert color.jitter(images, _positions(), seed=0, **strengths) is images


@pytest.mark.parametrize('names, clips, sums', [
    (('brightness',), 1, 0), (('contrast',), 1, 1), (('saturation',), 1, 0),
    (tuple(_ALL), 3, 1)])
def test_a_strength_of_0_adds_nothing_to_the_graph(names, clips, sums):
  strengths = _OFF | {name: _ALL[name] for name in names}
  function = tf.function(
      lambda x, p: color.jitter(x, p, seed=0, **strengths), autograph=False)
  graph = function.get_concrete_function(
      tf.TensorSpec([8, 4, 4, 3], tf.uint8), tf.TensorSpec([8], tf.int64)).graph
  types = [op.type for op in graph.get_operations()]
  assert types.count('Minimum') == clips
  assert types.count('Sum') == sums


@pytest.mark.parametrize('run', ['eager', 'graph', 'xla'])
def test_some_images_turn_gray_as_in_pillow(run):
  images, positions = _images(b=40), _positions(40)
  function = lambda x, p: color.grayscale(x, p, seed=5, probability=0.4)
  if run != 'eager':
    function = tf.function(function, jit_compile=run == 'xla', autograph=False)
  result = function(tf.constant(images), positions).numpy()
  draws = threefry.uniform(5, positions, 10, (1,)).numpy()[:, 0]
  for image, draw, got in zip(images, draws, result):
    gray = Image.fromarray(image).convert('L').convert('RGB')
    np.testing.assert_array_equal(got, gray if draw < 0.4 else image)
  assert 8 < (draws < 0.4).sum() < 24


def test_images_of_one_channel_are_gray_already():
  images = _images(c=1)
  np.testing.assert_array_equal(
      color.grayscale(images, _positions(), seed=5, probability=1.0), images)
