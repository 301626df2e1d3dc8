"""What is kept comes back unchanged or not at all."""
import os

import numpy as np
import pytest

from pipelines import array_cache

_SIZE = 1000


@pytest.fixture(name='folder')
def fixture_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  return tmp_path / 'resnet-trainer' / 'decoded'


def _content(seed=0, size=_SIZE):
  return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def _damage(path, kind):
  content = bytearray(path.read_bytes())
  if kind == 'bit':
    content[len(content) // 2] ^= 4
  elif kind == 'bit of the checksum':
    content[-1] ^= 4
  elif kind == 'truncated':
    del content[-1:]
  elif kind == 'longer':
    content += b'x'
  elif kind == 'empty':
    content = b''
  path.write_bytes(content)
  if kind == 'folder':
    path.unlink()
    path.mkdir()


def test_an_array_comes_back(folder):
  key, other = array_cache.key('a', 1), array_cache.key('a', 2)
  assert array_cache.read(key, _SIZE) is None
  array_cache.write(key, _content())
  assert [path.name for path in folder.iterdir()] == [key]
  found = array_cache.read(key, _SIZE)
  assert found is not None
  np.testing.assert_array_equal(found, _content())
  assert array_cache.read(other, _SIZE) is None
  assert array_cache.read(key, _SIZE - 1) is None
  array_cache.write(key, _content(1))
  np.testing.assert_array_equal(array_cache.read(key, _SIZE), _content(1))


@pytest.mark.parametrize('kind', [
    'bit', 'bit of the checksum', 'truncated', 'longer', 'empty', 'folder'])
def test_a_damaged_file_is_missing_and_is_replaced(folder, kind):
  key = array_cache.key('a')
  array_cache.write(key, _content())
  _damage(folder / key, kind)
  assert array_cache.read(key, _SIZE) is None
  array_cache.write(key, _content())
  if kind != 'folder':
    np.testing.assert_array_equal(array_cache.read(key, _SIZE), _content())


def test_a_file_under_the_key_of_another_is_damaged(folder):
  key, other = array_cache.key('a'), array_cache.key('b')
  array_cache.write(key, _content())
  os.rename(folder / key, folder / other)
  assert array_cache.read(other, _SIZE) is None


def test_what_was_used_longest_ago_is_deleted_first(folder, monkeypatch):
  monkeypatch.setattr(array_cache, '_MOST_BYTES', 3500)
  keys = [array_cache.key(i) for i in range(4)]
  array_cache.write(keys[0], _content())
  (folder / 'killed.partial').write_bytes(bytes(1000))
  array_cache.write(keys[1], _content())
  for age, name in ((300, keys[0]), (200, 'killed.partial'), (100, keys[1])):
    os.utime(folder / name, (1e9 - age, 1e9 - age))
  assert array_cache.read(keys[0], _SIZE) is not None  # It is used again.
  array_cache.write(keys[2], _content())
  assert {path.name for path in folder.iterdir()} == {
      keys[0], keys[1], keys[2]}
  array_cache.write(keys[3], _content())
  assert {path.name for path in folder.iterdir()} == {
      keys[0], keys[2], keys[3]}
  array_cache.write(keys[1], _content(size=3500))  # Larger than the bound.
  assert len(list(folder.iterdir())) == 3


def test_what_cannot_be_kept_is_no_error(tmp_path, monkeypatch, folder):
  key = array_cache.key('a')
  monkeypatch.setattr(os, 'statvfs', lambda path: os.statvfs_result(
      (4096, 4096, 10, 10, 0, 0, 0, 0, 0, 255)))  # The disk is full.
  array_cache.write(key, _content())
  assert not list(folder.iterdir())
  monkeypatch.undo()
  (tmp_path / 'file').touch()
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
  array_cache.write(key, _content())
  assert array_cache.read(key, _SIZE) is None


def test_a_failing_disk_leaves_nothing(folder, monkeypatch):
  def fail(source, target):
    raise OSError(f'{source} cannot become {target}')

  monkeypatch.setattr(os, 'replace', fail)
  array_cache.write(array_cache.key('a'), _content())
  assert not list(folder.iterdir())


@pytest.mark.parametrize('size', [1, 63, 64, 1000, 10**6])
def test_arrays_are_aligned(size):
  array = array_cache.empty(size)
  assert len(array) == size and array.ctypes.data % 64 == 0
