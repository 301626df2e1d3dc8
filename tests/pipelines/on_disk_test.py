"""Batches from files equal those from memory; errors name what is damaged."""
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from pipelines import batches, decoding, on_disk, sources
from pipelines.options import Reading
from tests import tiny_dataset


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('tfds')
  tiny_dataset.prepare(path)
  tiny_dataset.prepare_photos(path)
  return path


def _open(name, data_dir, split='train', image_size=0, **kwargs):
  return sources.load(schema.Data(name, image_size=image_size), split,
                      Reading(data_dir, **kwargs))


def _train(source, replicas=1, first=0, last=12, crop=None, repeats=1):
  return [{key: np.concatenate([part[key] for part in step])
           for key in step[0]}
          for step in zip(*(batches.train(
              source, seed=3, global_batch=8, first_step=first,
              last_step=last, share=batches.Share(replicas, replica, 1),
              repeats=repeats, crop=crop).as_numpy_iterator()
                            for replica in range(replicas)))]


def _assert_equal(one, other):
  assert len(one) == len(other) > 0
  for a, b in zip(one, other):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.mark.parametrize('split', ['train', 'train[5:20]', 'test+train[:3]'])
def test_memory_and_disk_give_the_same_batches(data_dir, split):
  memory = _open('tiny_pictures', data_dir, split)
  disk = _open('tiny_pictures', data_dir, split, memory_gib=0)
  assert isinstance(memory, sources.InMemory)
  assert not isinstance(disk, sources.InMemory)
  assert (memory.size, memory.num_classes, memory.image_shape) == (
      disk.size, disk.num_classes, disk.image_shape)
  _assert_equal(_train(memory), _train(disk))
  _assert_equal(_train(memory, replicas=2, first=5), _train(disk)[5:])
  share = batches.Share(3, 1, 2)
  _assert_equal(*(list(batches.evaluate(
      source, replica_batch=2, share=share).as_numpy_iterator())
                  for source in (memory, disk)))
  spec = {key: (value.shape, value.dtype) for key, value in batches.train(
      memory, seed=0, global_batch=8, first_step=0, last_step=1
  ).element_spec.items()}
  assert spec == {key: (value.shape, value.dtype) for key, value in
                  batches.train(disk, seed=0, global_batch=8, first_step=0,
                                last_step=1).element_spec.items()}


def test_the_memory_limit_decides_where_a_split_is_kept(data_dir):
  # 37 images of 8 * 8 * 3 bytes.
  exactly = 37 * 8 * 8 * 3 / 2**30
  assert isinstance(_open('tiny_pictures', data_dir, memory_gib=exactly),
                    sources.InMemory)
  assert not isinstance(
      _open('tiny_pictures', data_dir, memory_gib=exactly * 0.999),
      sources.InMemory)


@pytest.mark.slow
def test_crops_depend_on_the_position_and_not_on_the_hardware(data_dir):
  source = _open('photos', data_dir, image_size=16)
  crop = decoding.RandomCrop((16, 16, 3), seed=3)
  one = _train(source, crop=crop)
  assert one[0]['image'].shape == (8, 16, 16, 3)
  _assert_equal(one, _train(source, replicas=4, crop=crop))
  _assert_equal(one[7:], _train(source, first=7, crop=crop))
  # 12 batches are 4 epochs of the same 24 pictures, cropped differently.
  positions = np.concatenate([b['position'] for b in one])
  np.testing.assert_array_equal(positions, np.arange(96))
  labels = np.concatenate([b['label'] for b in one]).reshape(4, 24)
  np.testing.assert_array_equal(labels.sum(1), [7] * 4)
  images = np.concatenate([b['image'] for b in one]).reshape(4, 24, -1)
  assert len({image.tobytes() for image in images.reshape(96, -1)}) == 96


def test_a_process_reads_only_its_share(data_dir, monkeypatch):
  source = _open('photos', data_dir, image_size=16)
  read, asked = source.records.read, []
  monkeypatch.setattr(source.records, 'read', lambda numbers: (
      asked.extend(numbers), read(numbers))[1])
  share = batches.Share(replicas=4, first=2, local=1)
  for _ in batches.train(source, seed=3, global_batch=8, first_step=0,
                         last_step=5, share=share):
    pass
  # Two of the eight positions of each step: the fifth and the sixth.
  positions = [8 * step + i for step in range(5) for i in (4, 5)]
  assert sorted(asked) == sorted(batches.train_examples(
      tf.constant(positions, tf.int64), size=24, seed=3, global_batch=8
  ).numpy())


