"""Runs wrong inputs and checks that each of them ends as it must."""
import os
import pathlib

import pytest

from tests.wrong_inputs import forks

# What a wrong input may take, on a machine that does other things as well.
_MOST_CPU_SECS = 1.5


@pytest.fixture(scope='session')
def programs():
  """The process that runs programs, and has no TensorFlow."""
  running = forks.Programs()
  yield running
  running.close()


@pytest.fixture
def refused(programs, tmp_path):
  """A function that runs a program, which must refuse what it gets.

  Its arguments are the program, the flags, and `environ`, variables to add. It
  returns the one sentence that the program printed, without 'error: '.
  """
  folder, home = tmp_path / 'folder', tmp_path / 'home'

  def run(program, *argv, environ=()):
    folder.mkdir()
    home.mkdir()
    ended = programs.run(
        program, argv, {'HOME': os.fspath(home), 'PATH': os.environ['PATH'],
                        **dict(environ)}, folder)
    assert ended.code == 2, ended
    assert ended.out == ''
    line, = ended.err.splitlines()
    assert line.startswith('error: ') and line.endswith('.')
    assert ended.cpu_secs < _MOST_CPU_SECS
    assert _contents(folder) == _contents(home) == []  # Nothing is written.
    return line.removeprefix('error: ')

  return run


def _contents(folder: pathlib.Path) -> list[pathlib.Path]:
  return sorted(folder.rglob('*'))
