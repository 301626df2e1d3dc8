"""Random access to records, and every way in which a file can be damaged."""
import builtins
import errno
import multiprocessing
import os
import pathlib
import resource
import shutil

import numpy as np
import pytest
import tensorflow as tf

from configs.process.errors import TryAgain, UserError
from pipelines import records

_REMEDY = 'prepare it again'


def _content(file, number):
  """Returns bytes of a different length for each record; one is empty."""
  return bytes([file, number]) * (37 * number % 501)


@pytest.fixture
def paths(tmp_path):
  """Three files of 5, 1 and 9 records, written by TensorFlow."""
  made = []
  for file, count in enumerate((5, 1, 9)):
    made.append(os.fspath(tmp_path / f'data-{file}'))
    with tf.io.TFRecordWriter(made[-1]) as writer:
      for number in range(count):
        writer.write(_content(file, number))
  return made


def _open(paths, counts=(5, 1, 9), **kwargs):
  spans = [records.Span(path, 0, count, count)
           for path, count in zip(paths, counts)]
  return records.Records(spans, remedy=_REMEDY, **kwargs)


def _refusal(function, *args, **kwargs):
  with pytest.raises(UserError) as raised:
    function(*args, **kwargs)
  return str(raised.value)


def test_records_come_in_the_order_asked_for(paths):
  found = _open(paths)
  assert len(found) == 15
  assert found.read(np.array([14, 0, 5, 14, 4])) == [
      _content(2, 8), _content(0, 0), _content(1, 0), _content(2, 8),
      _content(0, 4)]
  assert found.read(np.arange(15)) == [
      *(_content(0, n) for n in range(5)), _content(1, 0),
      *(_content(2, n) for n in range(9))]


def test_spans_cut_files_and_names_count_from_the_files_start(paths):
  found = records.Records(
      [records.Span(paths[2], 3, 4, 9), records.Span(paths[0], 4, 1, 5)],
      remedy=_REMEDY)
  assert found.read(np.arange(5)) == [
      *(_content(2, n) for n in (3, 4, 5, 6)), _content(0, 4)]
  assert [found.name(n) for n in (0, 3, 4)] == [
      'data-2__3', 'data-2__6', 'data-0__4']


def test_more_files_can_be_read_than_may_be_open(paths, monkeypatch):
  monkeypatch.setattr(records, '_allow_open_files', lambda files: 1)
  before = len(os.listdir('/proc/self/fd'))
  found = _open(paths)
  for _ in range(3):
    assert found.read(np.array([0, 5, 14])) == [
        _content(0, 0), _content(1, 0), _content(2, 8)]
  assert len(os.listdir('/proc/self/fd')) == before + 1


@pytest.mark.parametrize('soft, hard, files, raised_to, kept', [
    (1024, 4096, 100, None, 384),  # 2 * 100 + 256 are allowed already.
    (256, 4096, 1000, 2256, 1000),
    (256, resource.RLIM_INFINITY, 1000, 2256, 1000),
    (256, 1000, 1000, 1000, 372),  # No more than the hard limit,
    (64, 128, 1000, 128, 1)])  # and one file at least.
def test_half_of_the_spare_files_may_be_kept_open(
    monkeypatch, soft, hard, files, raised_to, kept):
  limits = [(soft, hard)]
  monkeypatch.setattr(resource, 'getrlimit', lambda _: limits[0])
  monkeypatch.setattr(
      resource, 'setrlimit', lambda _, limit: limits.append(limit))
  assert records._allow_open_files(files) == kept
  assert limits[1:] == ([(raised_to, hard)] if raised_to else [])


def test_the_checksum_of_frames_is_that_of_rfc_3720():
  # CRC-32C of these nine digits is 0xE3069283 (RFC 3720, B.4's polynomial).
  # Rotated right by 15: 0x2507C60D; plus 0xA282EAD8.
  assert records.masked_crc(b'123456789') == 0xC78AB0E5


