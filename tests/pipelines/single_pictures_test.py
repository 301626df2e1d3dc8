"""One picture becomes the same pixels as in evaluation."""
import io

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from pipelines import decoding, padding, sources
from pipelines.options import Reading
from pipelines.single_pictures import Preprocessing
from tests import tiny_dataset
from tests.tiny_dataset import encoded, pixels


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('tfds')
  tiny_dataset.prepare(path)
  tiny_dataset.prepare_photos(path)
  return path


def _check(data, data_dir, split='train', most=100):
  """Compares the pixels of a split with those of its encoded pictures."""
  reading = Reading(data_dir)
  source = sources.load(data, split, reading)
  expected = np.concatenate(list(sources.pictures(source, most)))
  opened = sources.open_split(data, split, reading)
  count = min(opened.size, most)
  # The same as sources.pictures takes; images in memory are all taken.
  examples = (np.arange(count) * opened.size // count
              if len(expected) < opened.size else np.arange(count))
  files, _ = opened.fetch(tf.constant(examples))
  preprocessing = Preprocessing.of(data, source.image_shape)
  in_graph = tf.function(
      preprocessing.encoded, autograph=False,
      input_signature=[tf.TensorSpec([], tf.string)])
  for image, file in zip(expected, files):
    np.testing.assert_array_equal(preprocessing.encoded(file), image)
    np.testing.assert_array_equal(in_graph(file), image)
  return count


@pytest.mark.parametrize('fields', [
    {}, {'eval_crop': 1.0}, {'eval_size': 48}, {'interpolation': 'bicubic'},
    {'image_size': 100, 'eval_crop': 0.3}])
def test_photographs(data_dir, fields):
  data = schema.Data(**{'name': 'photos', 'image_size': 32, **fields})
  assert _check(data, data_dir) == 24


@pytest.mark.parametrize('pad_to', [0, 8, 13])
def test_pictures_of_one_size(data_dir, pad_to):
  data = schema.Data('tiny_pictures', pad_to=pad_to)
  assert _check(data, data_dir) == 37


@pytest.mark.parametrize('name, fields', [
    ('cifar10', {}), ('fashion_mnist', {}), ('fashion_mnist', {'pad_to': 32}),
    ('imagenet2012', {'image_size': 64}),
    ('imagenet2012', {'image_size': 64, 'interpolation': 'bicubic'})])
def test_public_data(test_data_dir, name, fields):
  split = 'validation[:100]' if name == 'imagenet2012' else 'test[:100]'
  assert _check(schema.Data(name, **fields), test_data_dir, split) >= 20


def test_embedded_digits_with_a_border():
  preprocessing = Preprocessing.of(schema.Data(pad_to=11), (11, 11, 1))
  plain = sources.load('digits', 'test').images.numpy()
  expected = sources.load(schema.Data(pad_to=11), 'test').images.numpy()
  np.testing.assert_array_equal(preprocessing.pixels(plain), expected)
  file = encoded(Image.fromarray(plain[0, ..., 0]), 'PNG')
  np.testing.assert_array_equal(
      preprocessing.encoded(tf.constant(file)), expected[0])


def test_other_sizes_become_the_middle_by_hand():
  # 8 x 12 -> the middle 8 x 8, columns 2 to 9 -> 4 x 4: means of 2 x 2 pixels.
  image = np.random.default_rng(0).integers(
      0, 64, (8, 12, 3), dtype=np.uint8) * 4  # Means are whole numbers.
  expected = image[:, 2:10].reshape(4, 2, 4, 2, 3).mean((1, 3))
  found = Preprocessing.of(schema.Data(), (4, 4, 3)).pixels(image)
  np.testing.assert_array_equal(found, expected)
  # 8 x 12 -> 4 x 2: the middle 8 x 4, columns 4 to 7.
  expected = image[:, 4:8].reshape(4, 2, 2, 2, 3).mean((1, 3))
  found = Preprocessing.of(schema.Data(), (4, 2, 3)).pixels(image)
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (300, 2), (5, 5), (6, 7)])
@pytest.mark.parametrize('fields', [
    {}, {'pad_to': 7}, {'image_size': 7}, {'image_size': 7, 'eval_crop': 0.01},
    {'interpolation': 'bicubic'}])
