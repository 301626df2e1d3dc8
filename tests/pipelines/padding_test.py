"""data.pad_to: a border of zeros, the same in memory and on disk."""
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from configs import schema
from configs.process.errors import UserError
from pipelines import padding, pixel_statistics, sources
from pipelines.options import Reading
from tests import tiny_dataset


@pytest.fixture(name='data_dir', scope='module')
def fixture_data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('tfds')
  tiny_dataset.prepare(path)
  return path


def _load(data_dir, pad_to, **reading):
  return sources.load(schema.Data('tiny_pictures', pad_to=pad_to), 'train',
                      Reading(data_dir, **reading))


def _images(source):
  return np.concatenate(list(sources.pictures(source)))


@pytest.mark.parametrize('shape, pad_to, expected', [
    ((28, 28, 1), 32, ((2, 2), (2, 2), (0, 0))),
    ((5, 8, 3), 8, ((1, 2), (0, 0), (0, 0))),
    ((5, 8, 3), 0, ((0, 0), (0, 0), (0, 0)))])
def test_margins(shape, pad_to, expected):
  assert padding.margins('mnist', shape, pad_to) == expected


@pytest.mark.parametrize('memory_gib', [8, 0])
def test_images_stand_in_the_middle_of_zeros(data_dir, memory_gib):
  plain, padded = (_images(_load(data_dir, pad_to, memory_gib=memory_gib))
                   for pad_to in (0, 11))
  assert padded.shape == (37, 11, 11, 3) and padded.dtype == np.uint8
  # Of three more pixels, one is before the eight, and two are behind them.
  np.testing.assert_array_equal(padded[:, 1:9, 1:9], plain)
  assert padded.sum(dtype=np.int64) == plain.sum(dtype=np.int64)


def test_batches_have_the_shape_of_the_source(data_dir):
  for memory_gib in (8, 0):
    source = _load(data_dir, 11, memory_gib=memory_gib)
    assert source.image_shape == (11, 11, 3)
    indices = tf.data.Dataset.from_tensors({
        'example': tf.constant([4, 2], tf.int64),
        'position': tf.constant([0, 1], tf.int64), 'weight': tf.ones(2)})
    batch, = source.read(indices).as_numpy_iterator()
    np.testing.assert_array_equal(batch['image'], _images(source)[[4, 2]])


def test_the_identity_has_the_border(data_dir):
  plain = _load(data_dir, 0).identity
  memory, disk = (_load(data_dir, 11, memory_gib=memory_gib).identity
                  for memory_gib in (8, 0))
  assert memory == disk == plain._replace(image_shape=(11, 11, 3))
  assert plain.image_shape == (8, 8, 3)


def test_statistics_are_measured_with_the_border(data_dir):
  images = np.pad(tiny_dataset.images(37, 0), ((0, 0), (1, 2), (1, 2), (0, 0)))
  data = schema.Data('tiny_pictures', center='pixel', pad_to=11)
  mean, stddev = pixel_statistics.mean_and_stddev(data, _load(data_dir, 11))
  np.testing.assert_allclose(mean, images.mean(0), rtol=1e-6)
  np.testing.assert_allclose(stddev, images.std((0, 1, 2)), rtol=1e-6)


def test_the_cache_keeps_images_with_and_without_a_border_apart(
    data_dir, tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr(sources, '_LEAST_CACHED', 0)
  # 10 and 9: both have room for the eight pixels, in other places.
  first = [_images(_load(data_dir, pad_to)) for pad_to in (0, 9, 10)]
  assert len(list((tmp_path / 'resnet-trainer' / 'decoded').iterdir())) == 3
  again = [_images(_load(data_dir, pad_to)) for pad_to in (0, 9, 10)]
  for one, other in zip(first, again, strict=True):
    np.testing.assert_array_equal(one, other)


def test_the_embedded_digits():
  plain, padded = (sources.load(schema.Data('digits', pad_to=pad_to), 'test')
                   for pad_to in (0, 12))
  assert padded.image_shape == (12, 12, 1)
  np.testing.assert_array_equal(
      padded.images[:, 2:-2, 2:-2], plain.images)
  assert np.sum(padded.images) == np.sum(plain.images)
  np.testing.assert_array_equal(padded.labels, plain.labels)


@pytest.mark.parametrize('name', ['digits', 'tiny_pictures'])
def test_images_larger_than_pad_to(data_dir, name):
  with pytest.raises(UserError) as raised:
    sources.load(schema.Data(name, pad_to=7), 'train', Reading(data_dir))
  assert str(raised.value) == (
      f'config.data.pad_to=7 is smaller than the images of {name}, which have '
      '8 x 8 pixels: give at least 8, or 0 for no border.')


def test_pictures_that_differ_in_size_are_named_by_their_own_sizes(tmp_path):
  tfds.dataset_builders.store_as_tfds_dataset(
      name='odd', version='1.0.0', data_dir=tmp_path,
      features=tfds.features.FeaturesDict({
          'image': tfds.features.Image(shape=(None, None, 3)),
          'label': tfds.features.ClassLabel(num_classes=2)}),
      # Only the first ten are looked at when the split is opened.
      split_datasets={'train': [
          (i, {'image': np.zeros((4 if i == 11 else 8, 8, 3), np.uint8),
               'label': i % 2}) for i in range(12)]},
      disable_shuffling=True)
  with pytest.raises(UserError, match='has 4 x 8 pixels, others have 8 x 8'):
    sources.load(schema.Data('odd', pad_to=16), 'train', Reading(tmp_path))
