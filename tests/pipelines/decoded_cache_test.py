"""A second start finds decoded pixels and their statistics in the cache."""
import numpy as np
import pytest

from configs import schema
from pipelines import on_disk, pixel_statistics, sources
from pipelines.options import Reading
from tests import tiny_dataset


@pytest.fixture(name='data_dir', scope='module')
def fixture_data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('tfds')
  tiny_dataset.prepare(path)
  return path


@pytest.fixture(name='cache')
def fixture_cache(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr(sources, '_LEAST_CACHED', 0)
  return tmp_path / 'resnet-trainer' / 'decoded'


@pytest.fixture(name='reads')
def fixture_reads(monkeypatch):
  """Counts how often examples are read from disk."""
  reads, read_examples = [], on_disk.read_examples

  def counting(*arguments):
    reads.append(arguments)
    return read_examples(*arguments)

  monkeypatch.setattr(on_disk, 'read_examples', counting)
  return reads


def _load(data_dir, split='train', **reading):
  return sources.load('tiny_pictures', split, Reading(data_dir, **reading))


def _assert_same(one, other):
  np.testing.assert_array_equal(one.images, other.images)
  np.testing.assert_array_equal(one.labels, other.labels)
  assert one.identity == other.identity


def test_a_split_is_decoded_once(data_dir, cache, reads):
  first, test = _load(data_dir), _load(data_dir, 'test')
  assert len(reads) == 2 and len(list(cache.iterdir())) == 2
  _assert_same(_load(data_dir), first)
  _assert_same(_load(data_dir, 'test'), test)
  assert len(reads) == 2
  kept, = sources.pictures(_load(data_dir))
  assert {image.tobytes() for image in kept} == {
      image.tobytes() for image in tiny_dataset.images(37, 0)}


def test_a_damaged_file_is_decoded_again(data_dir, cache, reads):
  first = _load(data_dir)
  file, = cache.iterdir()
  good = file.read_bytes()
  file.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
  _assert_same(_load(data_dir), first)
  assert len(reads) == 2 and file.read_bytes() == good
  file.unlink()
  _assert_same(_load(data_dir), first)
  assert len(reads) == 3


def test_the_cache_keeps_to_memory_gib(data_dir, cache, reads):
  _load(data_dir)
  assert isinstance(_load(data_dir, memory_gib=0), on_disk.OnDisk)
  assert len(reads) == 1 and len(list(cache.iterdir())) == 1


def test_pixels_of_unchecked_records_are_not_kept(data_dir, cache):
  _load(data_dir, check_crc=False)
  assert not cache.exists()


def test_keys_differ_with_what_determines_the_pixels(
    data_dir, cache, monkeypatch):
  del cache
  keys = [sources.cache_key(source) for source in (
      _load(data_dir), _load(data_dir, 'test'), _load(data_dir, 'train[:36]'),
      sources.load(schema.Data('tiny_pictures', image_size=4), 'train',
                   Reading(data_dir)))]
  monkeypatch.setattr(sources.tf, '__version__', '0.0')
  keys.append(sources.cache_key(_load(data_dir, memory_gib=0)))
  assert None not in keys and len(set(keys)) == 5


@pytest.mark.parametrize('size', [0, 4])
def test_statistics_are_measured_once(
    data_dir, cache, reads, monkeypatch, size):
  data = schema.Data(name='tiny_pictures', center='pixel', image_size=size)

  def statistics():
    return pixel_statistics.mean_and_stddev(data, sources.load(
        data, 'train', Reading(data_dir)))

  mean, stddev = statistics()
  assert mean.dtype == stddev.dtype == np.float32
  if not size:
    images = tiny_dataset.images(37, 0)
    np.testing.assert_allclose(mean, images.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stddev, images.std((0, 1, 2)), rtol=1e-6)
  before = len(reads)
  monkeypatch.setattr(pixel_statistics, 'measure', None)
  for found, expected in zip(statistics(), (mean, stddev), strict=True):
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype and found.shape == expected.shape
  assert len(reads) == before
  assert cache.exists()