@pytest.mark.parametrize('channels', [1, 3])
def test_any_size_one_by_one_in_batches_and_in_graphs(size, fields, channels):
  images = np.stack([pixels(seed, (*size, channels)) for seed in range(2)])
  preprocessing = Preprocessing.of(schema.Data(**fields), (7, 7, channels))
  found = preprocessing.pixels(tf.constant(images))
  assert found.shape == (2, 7, 7, channels) and found.dtype == tf.uint8
  in_graph = tf.function(
      preprocessing.pixels, autograph=False, input_signature=[
          tf.TensorSpec([None, None, None, channels], tf.uint8)])
  assert in_graph.get_concrete_function().output_shapes[1:] == (7, 7, channels)
  np.testing.assert_array_equal(in_graph(images), found)
  for image, expected in zip(images, found):
    np.testing.assert_array_equal(preprocessing.pixels(image), expected)
    file = encoded(Image.fromarray(image.squeeze(-1) if channels == 1
                                   else image), 'PNG')
    np.testing.assert_array_equal(
        preprocessing.encoded(tf.constant(file)), expected)


def test_what_fits_is_padded_and_what_does_not_is_resized():
  preprocessing = Preprocessing.of(schema.Data(pad_to=9), (9, 9, 1))
  for size in ((9, 9), (8, 9), (4, 1)):
    image = pixels(0, (*size, 1))
    np.testing.assert_array_equal(
        preprocessing.pixels(image),
        np.pad(image, padding.margins('x', size, 9)))
  tall = preprocessing.pixels(pixels(0, (10, 3, 1)) | 1).numpy()
  assert tall.all()  # Without a border of zeros.


_RGB = Image.fromarray(np.repeat(np.repeat(np.uint8(
    [[[250, 10, 20], [10, 240, 30]], [[20, 30, 230], [200, 200, 10]]]),
    8, 0), 8, 1))
_KINDS = {
    'jpeg': (_RGB, 'JPEG'), 'png': (_RGB, 'PNG'), 'gif': (_RGB, 'GIF'),
    'bmp': (_RGB, 'BMP'), 'webp': (_RGB, 'WEBP'),
    'cmyk': (_RGB.convert('CMYK'), 'JPEG'),
    'palette': (_RGB.quantize(4), 'PNG'), 'alpha': (
        _RGB.convert('RGBA'), 'PNG'), 'gray': (_RGB.convert('L'), 'PNG'),
    'gray jpeg': (_RGB.convert('L'), 'JPEG'), 'gray alpha': (
        _RGB.convert('LA'), 'PNG')}


@pytest.mark.parametrize('fields', [{}, {'image_size': 4, 'eval_crop': 1.0}])
@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('kind', _KINDS)
def test_every_kind_becomes_gray_or_rgb(kind, channels, fields):
  picture, form = _KINDS[kind]
  options = {'JPEG': {'quality': 100, 'subsampling': 0},
             'WEBP': {'lossless': True}}.get(form, {})
  file = encoded(picture, form, **options)
  found = Preprocessing.of(schema.Data(**fields), (4, 4, channels)).encoded(
      tf.constant(file)).numpy()
  # One pixel of each of the four colors: none mixes with another.
  expected = np.asarray(picture.convert('RGB'))[2::4, 2::4]
  if channels == 1:  # Luma of BT.601.
    expected = expected @ np.transpose([(0.299, 0.587, 0.114)])
  np.testing.assert_allclose(found.astype(int), expected, rtol=0, atol=3)


def test_sixteen_bits_keep_the_higher_eight_and_animations_the_first_frame():
  deep = pixels(2, (6, 5), np.uint16)
  found = Preprocessing.of(schema.Data(), (6, 5, 1)).encoded(
      tf.constant(encoded(Image.fromarray(deep), 'PNG')))
  np.testing.assert_array_equal(found[..., 0], deep >> 8)
  frames = [Image.fromarray(np.full((6, 5), value, np.uint8))
            for value in (40, 200)]
  content = io.BytesIO()
  frames[0].save(content, 'GIF', save_all=True, append_images=frames[1:])
  found = Preprocessing.of(schema.Data(), (6, 5, 3)).encoded(
      tf.constant(content.getvalue()))
  np.testing.assert_array_equal(found, np.full((6, 5, 3), 40))


def test_jpegs_differ_from_their_pixels_at_the_edge_alone():
  picture = Image.fromarray(pixels(0, (9, 9, 3))).resize((133, 97))
  preprocessing = Preprocessing.of(schema.Data(image_size=64), (64, 64, 3))
  for subsampling, most in ((0, 0), (1, 20), (2, 20)):
    file = tf.constant(encoded(picture, 'JPEG', subsampling=subsampling))
    whole = preprocessing.pixels(decoding.whole(file, 3)).numpy().astype(int)
    error = np.abs(preprocessing.encoded(file) - whole)
    assert error.max() <= most and error[2:-2, 2:-2].max() == 0


def test_pictures_do_not_have_five_channels():
  preprocessing = Preprocessing.of(schema.Data(), (4, 4, 5))
  assert preprocessing.pixels(pixels(0, (8, 8, 5))).shape == (4, 4, 5)
  with pytest.raises(UserError, match='takes images of 5 channels, but pict'):
    preprocessing.encoded(tf.constant(b''))
