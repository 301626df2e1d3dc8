"""What counts as progress of a run, and the exit code that follows."""
import os
import subprocess
import sys

import pytest

from configs.process import command_line, progress


@pytest.fixture(autouse=True)
def unwatched(monkeypatch):
  monkeypatch.setattr(progress, '_watched', [])


def _save(workdir, name):
  (workdir / 'checkpoints').mkdir(parents=True, exist_ok=True)
  (workdir / 'checkpoints' / name).touch()


def test_a_checkpoint_is_saved_once_its_index_is_there(tmp_path):
  assert progress.saved(tmp_path) == frozenset()
  for name in ('ckpt-1.data-00000-of-00001', 'ckpt-12.index', 'ckpt-8.index',
               'ckpt-9.index.corrupt', 'ckpt-x.index', 'ckpt-7_temp'):
    _save(tmp_path, name)
  assert progress.saved(tmp_path) == {'ckpt-8.index', 'ckpt-12.index'}


@pytest.mark.parametrize('path', ['/proc/none', '', 'gs://no/where', 'a\0b'])
def test_a_folder_that_cannot_be_read_holds_none(path):
  assert progress.saved(path) == frozenset()


def test_nothing_is_missing_unless_the_launcher_asks(tmp_path, monkeypatch):
  monkeypatch.delenv(progress.VARIABLE, raising=False)
  progress.watch(tmp_path)
  assert not progress.is_missing() and command_line.exit_code(143) == 143
  monkeypatch.setenv(progress.VARIABLE, '1')
  assert progress.is_missing()
  monkeypatch.setattr(progress, '_watched', [])  # Not a trainer.
  assert not progress.is_missing()


def test_143_needs_a_new_checkpoint(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv(progress.VARIABLE, '1')
  _save(tmp_path, 'ckpt-8.index')
  progress.watch(tmp_path)
  assert [command_line.exit_code(code) for code in (0, 1, 2, 143)] == [
      0, 1, 2, 1]
  assert capsys.readouterr().err == (
      'warning: No checkpoint was saved since this process started: the exit '
      'code is 1 instead of 143, so that the restart counts as a failure.\n')
  # The newest may have been set aside, and an older one continued.
  (tmp_path / 'checkpoints/ckpt-8.index').unlink()
  assert command_line.exit_code(143) == 1
  _save(tmp_path, 'ckpt-6.index')
  assert command_line.exit_code(143) == 143


_PROGRAM = """
import sys
from configs.process import command_line, progress
from configs.process.errors import TryAgain
def main(workdir):
  progress.watch(workdir)
  {}
command_line.run(main, lambda argv: command_line.parse_flags(argv)[0])
"""


@pytest.mark.parametrize('end', ['return 143', 'raise TryAgain("x")'])
@pytest.mark.parametrize('value, code', [('1', 1), ('', 143)])
def test_programs_end_so(tmp_path, end, value, code):
  """Whether they return 143 or raise what asks for a restart."""
  done = subprocess.run(
      [sys.executable, '-c', _PROGRAM.format(end), tmp_path], check=False,
      env={**os.environ, progress.VARIABLE: value}, capture_output=True,
      text=True)
  assert done.returncode == code, done.stderr
  assert ('No checkpoint was saved' in done.stderr) == (code == 1)