def test_the_index_is_kept_until_files_change_or_it_is_damaged(
    paths, tmp_path, monkeypatch):
  cache = tmp_path / 'cache'
  cache.mkdir()
  scanned = []
  scan = records.Records._scan
  monkeypatch.setattr(records.Records, '_scan', lambda self, file: (
      scanned.append(file), scan(self, file))[1])
  for expected in ([0, 1, 2], []):
    found = _open(paths, cache_folder=cache)
    assert found.read(np.array([14, 3])) == [_content(2, 8), _content(0, 3)]
    assert sorted(scanned) == expected
    scanned.clear()
  assert len(list(cache.iterdir())) == 1

  os.utime(paths[1])
  _open(paths, cache_folder=cache)
  assert sorted(scanned) == [0, 1, 2]
  scanned.clear()

  kept, = cache.iterdir()
  kept.write_bytes(kept.read_bytes()[:50])  # Torn.
  found = _open(paths, cache_folder=cache)
  assert found.read(np.array([14])) == [_content(2, 8)]
  assert sorted(scanned) == [0, 1, 2]


def test_an_index_without_checksums_is_made_anew(paths, tmp_path):
  """Earlier versions kept only the lengths."""
  _open(paths, cache_folder=tmp_path)
  kept, = tmp_path.glob('*.npz')
  with np.load(kept) as archive:
    columns = {name: archive[name] for name in archive if name != 'crcs'}
  np.savez(kept, **columns)
  assert _open(paths, cache_folder=tmp_path).digest() == _open(paths).digest()
  with np.load(kept) as archive:
    assert 'crcs' in archive


def _other_record(path, number):
  """Replaces a record with one of the same length, with the file's old time."""
  before = os.stat(path)
  frames = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
  frames[number] = bytes(255 - byte for byte in frames[number])
  with tf.io.TFRecordWriter(path) as writer:
    for frame in frames:
      writer.write(frame)
  os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
  assert os.path.getsize(path) == before.st_size


def test_the_digest_is_that_of_the_content_in_its_order(paths, tmp_path):
  """Not of lengths alone, and neither of the files nor of their times."""
  first = _open(paths, cache_folder=tmp_path).digest()
  elsewhere = tmp_path / 'elsewhere'
  elsewhere.mkdir()
  assert _open([shutil.copy(path, elsewhere) for path in paths]
               ).digest() == first
  whole = os.fspath(tmp_path / 'whole')
  with tf.io.TFRecordWriter(whole) as writer:
    for record in _open(paths).read(np.arange(15)):
      writer.write(record)
  assert _open([whole], [15]).digest() == first
  assert _open(paths[::-1], [9, 1, 5]).digest() != first
  assert records.Records([records.Span(whole, 0, 14, 15)], remedy=''
                         ).digest() != first
  _other_record(paths[2], 8)
  assert _open(paths, cache_folder=tmp_path).digest() != first


def test_an_empty_file_has_no_records(paths, tmp_path):
  empty = tmp_path / 'empty'
  empty.touch()
  found = _open([paths[0], os.fspath(empty)], [5, 0])
  assert len(found) == 5


def test_each_set_of_files_keeps_an_index_of_its_own(paths, tmp_path):
  cache = tmp_path / 'cache'
  cache.mkdir()
  _open(paths, cache_folder=cache)
  _open(paths[:2], cache_folder=cache)
  assert len(list(cache.iterdir())) == 2


def _open_and_read(paths, cache, barrier, results):
  barrier.wait()
  data = _open(paths, cache_folder=cache).read(np.arange(15))
  results.put(b''.join(data))


def test_processes_may_write_the_same_index_at_once(paths, tmp_path):
  context = multiprocessing.get_context('fork')
  barrier, results = context.Barrier(8), context.Queue()
  cache = tmp_path / 'cache'
  cache.mkdir()
  workers = [context.Process(target=_open_and_read,
                             args=(paths, cache, barrier, results))
             for _ in range(8)]
  for worker in workers:
    worker.start()
  read = {results.get(timeout=60) for _ in workers}
  for worker in workers:
    worker.join()
  assert read == {b''.join(_open(paths).read(np.arange(15)))}
  assert [path.suffix for path in cache.iterdir()] == ['.npz']


