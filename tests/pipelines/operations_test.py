"""Each operation against Pillow, eagerly, in graphs and compiled by XLA."""
import numpy as np
from PIL import Image, ImageEnhance, ImageOps
import pytest
import tensorflow as tf

from pipelines import operations

# Operations that are drawn with one sign are tested with one sign.
_SHARES = (0.9, 0.5, 0.1, 0.0, 1.0, 0.7134)
_UNSIGNED = ('solarize', 'posterize')
# Made once: tests with images of the same shape share what is compiled.
_MODES = {
    'eager': operations.apply,
    'graph': tf.function(operations.apply, autograph=False),
    'xla': tf.function(operations.apply, jit_compile=True, autograph=False),
}


def _noise(b, h, w, c):
  return np.random.default_rng(0).integers(0, 256, (b, h, w, c), dtype=np.uint8)


def _photographs(b, h, w, c):
  """Makes smooth images of low contrast, each channel in a range of its own."""
  rng = np.random.default_rng(1)
  y, x = np.mgrid[:h, :w] / max(h, w)
  low, high = np.sort(rng.uniform(0, 255, (2, b, 1, 1, c)), 0)
  angle = rng.uniform(0, 2 * np.pi, (b, 1, 1, c))
  slope = (x[..., np.newaxis] * np.cos(angle)
           + y[..., np.newaxis] * np.sin(angle))
  waves = np.sin(4 * slope + angle) / 2 + 0.5
  return (low + waves * (high - low)).astype(np.uint8)


def _pillow(image, name, share):
  """Applies one operation to one image with Pillow: uint8 [h, w, c]."""
  h, w, c = image.shape
  picture = Image.fromarray(image if c == 3 else image[..., 0])
  share = float(np.float32(share))
  fill = dict(resample=Image.Resampling.NEAREST, fillcolor=(128,) * c)
  def affine(*coefficients):
    return picture.transform(
        (w, h), Image.Transform.AFFINE, coefficients, **fill)
  def enhance(kind):
    return getattr(ImageEnhance, kind)(picture).enhance(1 + 0.9 * share)
  result = {
      'identity': lambda: picture,
      'shear_x': lambda: affine(1, 0.3 * share, 0, 0, 1, 0),
      'shear_y': lambda: affine(1, 0, 0, 0.3 * share, 1, 0),
      'translate_x': lambda: affine(1, 0, 150 / 331 * share * w, 0, 1, 0),
      'translate_y': lambda: affine(1, 0, 0, 0, 1, 150 / 331 * share * h),
      'rotate': lambda: picture.rotate(30 * share, **fill),
      'auto_contrast': lambda: ImageOps.autocontrast(picture),
      'equalize': lambda: ImageOps.equalize(picture),
      'invert': lambda: ImageOps.invert(picture),
      'solarize': lambda: ImageOps.solarize(picture, 256 * (1 - share)),
      'posterize': lambda: ImageOps.posterize(picture, 8 - round(4 * share)),
      'color': lambda: enhance('Color'),
      'contrast': lambda: enhance('Contrast'),
      'brightness': lambda: enhance('Brightness'),
      'sharpness': lambda: enhance('Sharpness'),
  }[name]()
  return np.asarray(result).reshape(h, w, c)


def _apply(images, names, shares, mode='eager'):
  indices = [operations.OPERATIONS.index(name) for name in names]
  return _MODES[mode](
      tf.constant(np.stack(images)), tf.constant(indices),
      tf.constant(shares, tf.float32)).numpy()


def _names_and_shares():
  """Returns each operation with each share that it takes, interleaved."""
  pairs = [(name, sign * share) for share in _SHARES for sign in (1, -1)
           for name in operations.OPERATIONS
           if sign == 1 or name not in _UNSIGNED]
  return [name for name, _ in pairs], [share for _, share in pairs]


@pytest.mark.parametrize('mode', _MODES)
@pytest.mark.parametrize('make, h, w, c', [
    (_noise, 20, 31, 3), (_photographs, 41, 30, 3), (_photographs, 25, 28, 1)])
def test_operations_match_pillow(make, h, w, c, mode):
  names, shares = _names_and_shares()
  images = make(len(names), h, w, c)
  result = _apply(images, names, shares, mode)
  for image, name, share, got in zip(images, names, shares, result):
    expected = _pillow(image, name, share)
    if name in operations.ENHANCING:
      # Pillow rounds a product of float32s; this code needs no rounding.
      difference = np.abs(got.astype(int) - expected)
      assert difference.max() <= 1, (name, share)
      assert np.mean(difference > 0) < 0.01, (name, share)
    else:
      np.testing.assert_array_equal(got, expected, f'{name} {share}')


