"""The chief's mark in --workdir, and the ranks that look for it."""
import asyncio
import errno
import fcntl
import os
import pathlib

import pytest

from configs.process.errors import UserError
from launch.doctor import workdir


@pytest.mark.parametrize('code', [errno.ENOLCK, errno.ENOSYS])
def test_a_folder_without_locks_is_warned_of(
    tmp_path, monkeypatch, capsys, code):
  """Runs train there too."""
  def refuse(*_):
    raise OSError(code, os.strerror(code))
  monkeypatch.setattr(fcntl, 'flock', refuse)
  with workdir.mark(tmp_path / 'new') as name:
    assert (tmp_path / 'new' / name).exists()
  assert capsys.readouterr().err == (
      f'warning: the file system of --workdir={tmp_path}/new cannot lock files '
      f'({os.strerror(code)}): nothing keeps two processes from training in '
      'this folder at once, which would ruin the run; start only one.\n')
  assert not list(tmp_path.iterdir())


def test_a_folder_whose_locks_fail_is_refused(tmp_path, monkeypatch):
  def refuse(*_):
    raise OSError(errno.EIO, 'Input/output error')
  monkeypatch.setattr(fcntl, 'flock', refuse)
  with pytest.raises(UserError, match='cannot be written .Input/output error'):
    with workdir.mark(tmp_path / 'new'):
      pass
  assert not list(tmp_path.iterdir())


def test_a_mark_is_removed_and_what_others_made_is_kept(tmp_path):
  with workdir.mark(tmp_path / 'a' / 'b') as name:
    assert asyncio.run(workdir.is_seen(tmp_path / 'a' / 'b', name))
    (tmp_path / 'a' / 'c').write_text('')
  assert [path.name for path in tmp_path.rglob('*')] == ['a', 'c']


@pytest.mark.parametrize('name', [
    '', 'mine', '../mine', '.doctor-' + '0' * 31, '.doctor-' + '0' * 31 + '/',
    '.doctor-' + '0' * 32 + '\n'])
def test_only_marks_are_looked_for(tmp_path, monkeypatch, name):
  """Names of marks come over the network."""
  monkeypatch.setattr(workdir, 'SEEN_WITHIN_SECS', 0)
  (tmp_path / 'mine').write_text('')
  (tmp_path / 'run').mkdir()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(pathlib.Path, 'is_file', lambda path: True)
    assert not asyncio.run(workdir.is_seen(tmp_path / 'run', name))


def test_folders_that_can_only_be_read():
  with pytest.raises(UserError, match='--workdir=/proc/self cannot be written'):
    workdir.check_writable('/proc/self')
