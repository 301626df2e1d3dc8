"""A file is replaced as a whole or not at all."""
import concurrent.futures
import errno
import functools
import multiprocessing
import os
import stat

import pytest

from configs.process import atomic_file

_FORKS = multiprocessing.get_context('fork')
_SIZE = 2_000_000  # Takes long enough to write for a reader to come between.


def _fail(*_):
  raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize('content', ['résumé\n', b'\x00\xff'])
@pytest.mark.parametrize('durable', [True, False])
def test_the_content_is_replaced(tmp_path, content, durable):
  path = tmp_path / 'file'
  path.write_text('old, and longer than the new one')
  atomic_file.write(path, content, durable=durable)
  expected = content.encode() if isinstance(content, str) else content
  assert path.read_bytes() == expected
  assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_usual_permissions(tmp_path):
  (tmp_path / 'usual').write_text('')
  atomic_file.write(os.fspath(tmp_path / 'new'), '')
  modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
  assert len(modes) == 1


@pytest.mark.parametrize('function', ['fsync', 'replace'])
def test_the_old_content_stays_when_the_write_fails(
    tmp_path, monkeypatch, function):
  path = tmp_path / 'file'
  path.write_text('old')
  monkeypatch.setattr(os, function, _fail)
  with pytest.raises(OSError, match='No space left'):
    atomic_file.write(path, 'new')
  assert path.read_text() == 'old'
  assert list(tmp_path.iterdir()) == [path]  # Nothing partial is left.


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError):
    atomic_file.write(tmp_path / 'missing' / 'file', 'new')
  assert not list(tmp_path.iterdir())


def test_the_disk_is_waited_for_only_if_asked(tmp_path, monkeypatch):
  monkeypatch.setattr(os, 'fsync', _fail)
  atomic_file.write(tmp_path / 'file', 'new', durable=False)
  assert (tmp_path / 'file').read_text() == 'new'


def test_the_file_and_then_its_name_survive_a_power_cut(tmp_path, monkeypatch):
  flushed = []
  monkeypatch.setattr(os, 'fsync', lambda file: flushed.append(
      (os.readlink(f'/proc/self/fd/{file}'), (tmp_path / 'file').exists())))
  atomic_file.write(tmp_path / 'file', 'new')
  (partial, existed), folder = flushed
  assert partial.startswith(f'{tmp_path}/file.') and not existed
  assert folder == (f'{tmp_path}', True)


@pytest.mark.parametrize('number', [
    errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF])
@pytest.mark.parametrize('only_folders', [True, False])
def test_file_systems_that_cannot_fsync_are_written_to(
    tmp_path, monkeypatch, number, only_folders):
  def fsync(file):
    if stat.S_ISDIR(os.fstat(file).st_mode) or not only_folders:
      raise OSError(number, os.strerror(number))
  monkeypatch.setattr(os, 'fsync', fsync)
  atomic_file.write(tmp_path / 'file', 'new')
  assert (tmp_path / 'file').read_text() == 'new'
  assert not atomic_file.fsync_folder(tmp_path)


def test_a_folder_whose_disk_fails_is_an_error(tmp_path, monkeypatch):
  def fsync(file):
    if stat.S_ISDIR(os.fstat(file).st_mode):
      raise OSError(errno.EIO, 'Input/output error')
  monkeypatch.setattr(os, 'fsync', fsync)
  with pytest.raises(OSError, match='Input/output error'):
    atomic_file.write(tmp_path / 'file', 'new')


def test_a_kill_before_the_renaming_leaves_the_old_content(tmp_path):
  path = tmp_path / 'file'
  path.write_text('old')

  def write_and_die():
    os.replace = lambda *_: os._exit(9)
    atomic_file.write(path, 'new')

  process = _FORKS.Process(target=write_and_die)
  process.start()
  process.join(60)
  assert process.exitcode == 9
  assert path.read_text() == 'old'
  partial, = set(tmp_path.iterdir()) - {path}
  assert partial.name.startswith('file.') and partial.suffix == '.partial'
  atomic_file.write(path, 'newer')  # What was left does no harm.
  assert path.read_text() == 'newer'


def _write_often(path, content):
  for _ in range(100):
    atomic_file.write(path, content, durable=False)


@pytest.mark.parametrize('make_pool', [
    concurrent.futures.ThreadPoolExecutor,
    functools.partial(concurrent.futures.ProcessPoolExecutor,
                      mp_context=_FORKS)])
def test_two_writers_and_a_reader_never_meet_half_of_a_file(
    tmp_path, make_pool):
  path = tmp_path / 'file'
  contents = [letter * _SIZE for letter in (b'a', b'b')]
  atomic_file.write(path, contents[0])
  with make_pool(2) as pool:
    writers = [pool.submit(_write_often, path, content) for content in contents]
    while not all(writer.done() for writer in writers):
      assert path.read_bytes() in contents
    for writer in writers:
      writer.result()
  assert list(tmp_path.iterdir()) == [path]
