"""A data set in ArrayRecord files is the one in TFRecord files."""
import os
import pathlib
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

from configs.process.errors import UserError
from pipelines import batches, on_disk, records, sources
from pipelines.options import Reading
from tests import tiny_dataset


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Folders with the same data sets in files of each format."""
  made = {}
  for file_format in ('tfrecord', 'array_record'):
    made[file_format] = tmp_path_factory.mktemp(file_format)
    tiny_dataset.TinyPictures(
        data_dir=made[file_format], file_format=file_format
    ).download_and_prepare()
  return made


@pytest.fixture
def copied(folders, tmp_path):
  """A copy of the data set in ArrayRecord files: (data_dir, its train file)."""
  folder = tmp_path / 'data'
  shutil.copytree(folders['array_record'], folder)
  return folder, next(folder.glob('*/*/*-train.array_record*'))


def _open(folder, split='train', **reading):
  return sources.open_split(
      'tiny_pictures', split, Reading(os.fspath(folder), **reading))


@pytest.mark.parametrize('split', ['train', 'test', 'train[5:20]'])
def test_both_formats_hold_the_same(folders, split):
  one, other = (_open(folder, split) for folder in folders.values())
  assert one.identity == other.identity
  numbers = np.array([3, 0, one.size - 1, 3])
  assert one.records.read(numbers) == other.records.read(numbers)
  assert one.records.name(2).replace('tfrecord', 'array_record') == (
      other.records.name(2))
  memory, others = sources.decoded(one), sources.decoded(other)
  np.testing.assert_array_equal(memory.images, others.images)
  np.testing.assert_array_equal(memory.labels, others.labels)


@pytest.mark.parametrize('memory_gib', [0.0, 1.0])
def test_batches_come_in_the_same_order(folders, memory_gib):
  streams = []
  for folder in folders.values():
    reading = Reading(os.fspath(folder), memory_gib=memory_gib)
    source = sources.decoded(_open(folder), reading)
    assert isinstance(source, on_disk.OnDisk) == (not memory_gib)
    streams.append(list(batches.train(
        source, seed=3, global_batch=8, first_step=7, last_step=13
    ).as_numpy_iterator()))
  for one, other in zip(*streams, strict=True):
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_checksums_are_computed_once(copied, monkeypatch):
  folder, _ = copied
  first = _open(folder)
  monkeypatch.setattr(records, 'masked_crc', None)
  assert _open(folder, check_crc=False).identity == first.identity


def _refused(action):
  with pytest.raises(UserError) as raised:
    action()
  sentence = str(raised.value)
  assert '\n' not in sentence and sentence.endswith('.')
  return sentence


@pytest.mark.parametrize('content, words', [
    (lambda data: data[:1000], 'has 0 records, but its data set expects 37: '
     'delete '),
    (lambda data: data[:500] + bytes([data[500] ^ 255]) + data[501:],
     'is damaged (Corrupted Riegeli/records file: chunk data hash mismatch ')])
def test_damaged_files_are_named(copied, content, words):
  folder, file = copied
  file.write_bytes(content(file.read_bytes()))
  sentence = _refused(lambda: _open(folder))
  assert sentence.startswith(f'{file} {words}')
  assert 'prepare it again' in sentence


def test_a_record_that_changed_is_noticed(copied):
  folder, _ = copied
  source = _open(folder, memory_gib=0)
  source.records._crc[5] ^= 1
  assert source.records.read(np.array([4, 6]))
  assert 'is damaged (a record does not match its checksum): ' in _refused(
      lambda: source.records.read(np.array([4, 5])))
  unchecked = _open(folder, check_crc=False)
  unchecked.records._crc[5] ^= 1
  assert unchecked.records.read(np.array([5]))


def test_a_file_that_was_replaced_is_noticed(copied):
  folder, file = copied
  found = records_of(folder)
  file.write_bytes(file.read_bytes() + b'x')
  assert f'{file} was changed while it was being read' in _refused(
      lambda: found.read(np.array([0])))


def records_of(folder):
  """Opens records without reading any, so that no file is open."""
  source = _open(folder)
  source.records._open_files.clear()
  return source.records


def test_without_its_package_one_sentence_says_so(folders, monkeypatch):
  monkeypatch.setitem(sys.modules, 'array_record.python', None)
  sentence = _refused(lambda: _open(folders['array_record'], 'test[:5]'))
  assert 'is an ArrayRecord file, and array_record, which reads them,' in (
      sentence)
  assert 'pip install array_record' in sentence


def test_other_formats_are_refused(copied):
  folder, file = copied
  info = pathlib.Path(file.parent, 'dataset_info.json')
  info.write_text(info.read_text().replace('array_record', 'riegeli'))
  assert ('holds riegeli files, but only tfrecord and array_record files can '
          'be read: prepare the data set again in another --data_dir, with '
          ) in _refused(lambda: _open(folder))
