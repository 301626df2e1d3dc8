"""Cutout and random erasing against NumPy, closed forms and rejection."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines import erasing, threefry

_FILL = np.array([1.4, 99.6, 200.0], np.float32)
_FILLED = (1, 100, 200)  # To the nearest level.


def _images(b=16, h=9, w=7, c=3):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (b, h, w, c), dtype=np.uint8)


def _positions(b=16):
  return tf.range(100, 100 + b, dtype=tf.int64)


def _run(function, images, positions, run='eager', fill=_FILL, **settings):
  def bound(x, p):
    return function(x, p, fill[:x.shape[-1]] if fill.ndim == 1 else fill,
                    **{'seed': 5} | settings)
  if run != 'eager':
    bound = tf.function(bound, jit_compile=run == 'xla', autograph=False)
  return bound(tf.constant(images), positions).numpy()


def _erased(function, b, h, w, **settings):
  """Returns bool [b, h, w]: the pixels of b black images that were painted."""
  images = np.zeros((b, h, w, 1), np.uint8)
  return _run(function, images, _positions(b), fill=np.float32([255]),
              **settings)[..., 0] == 255


def _painted(image, top, left, height, width):
  image = image.copy()
  image[max(top, 0):max(top + height, 0),
        max(left, 0):max(left + width, 0)] = _FILLED[:image.shape[-1]]
  return image


def _rectangle(h, w, sizes):
  """Returns the first size that fits, rounded; (0, 0) if none does.

  Args:
    h: rows.
    w: columns.
    sizes: pairs of an area and a ratio height / width.
  """
  for area, ratio in sizes:
    height, width = np.rint(np.sqrt([area * h * w * ratio,
                                     area * h * w / ratio])).astype(int)
    if height <= h and width <= w:
      return height, width
  return 0, 0


@pytest.mark.parametrize('run', ['eager', 'graph', 'xla'])
@pytest.mark.parametrize('side, c', [(4, 3), (5, 1), (30, 3)])
def test_cutout_matches_numpy(side, c, run):
  images, positions = _images(c=c), _positions()
  result = _run(erasing.cutout, images, positions, run, side=side)
  assert result.dtype == np.uint8
  draws = threefry.uniform(5, positions, 5, (2,)).numpy()
  for image, draw, got in zip(images, draws, result):
    top, left = np.floor(draw * [9, 7]).astype(int) - side // 2
    np.testing.assert_array_equal(got, _painted(image, top, left, side, side))


@pytest.mark.parametrize('side', [2, 3])
def test_cutout_centers_are_uniform_over_all_pixels(side):
  b, h, w = 8000, 5, 4
  shares = _erased(erasing.cutout, b, h, w, side=side).mean(0)
  def covering(size):  # The number of centers on a line that cover each pixel.
    before, after = (side - 1) // 2, side // 2
    return [min(i + after, size - 1) - max(i - before, 0) + 1
            for i in range(size)]
  expected = np.outer(covering(h), covering(w)) / (h * w)
  np.testing.assert_allclose(shares, expected, atol=5 * (0.25 / b)**.5)


@pytest.mark.parametrize('run', ['eager', 'graph', 'xla'])
@pytest.mark.parametrize('c', [1, 3])
def test_random_erasing_matches_numpy(c, run):
  images, positions = _images(64, 40, 30, c), _positions(64)
  result = _run(erasing.random_erasing, images, positions, run,
                probability=0.75)
  assert result.dtype == np.uint8
  draws = threefry.uniform(5, positions, 6, (23,)).numpy().astype(float)
  for image, draw, got in zip(images, draws, result):
    # Multiples of 1/4096; 0.3 is not one of them.
    areas = (82 + np.floor(draw[3:13] * (1638 - 82))) / 4096
    ratios = (1229 + np.floor(draw[13:] * (13653 - 1229))) / 4096
    height, width = _rectangle(40, 30, zip(areas, ratios))
    top, left = np.floor(draw[1:3] * [41 - height, 31 - width]).astype(int)
    erased = _painted(image, top, left, height, width)
    np.testing.assert_array_equal(got, erased if draw[0] < 0.75 else image)


def test_sizes_follow_the_distribution_of_the_paper():
  b, h, w = 4000, 48, 32
  erased = _erased(erasing.random_erasing, b, h, w, probability=1.0)
  rng = np.random.default_rng(0)
  sizes = rng.uniform([0.02, 0.3], [0.4, 1 / 0.3], (b, 100, 2))
  expected = np.array([_rectangle(h, w, each) for each in sizes])
  heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
  for got, want in [(heights, expected[:, 0]), (widths, expected[:, 1]),
                    (heights * widths, expected.prod(1))]:
    error = 5 * (2 * want.var() / b)**.5
    np.testing.assert_allclose(got.mean(), want.mean(), atol=error)
    np.testing.assert_allclose(got.var(), want.var(), rtol=0.15)


def test_rectangles_are_whole_and_anywhere_inside():
  erased = _erased(erasing.random_erasing, 4000, 12, 16, probability=1.0)
  rows, columns = erased.any(2), erased.any(1)
  np.testing.assert_array_equal(
      erased, rows[:, :, np.newaxis] & columns[:, np.newaxis])
  for line in (rows, columns):
    first, length = line.argmax(1), line.sum(1)
    room = line.shape[1] - length
    for free in range(1, 6):  # All places are equally frequent.
      places = np.bincount(first[room == free], minlength=free + 1)
      assert len(places) == free + 1
      share = 1 / (free + 1)
      np.testing.assert_allclose(
          places / places.sum(), share,
          atol=5 * (share * (1 - share) / places.sum())**.5)


@pytest.mark.parametrize('probability', [0.25, 1.0])
def test_the_share_of_images_erased_is_the_probability(probability):
  b = 4000
  erased = _erased(erasing.random_erasing, b, 16, 16, probability=probability)
  np.testing.assert_allclose(
      erased.any((1, 2)).mean(), probability,
      atol=5 * (probability * (1 - probability) / b)**.5)


def test_nothing_is_erased_if_nothing_fits():
  # 2 % of 1 x 400 pixels at a ratio of 0.3 is the smallest size: two rows.
  assert not _erased(erasing.random_erasing, 100, 1, 400, probability=1.0).any()


_BOTH = pytest.mark.parametrize('function, settings', [
    (erasing.cutout, {'side': 5}),
    (erasing.random_erasing, {'probability': 0.8})])


@_BOTH
def test_the_fill_may_be_a_mean_image(function, settings):
  images, positions = _images(), _positions()
  mean = np.random.default_rng(1).uniform(0, 255, (9, 7, 3)).astype(np.float32)
  flat = _run(function, images, positions, fill=np.float32([300, 300, 300]) / 2,
              **settings)
  result = _run(function, images, positions, fill=mean, **settings)
  erased = np.broadcast_to((flat == 150).all(-1, keepdims=True), flat.shape)
  assert 0 < erased.mean() < 1
  np.testing.assert_array_equal(
      result, np.where(erased, np.rint(mean), images))


@_BOTH
def test_an_image_is_erased_the_same_way_in_every_batch(function, settings):
  images, positions = _images(), _positions()
  together = _run(function, images, positions, **settings)
  np.testing.assert_array_equal(
      _run(function, images[::-1], positions[::-1], **settings),
      together[::-1])
  np.testing.assert_array_equal(
      _run(function, images[8:], positions[8:], **settings), together[8:])
  assert not np.array_equal(
      _run(function, images, positions, seed=6, **settings), together)


@_BOTH
def test_no_edge_moves_between_eager_and_compiled(function, settings):
  images, positions = _images(5000, 32, 24, 1), _positions(5000)
  eager = _run(function, images, positions, 'eager', **settings)
  for run in ('graph', 'xla'):
    np.testing.assert_array_equal(
        _run(function, images, positions, run, **settings), eager)


@pytest.mark.parametrize('function, settings', [
    (erasing.cutout, {'side': 0}),
    (erasing.random_erasing, {'probability': 0.0})])
def test_erasing_that_is_off_returns_the_images(function, settings):
  images = tf.constant(_images())
  assert function(images, _positions(), _FILL, seed=0, **settings) is images


def test_areas_and_ratios_have_the_same_bits_eagerly_and_compiled():
  # A wrong last bit moves an edge in one of 1e5 images: too rare to see in
  # pixels. If low + draw * width were rounded once under XLA and twice without,
  # a quarter of these numbers would differ.
  draws = tf.range(0, 2**24, 1001, dtype=tf.float32) / 2**24
  def between(x):
    return erasing._between(x, 0.3, 1 / 0.3)  # pylint: disable=protected-access
  eager = between(draws).numpy()
  np.testing.assert_array_equal(
      tf.function(between, jit_compile=True, autograph=False)(draws), eager)
  np.testing.assert_allclose(
      eager, 0.3 + (1 / 0.3 - 0.3) * draws.numpy(), atol=1.5 / 4096)
