"""Pictures are cropped and resized by keras.ops as by TensorFlow's kernels."""
import keras
import numpy as np
import pytest

from configs import schema
from pipelines.single_pictures import Preprocessing
from resnet.exporting import plain_pixels

_DATA = {
    'bilinear': ({'image_size': 56}, (56, 56, 3)),
    'bicubic': ({'image_size': 56, 'interpolation': 'bicubic'}, (56, 56, 3)),
    'gray': ({'image_size': 48, 'eval_crop': 1.0}, (48, 48, 1)),
    'one size': ({}, (32, 32, 3)),
    'not square': ({}, (20, 31, 3)),
    'padded': ({'pad_to': 32}, (32, 32, 3)),
    'padded, bicubic': ({'pad_to': 32, 'interpolation': 'bicubic'},
                        (32, 32, 1)),
}
_SIZES = [(37, 53), (120, 90), (28, 28), (31, 32), (17, 90), (1, 1), (5, 70)]


def _pair(data, shape):
  """Returns (the function under test, the preprocessing that it repeats)."""
  preprocessing = Preprocessing.of(schema.Data(name='x', **data), shape)
  pictures = keras.Input((None, None, shape[-1]), dtype='uint8')
  model = keras.Model(pictures, plain_pixels.add(pictures, preprocessing))
  return model, preprocessing


@pytest.mark.parametrize('data, shape', _DATA.values(), ids=_DATA)
def test_pixels_are_those_of_evaluation(data, shape):
  """But for pixels halfway between two levels: one in 1,000 here."""
  model, preprocessing = _pair(data, shape)
  rng = np.random.default_rng(0)
  differing, count = 0, 0
  for size in [shape[:2], *_SIZES]:
    pictures = rng.integers(0, 256, (2, *size, shape[-1]), np.uint8)
    found = np.array(model(pictures))
    expected = preprocessing.pixels(pictures).numpy()
    assert found.shape == expected.shape
    difference = np.abs(found - expected.astype(np.float32))
    assert difference.max() <= 1, size
    differing += np.count_nonzero(difference)
    count += difference.size
    if size == shape[:2] and not data.get('image_size'):
      np.testing.assert_array_equal(found, pictures)
  assert differing < count / 1000


def test_a_crop_by_hand():
  """The middle half of 8 x 8 pixels, which keep their values."""
  model, _ = _pair({'image_size': 4, 'eval_crop': 0.5}, (4, 4, 1))
  picture = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
  np.testing.assert_array_equal(model(picture), picture[:, 2:6, 2:6])


def test_a_border_by_hand():
  """Of 1 x 2 pixels: 1 row above and 2 below, 1 column on each side."""
  model, _ = _pair({'pad_to': 4}, (4, 4, 1))
  expected = np.zeros((1, 4, 4, 1))
  expected[0, 1, 1:3, 0] = 7, 9
  np.testing.assert_array_equal(
      model(np.array([7, 9], np.uint8).reshape(1, 1, 2, 1)), expected)
