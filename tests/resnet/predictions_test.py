"""Predicting a file gives the bits of preparing and evaluating it."""
import dataclasses
import os
import threading

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from configs import schema
from configs.process.errors import UserError
from pipelines import identity, image_folder, image_tree, sources
from pipelines.options import Reading
from pipelines.picture_file import Unusable
from resnet.inference import predictions, reading_ahead, restored
from resnet.inference.logits import Logits
from tests import synthetic_photographs, tiny_dataset
from tests.resnet import restorable_runs, strategies
from tests.tiny_dataset import encoded, pixels

_MODEL = schema.Model(depth=8, width=4)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """100 pictures of three classes: all kinds, tilted, with alpha, and deep."""
  path = tmp_path_factory.mktemp('pictures') / 'kinds'
  synthetic_photographs.write(path, 88)
  tiny_dataset.write_tilted(path / 'rings')
  rgb = Image.fromarray(pixels(0, (70, 50, 3)))
  alpha = rgb.copy()
  alpha.putalpha(Image.fromarray(pixels(1, (70, 50))))
  for name, content in {
      'alpha.png': encoded(alpha, 'PNG'), 'alpha.webp': encoded(alpha, 'WEBP'),
      'a.gif': encoded(rgb, 'GIF'), 'a.bmp': encoded(rgb, 'BMP'),
      'cmyk.jpg': encoded(rgb.convert('CMYK'), 'JPEG'),
      'gray.jpg': encoded(rgb.convert('L'), 'JPEG'),
      'deep.png': encoded(Image.fromarray(
          pixels(2, (33, 65), np.uint16)), 'PNG')}.items():
    (path / 'stripes' / name).write_bytes(content)
  return path


@pytest.fixture(scope='module')
def prepared(root, tmp_path_factory):
  """(data_dir, paths of the pictures in the order of their examples)."""
  data_dir = tmp_path_factory.mktemp('tfds')
  return data_dir, _prepare(root, 'kinds', data_dir)


def _prepare(root, name, data_dir):
  """Prepares a folder; returns its pictures in the order of the examples."""
  builder = image_folder.prepare(
      image_tree.scan(root), name, data_dir, skip_bad_images=False)
  examples = builder.as_dataset(
      split='train', decoders={'image': tfds.decode.SkipDecoding()})
  return [root / example['file_name'].decode()
          for example in examples.as_numpy_iterator()]


def _restored(folder, config, source, strategy=None):
  restorable_runs.write(
      folder, config, identity.record(source.identity, source.identity))
  return restored.restore(folder, strategy=strategy)


def _evaluated(trained, source, strategy=None):
  """Returns the logits of all pictures of a split."""
  return Logits(
      trained.config, trained.model, trained.state,
      strategy or tf.distribute.get_strategy())(
          np.concatenate(list(sources.pictures(source))))


def _logits(found):
  assert not [prediction for prediction in found if prediction.error]
  return np.stack([prediction.logits for prediction in found])


@pytest.mark.parametrize('fields, model', [
    ({}, {}), ({'eval_size': 48, 'eval_flip': True, 'interpolation': 'bicubic'},
               {}),
    ({'center': 'pixel', 'eval_crop': 1.0}, {'dropout': 0.5})])
