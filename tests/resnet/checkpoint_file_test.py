"""Files of checkpoints are TensorFlow's, and no damaged byte is believed."""
import os
import random

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from resnet.run import checkpoint_file, tensor_index
from resnet.run.tensor_index import Damaged

_TENSORS = {
    'step': np.asarray(np.int64(5)), 'a/kernel': np.arange(
        6000, dtype=np.float32).reshape(20, 300), 'empty': np.zeros(
            (0, 3), np.float32), 'flags': np.array([True, False]),
    'half': np.arange(4).astype(ml_dtypes.bfloat16), 'ä': np.arange(
        -3, 3, dtype=np.int8), 'text': b'{"config": {}}' * 40, 'none': b''}
_INDEX, _DATA = '{}.index', '{}.data-00000-of-00001'


def _assert_same(got, expected):
  assert got.keys() == expected.keys()
  for name, value in expected.items():
    assert type(got[name]) is type(value)
    if isinstance(value, bytes):
      assert got[name] == value
    else:
      assert got[name].dtype == value.dtype
      np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_what_is_written_is_read(tmp_path):
  assert checkpoint_file.write(tmp_path / 'x', _TENSORS)
  _assert_same(checkpoint_file.read(tmp_path / 'x'), _TENSORS)
  assert {path.name for path in tmp_path.iterdir()} == {
      _INDEX.format('x'), _DATA.format('x')}


def test_the_index_appears_last(tmp_path, monkeypatch):
  renamed, replace = [], os.replace

  def record(source, target):
    renamed.append(target.name)
    replace(source, target)

  monkeypatch.setattr(os, 'replace', record)
  checkpoint_file.write(tmp_path / 'x', _TENSORS)
  assert renamed == [_DATA.format('x'), _INDEX.format('x')]


def test_tensorflow_reads_what_is_written(tmp_path):
  checkpoint_file.write(tmp_path / 'x', _TENSORS)
  reader = tf.train.load_checkpoint(os.fspath(tmp_path / 'x'))
  types = reader.get_variable_to_dtype_map()
  for name, value in _TENSORS.items():
    np.testing.assert_array_equal(reader.get_tensor(name), value)
    assert types[name] == (
        tf.string if isinstance(value, bytes) else tf.as_dtype(value.dtype))


def test_what_tensorflow_writes_is_read(tmp_path):
  # So many names that they share prefixes and fill several blocks.
  tensors = {**_TENSORS, **{f'layer_{i}/kernel': np.full(3, i, np.float32)
                            for i in range(9000)}}
  tf.raw_ops.SaveV2(
      prefix=os.fspath(tmp_path / 'x'), tensor_names=list(tensors),
      shape_and_slices=[''] * len(tensors),
      tensors=[tf.constant(value) for value in tensors.values()])
  _assert_same(checkpoint_file.read(tmp_path / 'x'), tensors)


@pytest.fixture
def saved(tmp_path):
  """Returns a prefix and the bytes of its two files."""
  checkpoint_file.write(tmp_path / 'x', _TENSORS)
  return tmp_path / 'x', (tmp_path / _INDEX.format('x')).read_bytes(), (
      tmp_path / _DATA.format('x')).read_bytes()


def test_any_flipped_bit_of_the_data_is_found(saved):
  prefix, _, data = saved
  path = prefix.with_name(_DATA.format('x'))
  with path.open('r+b') as file:
    for place in {*range(0, len(data), 97), *range(len(data) - 700, len(data))}:
      file.seek(place)
      file.write(bytes([data[place] ^ 1 << place % 8]))
      file.flush()
      with pytest.raises(Damaged, match='checksum'):
        checkpoint_file.read(prefix)
      file.seek(place)
      file.write(data[place:place + 1])
  _assert_same(checkpoint_file.read(prefix), _TENSORS)