@pytest.mark.parametrize('h, w, c', [(25, 28, 1), (20, 31, 3)])
def test_compilers_agree_to_the_bit(h, w, c):
  names, shares = _names_and_shares()
  images = _noise(len(names), h, w, c)
  eager, graph, xla = (_apply(images, names, shares, mode) for mode in _MODES)
  np.testing.assert_array_equal(graph, eager)
  np.testing.assert_array_equal(xla, eager)


@pytest.mark.parametrize('tenths', range(-10, 11))
def test_factors_of_hundredths_are_exact(tenths):
  # Brightness 1.18 turns 150 into 177; in float32 it is 176.99999, so that
  # Pillow has 176.
  values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
  result = _apply(values, ['brightness'], [tenths / 10])
  expected = values.astype(int) * (100 + 9 * tenths) // 100
  np.testing.assert_array_equal(result, np.minimum(expected, 255))


def test_auto_contrast_rounds_as_pillow_for_every_range():
  # The darkest and the brightest value of a channel, and all values in between.
  ranges = [(low, high) for low in range(0, 255, 7)
            for high in range(low + 1, 256)]
  assert len(ranges) % 3 == 0  # Three channels to an image.
  low, high = np.array(ranges).reshape(-1, 1, 1, 3, 2).transpose(4, 0, 1, 2, 3)
  images = np.clip(np.arange(256).reshape(1, 256, 1, 1), low, high).astype(
      np.uint8)
  result = _apply(images, ['auto_contrast'] * len(images), [0] * len(images))
  expected = [_pillow(image, 'auto_contrast', 0) for image in images]
  np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize('mode', ['eager', 'xla'])
def test_degenerate_histograms_match_pillow(mode):
  images = np.array([
      [7] * 512,  # One value.
      [7] * 500 + [9] * 12,
      [*range(212)] + [255] * 300,  # Fewer pixels below the last than levels.
      [*range(250)] * 2 + [254] * 9 + [255] * 3,  # Equalized beyond 255.
      [0] * 511 + [255],
      [10] * 256 + [11] * 256,  # A mean of 10.5.
      [10] * 257 + [11] * 255,
  ] * 3, np.uint8).reshape(-1, 16, 32, 1)
  names = np.repeat(['auto_contrast', 'equalize', 'contrast'], 7)
  result = _apply(images, names, [0.5] * 21, mode)
  for image, name, got in zip(images, names, result):
    np.testing.assert_array_equal(got, _pillow(image, name, 0.5), name)


@pytest.mark.parametrize('name', operations.GEOMETRIC)
def test_no_pixel_comes_from_the_place_next_to_pillows(name):
  # In float32, a few of these pixels would come from the place next to it.
  shares = np.random.default_rng(0).uniform(-1, 1, 40)
  images = _noise(len(shares), 150, 180, 1)
  result = _apply(images, [name] * len(shares), shares)
  expected = [_pillow(*args) for args in zip(images, [name] * 40, shares)]
  np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize('h, w', [(1, 1), (1, 7), (2, 5), (3, 3), (9, 2)])
def test_small_images_match_pillow(h, w):
  names, shares = _names_and_shares()
  images = _noise(len(names), h, w, 3)
  result = _apply(images, names, shares)
  for image, name, share, got in zip(images, names, shares, result):
    np.testing.assert_allclose(
        got, _pillow(image, name, share).astype(float), rtol=0, atol=1,
        err_msg=f'{name} {share}')


def test_color_leaves_gray_images_unchanged():
  images = _noise(4, 6, 5, 1)
  result = _apply(images, ['color'] * 4, [-1, -0.5, 0.5, 1])
  np.testing.assert_array_equal(result, images)


def test_pixels_from_outside_are_gray():
  image = np.full((10, 20, 3), 255, np.uint8)
  left, up = _apply([image, image], ['translate_x', 'translate_y'], [1, 1])
  # 150/331 of 20 columns is 9.06; of 10 rows 4.53, rounded to 5.
  np.testing.assert_array_equal(left[0, :, 0], [255] * 11 + [128] * 9)
  np.testing.assert_array_equal(up[:, 0, 2], [255] * 5 + [128] * 5)


def test_an_image_does_not_depend_on_the_others():
  names, shares = _names_and_shares()
  images = _photographs(len(names), 12, 15, 3)
  together = _apply(images, names, shares)
  np.testing.assert_array_equal(
      _apply(images[::-1], names[::-1], shares[::-1])[::-1], together)
  half = len(names) // 2
  np.testing.assert_array_equal(
      _apply(images[half:], names[half:], shares[half:]), together[half:])