def test_a_batch_is_what_its_records_and_draws_make_of_it(data_dir):
  """Repeats by hand: the order, TensorFlow's reader, the crops."""
  source = _open('photos', data_dir, image_size=16)
  crop = decoding.RandomCrop((16, 16, 3), seed=3)
  files = sorted(pathlib.Path(data_dir, 'photos', '1.0.0').glob('*train*'))
  examples = [tf.train.Example.FromString(record)
              for record in tf.data.TFRecordDataset(
                  [os.fspath(f) for f in files]).as_numpy_iterator()]
  batch = _train(source, crop=crop, first=4, last=5)[0]
  numbers = batches.train_examples(
      tf.range(32, 40, dtype=tf.int64), size=24, seed=3, global_batch=8)
  draws = crop.draws(tf.range(32, 40, dtype=tf.int64))
  for i, number in enumerate(numbers):
    feature = examples[number].features.feature
    np.testing.assert_array_equal(batch['image'][i], crop(
        tf.constant(feature['image'].bytes_list.value[0]), draws[i]))
    assert batch['label'][i] == feature['label'].int64_list.value[0]


def test_evaluation_takes_the_middle_of_each_picture_once(data_dir):
  source = _open('photos', data_dir, 'test', image_size=16)
  counted = 0
  for batch in batches.evaluate(source, replica_batch=4).as_numpy_iterator():
    counted += batch['weight'].sum()
    for image, position in zip(batch['image'], batch['position']):
      encoded, _ = source.fetch(tf.constant([min(position, 10)], tf.int64))
      np.testing.assert_array_equal(
          image, decoding.CenterCrop((16, 16, 3))(encoded[0], ()))
  assert counted == 11