def test_any_flipped_bit_of_the_index_is_found_or_harmless(saved):
  prefix, index, _ = saved
  harmless = 0
  for place in range(len(index)):
    for bit in range(8):
      content = bytearray(index)
      content[place] ^= 1 << bit
      prefix.with_name(_INDEX.format('x')).write_bytes(content)
      try:
        _assert_same(checkpoint_file.read(prefix), _TENSORS)
        harmless += 1
      except Damaged:
        pass
  # Nothing depends on the block of other properties (8 + 5 bytes), nor on what
  # fills up the footer.
  assert 0 < harmless < 8 * (8 + 5 + 40)


def test_an_index_of_nothing_is_damaged(saved):
  """Its footer points to the block of other properties, which is empty."""
  prefix, index, _ = saved
  place, end = tensor_index._two_varints(index[-48:], 0)
  assert place[1] == 8
  start = index[-48:][:end]
  prefix.with_name(_INDEX.format('x')).write_bytes(
      index[:-48] + (2 * start).ljust(40, b'\0') + index[-8:])
  with pytest.raises(Damaged, match='no header'):
    checkpoint_file.read(prefix)


@pytest.mark.parametrize('name', [_INDEX, _DATA])
@pytest.mark.parametrize('filler', [b'\0', b'\xff', None])
def test_any_overwritten_page_is_found(saved, name, filler):
  prefix, index, data = saved
  path, rng = prefix.with_name(name.format('x')), random.Random(1)
  content = index if name == _INDEX else data
  for start in range(0, len(content), 256):
    page = (filler or rng.randbytes(1)) * 256
    damaged = (content[:start] + page + content[start + 256:])[:len(content)]
    path.write_bytes(damaged)
    if damaged != content:
      with pytest.raises(Damaged):
        checkpoint_file.read(prefix)


@pytest.mark.parametrize('name', [_INDEX, _DATA])
def test_any_shorter_file_is_found(saved, name):
  prefix, index, data = saved
  content = index if name == _INDEX else data
  for length in {*range(0, len(content), 251), *range(60), len(content) - 1}:
    prefix.with_name(name.format('x')).write_bytes(content[:length])
    with pytest.raises(Damaged):
      checkpoint_file.read(prefix)


def test_garbage_costs_no_memory(saved):
  """With TensorFlow's reader, sizes in a damaged footer end all memory."""
  prefix, index, _ = saved
  rng = random.Random(1)
  for _ in range(2000):
    start = rng.randrange(len(index) - 60, len(index) - 8)
    content = bytearray(index)
    content[start:-8] = rng.randbytes(len(index) - 8 - start)
    prefix.with_name(_INDEX.format('x')).write_bytes(content)
    try:
      _assert_same(checkpoint_file.read(prefix), _TENSORS)
    except Damaged:
      pass
  prefix.with_name(_INDEX.format('x')).write_bytes(rng.randbytes(5000))
  with pytest.raises(Damaged):
    checkpoint_file.read(prefix)


@pytest.mark.parametrize('name', [_INDEX, _DATA])
@pytest.mark.parametrize('make', [
    lambda path: None,
    lambda path: path.mkdir(),
    lambda path: path.symlink_to('nowhere'),
    lambda path: path.symlink_to(path.name),
    os.mkfifo,
    lambda path: path.write_bytes(b''),
    lambda path: path.write_bytes(b'\0' * 100000)])
def test_what_is_no_file_of_a_checkpoint_is_damaged(saved, name, make):
  path = saved[0].with_name(name.format('x'))
  path.unlink()
  make(path)
  with pytest.raises(Damaged, match=path.name):
    checkpoint_file.read(saved[0])


def test_files_may_be_links(saved, tmp_path):
  path = saved[0].with_name(_DATA.format('x'))
  path.rename(tmp_path / 'elsewhere')
  path.symlink_to('elsewhere')
  _assert_same(checkpoint_file.read(saved[0]), _TENSORS)