def test_a_cache_folder_that_cannot_be_written_does_no_harm(paths, tmp_path):
  found = _open(paths, cache_folder=tmp_path / 'is not there')
  assert found.read(np.array([1])) == [_content(0, 1)]


def _start_of(file_path, number):
  """Returns the offset of a record's data: frames add 16 bytes."""
  file = int(file_path[-1])
  return 12 + sum(len(_content(file, n)) + 16 for n in range(number))


def _flip(path, offset):
  stamp = os.stat(path)
  content = bytearray(pathlib.Path(path).read_bytes())
  content[offset] ^= 1
  pathlib.Path(path).write_bytes(content)
  os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_a_flipped_bit_is_found_and_named(paths):
  start = _start_of(paths[2], 7)
  _flip(paths[2], start + 11)
  found = _open(paths)
  assert found.read(np.array([14])) == [_content(2, 8)]
  with pytest.raises(records.DamagedRecord) as raised:
    found.read(np.array([14, 13]))
  assert str(raised.value) == (
      f'{paths[2]} is damaged at byte {start} (a record does not match '
      'its checksum): prepare it again.')
  careless = _open(paths, check_crc=False).read(np.array([13]))[0]
  assert [a ^ b for a, b in zip(careless, _content(2, 7)) if a != b] == [1]


def test_a_flipped_bit_in_a_length_is_found_and_named(paths):
  start = _start_of(paths[2], 7) - 12
  _flip(paths[2], start)
  assert _refusal(_open, paths) == (
      f'{paths[2]} is damaged at byte {start} (the length of a record does '
      'not match its checksum): prepare it again.')


@pytest.mark.parametrize('end, words', [
    (_start_of('data-2', 8) + 5, 'ends in the middle of a record'),
    # One byte short.
    (_start_of('data-2', 9) - 13, 'ends in the middle of a record'),
    (_start_of('data-2', 8) - 5, 'ends there')])
def test_a_truncated_file_is_named(paths, end, words):
  os.truncate(paths[2], end)
  line = _refusal(_open, paths)
  assert f'{paths[2]} is damaged at byte {_start_of("data-2", 8) - 12}' in line
  assert words in line


def test_a_file_with_fewer_records_than_expected(paths):
  os.truncate(paths[2], _start_of('data-2', 8) - 12)
  assert _refusal(_open, paths) == (
      f'{paths[2]} has 8 records, but its data set expects 9: prepare it '
      'again.')


def test_a_file_with_more_records_than_expected(paths):
  assert _refusal(_open, paths, counts=(5, 1, 8)) == (
      f'{paths[2]} has 9 records, but its data set expects 8: prepare it '
      'again.')


def test_a_missing_file_is_named(paths):
  os.remove(paths[1])
  assert _refusal(_open, paths) == (
      f'{paths[1]} cannot be read (No such file or directory): prepare it '
      'again.')
  shutil.copy(paths[0], paths[1])
  found = _open(paths, counts=(5, 5, 9))
  os.remove(paths[1])  # Gone after it was indexed.
  assert 'No such file' in _refusal(found.read, np.array([5]))
  assert found.read(np.array([0])) == [_content(0, 0)]


def test_a_file_that_is_replaced_while_it_is_read(paths, tmp_path):
  found, late = _open(paths), _open(paths)
  found.read(np.array([0]))
  other = tmp_path / 'other'
  shutil.copy(paths[2], other)
  os.replace(other, paths[0])
  # A file that is open keeps its content.
  assert found.read(np.array([3])) == [_content(0, 3)]
  assert 'was changed while it was being read' in _refusal(
      late.read, np.array([0]))


def test_a_file_that_is_overwritten_while_it_is_read(paths):
  found = _open(paths)
  found.read(np.array([3]))
  size = os.path.getsize(paths[0])
  with open(paths[0], 'r+b') as file:
    file.write(b'x' * size)
  assert f'{paths[0]} was changed while it was being read' in _refusal(
      found.read, np.array([3]))


