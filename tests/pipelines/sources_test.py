"""Data sets in memory, and the errors for those that cannot be read."""
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from configs import schema
from configs.process.errors import UserError
from pipelines import identity, pixel_statistics, sources
from pipelines.options import Reading
from tests import tiny_dataset


def _load(name, split, data_dir, image_size=0, **kwargs):
  return sources.load(schema.Data(name, image_size=image_size), split,
                      Reading(data_dir, **kwargs))


def _read(source, examples, crop=None):
  """Reads the images and labels of some examples, in one batch."""
  indices = tf.data.Dataset.from_tensors({
      'example': tf.constant(examples, tf.int64),
      'position': tf.constant(examples, tf.int64),
      'weight': tf.ones(len(examples))})
  batch, = source.read(indices, crop).as_numpy_iterator()
  return batch['image'], batch['label']


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('tfds')
  tiny_dataset.prepare(path)
  return path


def test_the_embedded_digits_are_those_of_the_paper():
  train, test = (sources.load('digits', split) for split in ('train', 'test'))
  assert (train.size, test.size) == (1437, 360)
  assert train.image_shape == (8, 8, 1) and train.num_classes == 10
  # The set has 174 to 183 of each digit (Alpaydin & Kaynak 1998).
  labels = np.concatenate([train.labels, test.labels])
  assert (np.bincount(labels).min(), np.bincount(labels).max()) == (174, 183)
  # Its first example is a zero whose first row is 0 0 5 13 9 1 0 0 of 16.
  np.testing.assert_array_equal(
      test.images[0, 0, :, 0],
      [v * 255 // 16 for v in (0, 0, 5, 13, 9, 1, 0, 0)])
  assert int(test.labels[0]) == 0


def test_a_prepared_data_set_is_read_whole(data_dir):
  source = _load('tiny_pictures', 'train', data_dir)
  assert source.size == 37 and source.num_classes == 3
  # TFDS shuffles records while it prepares: compare as sets of pictures.
  made = {(image.tobytes(), i % 3)
          for i, image in enumerate(tiny_dataset.images(37, 0))}
  read = {(image.tobytes(), int(label)) for image, label in zip(
      source.images.numpy(), source.labels.numpy())}
  assert read == made
  images, labels = _read(source, [5, 0, 5])
  np.testing.assert_array_equal(images, source.images.numpy()[[5, 0, 5]])
  np.testing.assert_array_equal(labels, source.labels.numpy()[[5, 0, 5]])


def test_a_version_that_tfds_does_not_know_can_be_read(data_dir, tmp_path):
  old = tmp_path / 'tiny_pictures' / '0.9.0'
  shutil.copytree(data_dir / 'tiny_pictures' / '1.0.0', old)
  info = old / 'dataset_info.json'
  info.write_text(info.read_text().replace('1.0.0', '0.9.0'))
  with pytest.raises(UserError) as raised:
    _load('tiny_pictures', 'train', tmp_path)
  assert '--config.data.name=tiny_pictures:0.9.0' in str(raised.value)
  np.testing.assert_array_equal(
      _load('tiny_pictures:0.9.0', 'train', tmp_path).images,
      _load('tiny_pictures', 'train', data_dir).images)


def test_examples_are_in_the_order_of_the_records(data_dir):
  whole = _load('tiny_pictures', 'train', data_dir)
  part = _load('tiny_pictures', 'train[10:30]', data_dir)
  np.testing.assert_array_equal(part.images, whole.images[10:30])


def test_mean_and_stddev_are_those_of_numpy():
  images = tiny_dataset.images(37, 0)
  measured = pixel_statistics.measure([images[:10], images[10:]])
  np.testing.assert_allclose(measured.mean, images.mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(measured.stddev, images.std((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(measured.pixel_mean, images.mean(0), rtol=1e-6)
  constant = np.zeros((2, 4, 4, 1), np.uint8)
  assert pixel_statistics.measure([constant]).stddev == [1]


@pytest.mark.parametrize('name, split, words', [
    ('digits', 'validation', ["'validation'", 'train, test']),
    ('tiny_pictures', 'valid', ["'valid'", 'test, train']),
    ('tiny_pictures', 'unlabeled', ['without a label', 'test, train']),
    ('tiny_pictures', 'train[:0]', ["'train[:0]' of tiny_pictures is empty"]),
    ('tiny_picture', 'train', ["'tiny_picture' is unknown"]),
    ('cifar10', 'train', [
        'cifar10 3.0.2 is not prepared', 'versions found: none',
        'python -m pipelines.prepare --dataset=cifar10 --data_dir=']),
    ('tiny_pictures:2.0.0', 'train', ['2.0.0', 'tiny_pictures:1.0.0']),
])
def test_errors_say_what_is_missing(data_dir, name, split, words):
  with pytest.raises(UserError) as raised:
    _load(name, split, data_dir)
  for word in words:
    assert word in str(raised.value)


def test_a_single_class_or_label_is_reported(tmp_path, capsys):
  for classes in (1, 2):
    tfds.dataset_builders.store_as_tfds_dataset(
        name=f'same_{classes}', version='1.0.0', data_dir=tmp_path,
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(shape=(4, 4, 1)),
            'label': tfds.features.ClassLabel(num_classes=classes)}),
        split_datasets={'train': [
            (i, {'image': np.zeros((4, 4, 1), np.uint8), 'label': 0})
            for i in range(3)]})
  with pytest.raises(UserError, match='same_1 has 1 class, so there is nothing '
                     'to learn: choose a data set with at least two'):
    _load('same_1', 'train', tmp_path)
  assert _load('same_2', 'train', tmp_path).size == 3
  assert 'warning: all 3 examples have the label 0' in capsys.readouterr().err


def test_buckets_must_be_mounted():
  with pytest.raises(UserError, match='--data_dir=gs://b is not a folder on'):
    _load('cifar10', 'train', 'gs://b')


@pytest.mark.parametrize('damage', ['flipped', 'truncated', 'missing'])
def test_a_corrupt_record_is_named_by_its_file(tmp_path, damage):
  folder = pathlib.Path(tiny_dataset.prepare(tmp_path))
  file, = folder.glob('*train.tfrecord*')
  content = bytearray(file.read_bytes())
  if damage == 'flipped':
    content[len(content) // 2] ^= 0x10
  else:
    del content[-40:]
  file.write_bytes(content)
  if damage == 'missing':
    file.unlink()
  with pytest.raises(UserError) as raised:
    _load('tiny_pictures', 'train', tmp_path)
  assert os.fspath(file) in str(raised.value)
  assert 'prepare it again' in str(raised.value)
  # The other split's file is whole.
  assert _load('tiny_pictures', 'test', tmp_path).size == 11


def test_real_data_sets_are_opened_or_refused(test_data_dir):
  source = _load('fashion_mnist', 'test', test_data_dir)
  assert source.image_shape == (28, 28, 1)
  np.testing.assert_array_equal(np.bincount(source.labels), [1000] * 10)
  with pytest.raises(UserError, match='differ in size'):
    _load('imagenet2012', 'validation', test_data_dir)


@pytest.mark.parametrize('name, given, words, others', [
    ('mine', True, ['--data_dir={there} holds tiny_pictures;'], 'did you mean'),
    ('tiny_picture', True, ['(did you mean tiny_pictures?)'], 'was not given'),
    ('mine', False, ['--data_dir was not given (its default, {default}, does '
                     'not exist)', 'give the --data_dir that holds it'],
     'did you mean'),
    ('cifar10', False, ['is not prepared under --data_dir={default}, the '
                        'default, ('], 'did you mean'),
])
def test_an_unknown_name_is_not_guessed_at(
    data_dir, tmp_path, monkeypatch, name, given, words, others):
  default = tmp_path / 'default'
  monkeypatch.setenv('TFDS_DATA_DIR', str(default))
  with pytest.raises(UserError) as raised:
    _load(name, 'train', data_dir if given else None)
  for word in words:
    assert word.format(there=data_dir, default=default) in str(raised.value)
  assert others not in str(raised.value)


def test_an_empty_data_dir_is_said_to_be_empty(tmp_path):
  with pytest.raises(UserError, match='holds no prepared data set'):
    _load('mine', 'train', tmp_path)


def test_the_identity_is_the_same_in_memory_and_on_disk(data_dir):
  memory = _load('tiny_pictures', 'train', data_dir)
  disk = _load('tiny_pictures', 'train', data_dir, memory_gib=0)
  assert isinstance(memory, sources.InMemory)
  assert not isinstance(disk, sources.InMemory)
  assert memory.identity == disk.identity
  assert sources.digest(memory) == sources.digest(disk)
  assert memory.identity[:4] == (('0', '1', '2'), (8, 8, 3), '1.0.0', 37)
  part = _load('tiny_pictures', 'train[:36]', data_dir)
  assert part.identity.digest != memory.identity.digest


def test_the_identity_of_the_digits_is_that_of_their_pixels_and_labels():
  source = sources.load('digits', 'train')
  known = source.identity
  assert known[:4] == (tuple('0123456789'), (8, 8, 1), None, 1437)
  assert sources.load('digits', 'train').identity == known
  images, labels = source.images.numpy(), source.labels.numpy()
  images[7, 3, 3, 0] ^= 1
  other = source._replace(images=tf.constant(images))
  assert other.identity.digest != known.digest
  other = source._replace(labels=tf.constant(labels[::-1]))
  assert other.identity.digest != known.digest
  record = identity.record(known, other.identity)
  assert record['classes'] == list('0123456789')
  assert record['eval'] == {'examples': 1437, 'digest': other.identity.digest}
  assert json.loads(json.dumps(record)) == record
