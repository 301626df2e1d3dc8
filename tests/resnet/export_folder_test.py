"""The folder of an export is replaced as a whole, or left as it was."""
import errno
import json
import os
import subprocess
import sys

import pytest

from configs.process.errors import TryAgain, UserError
from resnet.exporting import folder


def _write(path, **files):
  """Replaces an export by one with these files."""
  with folder.replacing(path) as partial:
    for name, text in files.items():
      (partial / name).write_text(text)
    folder.write_record(partial, {'exports': {}})


def _content(path):
  return {file.name: file.read_text() for file in path.iterdir()
          if file.name != folder.RECORD}


@pytest.fixture(params=['exchanged', 'renamed twice'])
def way(request, monkeypatch):
  """Both ways of replacing: not every file system can exchange names."""
  if request.param == 'renamed twice':
    monkeypatch.setattr(folder.ctypes, 'CDLL', lambda *_, **__: None)
  return request.param


def test_an_export_is_replaced(tmp_path, way):
  path = tmp_path / 'export'
  _write(path, a='1', b='2')
  assert _content(path) == {'a': '1', 'b': '2'}
  _write(path, b='3')
  assert _content(path) == {'b': '3'}
  assert os.listdir(tmp_path) == ['export'], way


def test_a_failure_leaves_what_was_there(tmp_path):
  path = tmp_path / 'export'
  _write(path, a='1')
  with pytest.raises(ZeroDivisionError), folder.replacing(path) as partial:
    (partial / 'a').write_text('2')
    1 / 0  # noqa: B018
  assert _content(path) == {'a': '1'}
  assert os.listdir(tmp_path) == ['export']


@pytest.mark.parametrize('number, error', [
    (errno.ENOSPC, UserError), (errno.EFBIG, UserError),
    (errno.EIO, TryAgain)])
def test_a_full_disk_is_a_sentence(tmp_path, number, error):
  path = tmp_path / 'export'
  with pytest.raises(error, match='export cannot be written'):
    with folder.replacing(path) as partial:
      (partial / 'a').write_text('2')
      raise OSError(number, os.strerror(number))
  assert not os.listdir(tmp_path)


_KILLED = """
import os, pathlib, signal, sys
from resnet.exporting import folder
with folder.replacing(pathlib.Path(sys.argv[1])) as partial:
  (partial / 'a').write_text('2')
  os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize('there', [False, True])
def test_a_kill_leaves_what_was_there(tmp_path, there):
  path = tmp_path / 'export'
  if there:
    _write(path, a='1')
  assert subprocess.run([sys.executable, '-c', _KILLED, path], check=False
                        ).returncode == -9
  assert path.exists() == there
  assert not there or _content(path) == {'a': '1'}
  assert folder.check(path) == ({'layout': 1, 'exports': {}} if there else None)
  _write(path, a='3')
  assert _content(path) == {'a': '3'}


def test_formats_are_taken_over(tmp_path):
  path = tmp_path / 'export'
  _write(path, a='1')
  (path / 'b').mkdir()
  (path / 'b' / 'c').write_text('2')
  with folder.replacing(path) as partial:
    folder.keep(path, partial, ['a', 'b'])
  assert (path / 'a').read_text() + (path / 'b' / 'c').read_text() == '12'


def test_a_free_folder(tmp_path):
  assert folder.check(tmp_path) is None
  assert folder.check(tmp_path / 'new' / 'folder') is None


def test_something_else_is_refused(tmp_path):
  (tmp_path / 'notes.txt').write_text('mine')
  with pytest.raises(UserError, match='holds something else than an export'):
    folder.check(tmp_path)
  with pytest.raises(UserError, match='cannot be read as a folder'):
    folder.check(tmp_path / 'notes.txt')


@pytest.mark.parametrize('text, words', [
    ('{"layout": 2}', r'another version \(its layout is 2, that of this'),
    ('{}', r'another version \(its layout is None'),
    ('{"layo', r'export.json is damaged'), ('[]', 'is damaged')])
def test_a_record_of_another_version_is_refused(tmp_path, text, words):
  (tmp_path / folder.RECORD).write_text(text)
  with pytest.raises(UserError, match=words):
    folder.check(tmp_path)


def test_digests_of_files(tmp_path):
  (tmp_path / 'm').mkdir()
  (tmp_path / 'm' / 'x').write_text('abc')
  found = folder.digests(tmp_path / 'm')
  # Of "abc", as in FIPS 180-2.
  assert found == {'m/x': {'bytes': 3, 'sha256': (
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')}}
  assert json.dumps(found)