@pytest.mark.parametrize('lost', [1, 5])  # Of the checksum; of the data too.
def test_a_file_that_is_cut_while_it_is_read(paths, lost):
  found = _open(paths)
  found.read(np.array([6]))
  os.truncate(paths[2], os.path.getsize(paths[2]) - lost)
  assert f'{paths[2]} was changed while it was being read' in _refusal(
      found.read, np.array([14]))


def test_a_file_on_a_failing_disk_is_named(paths, monkeypatch):
  found = _open(paths)

  def fail(*_):
    raise OSError(errno.EIO, 'Input/output error')

  monkeypatch.setattr(os, 'pread', fail)
  with pytest.raises(TryAgain) as raised:
    found.read(np.array([13]))
  assert str(raised.value) == (
      f'{paths[2]} cannot be read (Input/output error): rerun the same command '
      'once it can be read; if it is lost, prepare it again.')
  monkeypatch.undo()
  assert found.read(np.array([13])) == [_content(2, 7)]


@pytest.mark.parametrize('function', ['open', 'stat', 'pread'])
@pytest.mark.parametrize('number, kind, remedy', [
    (errno.EACCES, UserError, ': make it readable, then rerun the same comma'),
    (errno.EPERM, UserError, ': make it readable, then rerun the same command'),
    (errno.ENOENT, UserError, ': prepare it again.'),
    (errno.ENOTDIR, UserError, ': prepare it again.'),
    (errno.EIO, TryAgain, ': rerun the same command once it can be read'),
    (errno.ESTALE, TryAgain, ': rerun the same command once it can be read'),
    (errno.EMFILE, TryAgain, ': rerun the same command once it can be read'),
    (errno.ETIMEDOUT, TryAgain, ': rerun the same command once it can be rea')])
def test_a_file_that_cannot_be_opened_or_read_now(
    paths, monkeypatch, function, number, kind, remedy):
  def fail(*_, **__):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(*((builtins, 'open') if function == 'open' else
                        (os, function)), fail)
  with pytest.raises(kind) as raised:
    _open(paths)
  assert type(raised.value) is kind  # Not a DamagedRecord, which is skipped.
  assert str(raised.value).startswith(
      f'{paths[0]} cannot be read ({os.strerror(number)}){remedy}')


def test_records_that_fit_are_read_once(paths, monkeypatch):
  found, contents = _open(paths), _open(paths).read(np.arange(15))
  numbers, reads, pread = np.array([14, 0, 14, 3]), [], os.pread
  monkeypatch.setattr(os, 'pread', lambda *args: (
      reads.append(args), pread(*args))[1])
  # 64 bytes for each object, as the documentation of `keep` has it.
  exactly = sum(map(len, contents)) + 15 * 64
  assert not found.keep(exactly - 1)
  for _ in range(2):
    assert found.read(numbers) == [contents[n] for n in numbers]
  assert len(reads) == 8
  assert found.keep(exactly)
  reads.clear()
  for _ in range(2):
    assert found.read(numbers[:2]) == [contents[14], contents[0]]
  assert len(reads) == 2
  assert found.read(np.arange(15)) == contents
  assert len(reads) == 15
  for path in paths:
    os.remove(path)
  assert found.read(np.arange(15)) == contents


def test_a_damaged_record_is_not_kept(paths):
  found = _open(paths, check_crc=True)
  content = pathlib.Path(paths[0]).read_bytes()
  stamp = os.stat(paths[0])
  damaged = bytearray(content)
  damaged[-6] ^= 1  # In the last record's data.
  assert found.keep(2**20)
  for bytes_there, fails in ((damaged, True), (content, False)):
    pathlib.Path(paths[0]).write_bytes(bytes_there)
    os.utime(paths[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    if fails:
      with pytest.raises(records.DamagedRecord):
        found.read(np.array([0, 4]))
    else:
      assert found.read(np.array([0, 4])) == [_content(0, 0), _content(0, 4)]
