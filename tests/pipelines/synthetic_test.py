"""Synthetic images against their definition; they can be learned from."""
import hashlib

import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from pipelines import (
  batches,
  decoding,
  identity,
  on_disk,
  pixel_statistics,
  sources,
  threefry,
)


def _load(split='train', image_size=0, **fields):
  return sources.load(schema.Data('synthetic', image_size=image_size), split,
                      made=schema.Synthetic(**fields))


def _read(source, examples):
  parts = list(on_disk.read_examples(source, np.array(examples)))
  return (np.concatenate([part['image'] for part in parts]),
          np.concatenate([part['label'] for part in parts]))


def _table(name, rows, row, levels):
  content = hashlib.shake_256(name).digest(rows * row)
  values = np.frombuffer(content, np.uint8).reshape(rows, row)
  return values.astype(int) * levels // 256


def _rows(seed, key, table, h, cell):
  """Returns int [h, row]: what one image takes from a table."""
  draws = threefry.uniform(seed, tf.constant([key], tf.int64), 13, (2,))
  start, step = np.floor(draws[0].numpy() * len(table)).astype(int)
  step += 1 - step % 2
  return table[(start + step * (np.arange(h) // cell)) % len(table)]


@pytest.mark.parametrize('size, channels, rows, cell', [
    # 2**22 bytes hold 43,690 rows of 96 bytes, and 58,254 of 72.
    (32, 3, 2**15, 4), (24, 3, 2**15, 3), (5, 1, 2**19, 1)])
@pytest.mark.parametrize('split, seed', [('train', 0), ('test', 1)])
def test_images_are_noise_and_the_mark_of_their_class(
    size, channels, rows, cell, split, seed):
  source = _load(split, size=size, channels=channels, classes=7)
  examples = [0, 8, 501, 999]
  images, labels = _read(source, examples)
  assert images.dtype == np.uint8
  assert images.shape == (4, size, size, channels)
  np.testing.assert_array_equal(labels, [0, 1, 4, 5])
  noise = _table(b'noise', rows, size * channels, 192)
  marks = _table(b'marks', 2**12, 8 * channels, 64).reshape(-1, 8, channels)
  marks = marks[:, np.arange(size) // cell].reshape(2**12, -1)
  for example, label, image in zip(examples, labels, images):
    expected = (_rows(seed, example, noise, size, 1)
                + _rows(3, int(label), marks, size, cell))
    np.testing.assert_array_equal(image.reshape(size, -1), expected)


def test_an_image_does_not_depend_on_its_batch_or_on_the_number_of_others():
  images, labels = _read(_load(), range(40))
  some = [7, 39, 7, 0]
  for source in (_load(), _load(examples=10**8)):
    again, same = _read(source, some)
    np.testing.assert_array_equal(again, images[some])
    np.testing.assert_array_equal(same, labels[some])
  assert len({image.tobytes() for image in images}) == 40


def test_a_hundred_million_examples_are_read_at_once():
  source = _load('validation', examples=10**8, classes=10**5)
  _, labels = _read(source, [10**8 - 1])
  assert source.size == 10**8 and labels == [10**5 - 1]
  data = schema.Data('synthetic')
  mean, stddev = pixel_statistics.mean_and_stddev(data, source)
  # Uniform in 0..191 plus uniform in 0..63.
  np.testing.assert_allclose(mean, (191 + 63) / 2, atol=1)
  np.testing.assert_allclose(
      stddev, np.sqrt((192**2 - 1 + 64**2 - 1) / 12), atol=1)


def test_the_classes_can_be_learned():
  (images, labels), (others, answers) = (
      _read(_load(split), range(1000)) for split in ('train', 'test'))
  assert (np.bincount(labels) == 100).all()
  assert (images != others).any((1, 2, 3)).all()
  means = np.stack([images[labels == k].mean(0) for k in range(10)])
  distance = lambda image: ((image - means)**2).sum((1, 2, 3))
  found = np.array([distance(image).argmin() for image in others])
  assert np.mean(found == answers) > 0.99


def test_streams_are_those_of_any_source():
  source = _load(examples=11, size=8)
  steps = list(batches.train(source, seed=3, global_batch=4, first_step=2,
                             last_step=4).as_numpy_iterator())
  examples = batches.train_examples(
      tf.range(8, 16, dtype=tf.int64), size=11, seed=3, global_batch=4).numpy()
  images, labels = _read(source, examples)
  np.testing.assert_array_equal(
      np.concatenate([step['image'] for step in steps]), images)
  np.testing.assert_array_equal(
      np.concatenate([step['label'] for step in steps]), labels)
  evaluated = list(batches.evaluate(
      source, replica_batch=4).as_numpy_iterator())
  assert sum(batch['weight'].sum() for batch in evaluated) == 11


def test_images_are_made_in_the_size_that_is_asked_for():
  data = schema.Data('synthetic', image_size=16, eval_size=24)
  source = sources.load(data, 'train')
  assert source.image_shape == (24, 24, 3)
  crop = decoding.random_crop(schema.Config(data=data), 3)
  batch = next(iter(batches.train(source, seed=0, global_batch=2, first_step=0,
                                  last_step=1, crop=crop)))
  assert batch['image'].shape == (2, 16, 16, 3)
  # The mark of a class is the same at all sizes: 8 x 8 cells.
  small, large = (np.mean(_read(_load(size=size), range(0, 2000, 10))[0], 0)
                  for size in (16, 64))
  cells = [mean.reshape(8, n, 8, n, 3).mean((1, 3))
           for mean, n in ((small, 2), (large, 8))]
  assert np.corrcoef(cells[0].ravel(), cells[1].ravel())[0, 1] > 0.9


def test_identities_differ_with_what_determines_the_images():
  known = [_load(**fields).identity for fields in (
      {}, {'split': 'test'}, {'split': 'validation'}, {'examples': 999},
      {'size': 33}, {'image_size': 48}, {'channels': 1}, {'classes': 9})]
  assert len({split.digest for split in known}) == 8
  assert _load().identity == known[0]
  assert identity.record(known[0], known[1]) == {
      'classes': [str(k) for k in range(10)], 'image_shape': [32, 32, 3],
      'version': '1', 'train': {'examples': 1000, 'digest': known[0].digest},
      'eval': {'examples': 1000, 'digest': known[1].digest}}


def test_other_splits_are_refused():
  with pytest.raises(UserError) as raised:
    _load('train[:90%]')
  assert str(raised.value) == (
      "Split 'train[:90%]' of synthetic does not exist: choose one of train, "
      'test, validation.')