def test_a_prepared_folder(prepared, tmp_path, fields, model):
  data_dir, files = prepared
  config = schema.Config(
      model=dataclasses.replace(_MODEL, **model),
      data=schema.Data('kinds', eval_split='train', image_size=32, **fields),
      ema=schema.Ema(decay=0.5), train_steps=1)
  source = sources.load(config.data, 'train', Reading(data_dir))
  assert source.size == len(files) == 100
  trained = _restored(tmp_path / 'run', config, source)
  expected = _evaluated(trained, source)
  found = list(predictions.predict_files(trained, files))
  assert [prediction.file for prediction in found] == files
  np.testing.assert_array_equal(_logits(found), expected)
  assert len(np.unique(expected, axis=0)) > 90
  with np.errstate(over='raise'):
    powers = np.exp(expected.astype(np.float64))
  np.testing.assert_allclose(
      [prediction.probabilities for prediction in found],
      powers / powers.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize('pad_to', [0, 32])
def test_pictures_of_one_size(tmp_path, pad_to):
  root = tiny_dataset.write_pictures(
      tmp_path / 'in', *(f'{"ab"[n % 2]}/{n}.png' for n in range(20)))
  files = _prepare(root, 'one_size', tmp_path)
  config = schema.Config(model=_MODEL, data=schema.Data(
      'one_size', pad_to=pad_to), train_steps=1)
  source = sources.load(config.data, 'train', Reading(tmp_path))
  trained = _restored(tmp_path / 'run', config, source)
  np.testing.assert_array_equal(
      _logits(list(predictions.predict_files(trained, map(str, files)))),
      _evaluated(trained, source))


def test_digits_on_two_devices(tmp_path):
  strategy = strategies.on_cpus(2)
  config = schema.Config(model=_MODEL, train_steps=1)
  source = sources.load('digits', 'test')
  trained = _restored(tmp_path / 'run', config, source, strategy)
  images = source.images.numpy()[:100]
  for number, image in enumerate(images):
    Image.fromarray(image[..., 0]).save(tmp_path / f'{number:03}.png')
  files = sorted(tmp_path.glob('*.png'))
  expected = _evaluated(trained, source, strategy)[:100]
  np.testing.assert_array_equal(_logits(list(predictions.predict_files(
      trained, files, strategy))), expected)
  probabilities = predictions.predict_images(trained, images, strategy)
  np.testing.assert_allclose(
      probabilities, tf.nn.softmax(expected), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize('name, size', [('cifar10', 0), ('imagenet2012', 64)])
def test_public_data(test_data_dir, tmp_path, name, size):
  config = schema.Config(model=_MODEL, data=schema.Data(
      name, image_size=size), train_steps=1)
  split = 'validation[:100]' if size else 'test[:100]'
  reading = Reading(test_data_dir)
  source = sources.load(config.data, split, reading)
  trained = _restored(tmp_path / 'run', config, source)
  opened = sources.open_split(config.data, split, reading)
  for number, content in enumerate(
      opened.fetch(tf.range(opened.size, dtype=tf.int64))[0].numpy()):
    (tmp_path / f'{number:03}.x').write_bytes(content)
  # TFDS has not turned the pictures either.
  found = list(predictions.predict_files(
      trained, sorted(tmp_path.glob('*.x')), keep_orientation=True))
  np.testing.assert_array_equal(_logits(found), _evaluated(trained, source))


@pytest.fixture(scope='module')
def colored(tmp_path_factory):
  """A network for pictures of 16 x 16 pixels in color, trained by sigmoid."""
  folder = tmp_path_factory.mktemp('colored') / 'run'
  config = schema.Config(model=_MODEL, data=schema.Data(image_size=16),
                         loss='sigmoid', train_steps=1)
  restorable_runs.write(
      folder, config, restorable_runs.record('xyz', (16, 16, 3)))
  return restored.restore(folder)


def test_sigmoid_gives_each_class_by_itself(colored, root):
  prediction, = predictions.predict_files(colored, [root / 'rings/0000.jpg'])
  np.testing.assert_allclose(
      prediction.probabilities,
      1 / (1 + np.exp(-prediction.logits.astype(np.float64))), rtol=1e-6)
  far = np.float32([[-200, 0, 200]])
  with np.errstate(all='raise', under='ignore'):
    np.testing.assert_array_equal(
        predictions.probabilities_of(far, 'sigmoid'), [[0, 0.5, 1]])
    np.testing.assert_array_equal(
        predictions.probabilities_of(far, 'softmax'), [[0, 0, 1]])


def test_images_in_memory_are_like_files(colored, tmp_path):
  predictor = predictions.Predictor(colored, batch=4)
  gray, rgb = pixels(0, (30, 40)), pixels(1, (25, 20, 3))
  alpha = np.concatenate([rgb, pixels(2, (25, 20, 1))], -1)
  arrays = [gray, gray[..., np.newaxis], rgb, alpha, rgb[:9, :9]]
  for number, array in enumerate(arrays):
    Image.fromarray(array.squeeze()).save(tmp_path / f'{number}.png')
  found = list(predictor.files(sorted(tmp_path.glob('*.png'))))
  expected = np.stack([prediction.probabilities for prediction in found])
  np.testing.assert_allclose(predictor.images(arrays), expected, rtol=1e-5)
  np.testing.assert_allclose(
      predictor.images(np.stack([rgb] * 3)), [expected[2]] * 3, rtol=1e-5)
  np.testing.assert_array_equal(expected[2], expected[3])
  assert predictor.images([]).shape == (0, 3)


@pytest.mark.parametrize('image', [
    np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint8),
    np.zeros((4, 4, 4, 3), np.uint8), np.zeros((0, 4, 3), np.uint8),
    np.uint8(3), 'cat.jpg'])
def test_images_that_are_something_else(colored, image):
  with pytest.raises(UserError, match='the network takes uint8'):
    predictions.predict_images(colored, [image])


def test_what_cannot_be_used_is_said_in_its_place(colored, root, tmp_path):
  good = root / 'rings' / '0000.jpg'
  (tmp_path / 'cut.jpg').write_bytes(good.read_bytes()[:3000])
  (tmp_path / 'cut.png').write_bytes(
      (root / 'stripes' / 'alpha.png').read_bytes()[:500])
  (tmp_path / 'text.jpg').write_text('a cat')
  (tmp_path / 'empty.jpg').touch()
  os.mkfifo(tmp_path / 'pipe.jpg')
  bad = {'cut.jpg': 'Invalid JPEG', 'cut.png': 'PNG', 'text.jpg': 'Unknown',
         'empty.jpg': 'empty file', 'pipe.jpg': 'not a regular file',
         '': 'Is a directory', 'nowhere': 'No such file or directory',
         'a\0b': 'no file has such a name', 'x' * 300: 'File name too long'}
  files = [name for pair in zip([good] * len(bad), [
      os.path.join(tmp_path, name) for name in bad]) for name in pair]
  found = list(predictions.predict_files(colored, files, batch=2))
  assert [prediction.file for prediction in found] == files
  for prediction in found[::2]:
    np.testing.assert_array_equal(prediction.logits, found[0].logits)
  for prediction, text in zip(found[1::2], bad.values()):
    assert text in prediction.error and '\n' not in prediction.error
    assert '{' not in prediction.error
    assert not prediction.logits.size


def test_batches_are_full_and_the_last_has_the_rest():
  sizes = []

  def compute(items):
    sizes.append(len(items))
    rows = np.float32(items)[:, np.newaxis]
    return rows, rows + 1

  read = lambda file: Unusable('odd') if int(file) % 2 else int(file)
  found = list(predictions.predict(map(str, range(20)), read, compute, 4))
  assert sizes == [4, 4, 2]
  assert [prediction.file for prediction in found] == list(map(str, range(20)))
  assert [prediction.error for prediction in found] == ['', 'odd'] * 10
  assert [float(p.logits[0]) for p in found[::2]] == list(range(0, 20, 2))
  assert not list(predictions.predict([], read, compute, 4))
  assert len(list(predictions.predict(['1'], read, compute, 4))) == 1
  assert len(sizes) == 3


def test_bad_files_are_said_at_once():
  def files():
    yield from ['bad'] * 50
    raise AssertionError('It was asked for too many.')

  found = predictions.predict(
      files(), lambda file: Unusable(file), lambda items: ([], []), 4)
  assert next(found) == predictions.Prediction('bad', error='bad')


def test_a_gray_network_takes_pictures_in_color(tmp_path, root):
  restorable_runs.write(
      tmp_path / 'run', schema.Config(model=_MODEL, train_steps=1),
      restorable_runs.record('xyz', (8, 8, 1)))
  trained = restored.restore(tmp_path / 'run')
  files = sorted((root / 'stripes').glob('a*'))
  assert len(files) == 4
  _logits(list(predictions.predict_files(trained, files)))
  color = pixels(0, (20, 20, 3))
  np.testing.assert_allclose(
      predictions.predict_images(trained, [color]),
      predictions.predict_images(trained, [np.round(
          color @ [0.2989, 0.587, 0.114]).astype(np.uint8)]), rtol=0.05)


def test_a_network_that_takes_no_pictures(tmp_path):
  restorable_runs.write(
      tmp_path / 'run', schema.Config(model=_MODEL, train_steps=1),
      restorable_runs.record('xyz', (8, 8, 5)))
  trained = restored.restore(tmp_path / 'run')
  with pytest.raises(UserError, match='takes images of 5 channels'):
    list(predictions.predict_files(trained, [tmp_path / 'run/config.json']))
  images = pixels(0, (3, 9, 9, 5))
  assert predictions.predict_images(trained, images).shape == (3, 3)
  with pytest.raises(UserError, match='with 5 channels'):
    predictions.predict_images(trained, pixels(0, (3, 9, 9, 3)))


def test_reading_ahead_keeps_the_order_and_asks_for_no_more():
  asked, open_gate = [], threading.Event()

  def items():
    for number in range(100):
      asked.append(number)
      yield number

  def read(number):
    if number == 0:
      open_gate.wait()
    return -number

  found = reading_ahead.in_order(items(), read, 5)
  open_gate.set()
  assert [next(found) for _ in range(3)] == [(0, 0), (1, -1), (2, -2)]
  assert len(asked) == 3 + 5
  found.close()
  assert len(asked) == 8
  with pytest.raises(ZeroDivisionError):
    list(reading_ahead.in_order([1, 0], lambda n: 1 / n, 5))
  assert not list(reading_ahead.in_order([], read, 5))
  assert list(reading_ahead.in_order(range(1, 20), read, 5)) == [
      (number, -number) for number in range(1, 20)]