@pytest.mark.slow
def test_repeats_are_copies_of_a_batch_with_draws_of_their_own(data_dir):
  source = _open('photos', data_dir, image_size=16)
  crop = decoding.RandomCrop((16, 16, 3), seed=3)
  plain = _train(source, crop=None, last=6)
  repeated = _train(source, crop=None, last=12, repeats=2)
  for step, batch in enumerate(repeated):
    np.testing.assert_array_equal(batch['image'][:4], batch['image'][4:])
    # Four new examples a step: two steps use as many as a plain one.
    half = slice(4 * (step % 2), 4 * (step % 2) + 4)
    np.testing.assert_array_equal(
        batch['image'][:4], plain[step // 2]['image'][half])
  cropped = _train(source, crop=crop, last=1, repeats=2)[0]
  assert not (cropped['image'][:4] == cropped['image'][4:]).all((1, 2, 3)).any()
  np.testing.assert_array_equal(cropped['label'][:4], cropped['label'][4:])


_BAD = ('0/3.jpg', '0/4.png', '1/0.jpg')


@pytest.fixture(scope='module')
def bad_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('bad')
  tiny_dataset.prepare_photos(path, bad=_BAD)
  return path


def test_a_picture_that_cannot_be_decoded_is_named(bad_dir):
  source = _open('photos', bad_dir, image_size=16)
  with pytest.raises(tf.errors.InvalidArgumentError):
    _train(source)
  line = str(source.explain(range(24)))
  file, _, number = line.partition(' ')[0].partition('__')
  record = list(tf.data.TFRecordDataset(
      os.fspath(bad_dir / 'photos' / '1.0.0' / file)))[int(number)].numpy()
  feature = tf.train.Example.FromString(record).features.feature
  assert feature['file_name'].bytes_list.value[0].decode() in _BAD
  assert 'cannot' not in line and 'is not a picture that can be decoded' in line
  assert '--skip_bad_images' in line
  with pytest.raises(UserError, match='__'):
    for _ in sources.pictures(source):
      pass


@pytest.mark.slow
def test_bad_pictures_are_skipped_by_weight(bad_dir, data_dir):
  bad = _open('photos', bad_dir, image_size=16, skip_bad_images=True)
  crop = decoding.RandomCrop((16, 16, 3), seed=3)
  one = _train(bad, crop=crop, last=3)
  weight = np.concatenate([b['weight'] for b in one])
  assert weight.sum() == 24 - 3
  _assert_equal(one, _train(bad, crop=crop, last=3, replicas=2))
  good = _train(_open('photos', data_dir, image_size=16), crop=crop, last=3)
  for a, b in zip(one, good):
    np.testing.assert_array_equal(a['label'], b['label'])
    np.testing.assert_array_equal(
        a['image'], b['image'] * a['weight'].astype(np.uint8)[:, None, None,
                                                            None])
  assert sum(len(images) for images in sources.pictures(bad)) == 21


def _damage(folder, split):
  file, = pathlib.Path(folder).glob(f'*{split}*')
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 0x10
  file.write_bytes(content)
  return file


def test_a_damaged_record_is_named_or_skipped(tmp_path):
  file = _damage(tiny_dataset.prepare(tmp_path), 'train')
  source = _open('tiny_pictures', tmp_path, 'train', memory_gib=0)
  with pytest.raises(tf.errors.OpError):
    _train(source)
  line = str(source.explain(range(37)))
  assert line.startswith(f'{file} is damaged at byte ')
  assert 'prepare it again' in line
  skipping = _open('tiny_pictures', tmp_path, 'train', skip_bad_images=True)
  assert not isinstance(skipping, sources.InMemory)
  weight = np.concatenate([b['weight'] for b in batches.evaluate(
      skipping, replica_batch=4).as_numpy_iterator()])
  assert weight.sum() == 36


def test_pictures_of_different_sizes_need_an_image_size(data_dir):
  with pytest.raises(UserError) as raised:
    _open('photos', data_dir)
  assert 'Pictures differ in size (photos-train' in str(raised.value)
  assert '--config.data.image_size=224' in str(raised.value)


def test_examples_are_read_in_order_and_padding_is_cut_off(data_dir):
  source = _open('tiny_pictures', data_dir, memory_gib=0)
  memory = _open('tiny_pictures', data_dir)
  examples = np.arange(70) % 37  # More than a batch of 64, and not two.
  images = np.concatenate([
      batch['image'] for batch in on_disk.read_examples(source, examples)])
  np.testing.assert_array_equal(images, memory.images.numpy()[examples])


def test_one_picture_of_another_size_is_named(tmp_path):
  """It is beyond the ten that are read when the split is opened."""
  import tensorflow_datasets as tfds
  side = lambda i: 9 if i == 11 else 8
  examples = [(i, {'image': np.full((side(i), 8, 3), i, np.uint8), 'label': i})
              for i in range(12)]
  tfds.dataset_builders.store_as_tfds_dataset(
      name='odd', version='1.0.0', data_dir=tmp_path,
      features=tfds.features.FeaturesDict({
          'image': tfds.features.Image(shape=(None, None, 3)),
          'label': tfds.features.ClassLabel(num_classes=12)}),
      split_datasets={'train': examples}, disable_shuffling=True)
  with pytest.raises(UserError, match='odd-train.*__11 has 9 x 8 pixels'):
    _open('odd', tmp_path)
  assert _open('odd', tmp_path, 'train[:11]').image_shape == (8, 8, 3)


def test_samples_of_imagenet_have_its_usual_mean(test_data_dir):
  source = _open('imagenet2012', test_data_dir, 'validation', image_size=64)
  assert source.size == 500 and source.num_classes == 1000
  images = next(sources.pictures(source, 100))
  # The usual mean of ImageNet is (124, 116, 104).
  np.testing.assert_allclose(images.mean((0, 1, 2)), [124, 116, 104], atol=12)


@pytest.mark.parametrize('batch', [7, 22])
def test_chunks_and_single_pictures_give_the_same_batches(
    data_dir, monkeypatch, batch):
  """A batch of 7 is one chunk; one of 22 is 11 chunks of 2."""
  source = _open('photos', data_dir, image_size=16)
  crop = decoding.RandomCrop((16, 16, 3), seed=3)
  read = lambda: list(batches.train(
      source, seed=3, global_batch=batch, first_step=2, last_step=4, crop=crop
  ).as_numpy_iterator())
  monkeypatch.setattr(on_disk, '_SMALL', 0)
  single = read()
  monkeypatch.setattr(on_disk, '_SMALL', 2**30)
  _assert_equal(single, read())
