"""Which command workers run, and where they look for its module."""
import configparser
import pathlib
import sys

import pytest

from configs.process.errors import UserError
from launch import trainer_command

_ROOT = str(pathlib.Path(__file__).parents[2])
_STRATEGY = '--strategy=multi_worker_mirrored'


@pytest.fixture(name='cwd', autouse=True)
def _cwd(tmp_path, monkeypatch):
  """A working directory that Python itself does not search."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, 'path', [path for path in sys.path if path])
  return tmp_path


def test_the_packages_are_those_that_are_installed():
  setup = configparser.ConfigParser()
  setup.read(pathlib.Path(_ROOT, 'setup.cfg'))
  assert [f'{name}*' for name in trainer_command.PACKAGES] == setup[
      'options.packages.find']['include'].split()


@pytest.mark.parametrize('flags, words', [
    ([], [_STRATEGY]),
    (['--config=x', 'a b'], [_STRATEGY, '--config=x', 'a b']),
    (['--strategy=mirrored'], ['--strategy=mirrored']),
    (['-strategy', 'mirrored'], ['-strategy', 'mirrored']),
    (['--strategy_x=1', 'strategy'], [_STRATEGY, '--strategy_x=1', 'strategy']),
])
def test_words(flags, words):
  assert trainer_command.words(['env', 'python'], 'a.b', flags) == (
      'env', 'python', '-P', '-m', 'a.b', *words)


@pytest.mark.parametrize('module', [
    'resnet.train', 'resnet', 'launch.doctor', 'pipelines.show', 'configs.x'])
def test_modules_of_the_project_come_from_the_running_code(module):
  assert trainer_command.variables(module, {}) == {'PYTHONPATH': _ROOT}
  assert trainer_command.variables(module, {'PYTHONPATH': '/a'}) == {
      'PYTHONPATH': f'{_ROOT}:/a'}


@pytest.mark.parametrize('module', ['mine', 'mine.train', 'resnets', 'json.x'])
def test_other_modules_may_also_come_from_the_working_directory(cwd, module):
  assert trainer_command.variables(module, {'PYTHONPATH': '/a'}) == {
      'PYTHONPATH': f'{_ROOT}:/a:{cwd}'}


def _write(folder, *paths):
  for path in paths:
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text('raise SystemExit("imported")')


def test_modules_are_found_without_being_imported(cwd):
  _write(cwd, 'mine.py', 'own/__init__.py', 'own/train.py', 'own/__main__.py')
  for name in ('mine', 'own', 'own.train', 'own.__main__', 'resnet.train',
               'launch.doctor', 'json.tool', 'unittest'):
    trainer_command.check_module(name)


def test_files_in_the_working_directory_do_not_hide_the_project(cwd):
  _write(cwd, 'resnet.py', 'launch/__init__.py')
  sys.path.insert(0, str(cwd))  # As under `python -m`.
  trainer_command.check_module('resnet.train')
  trainer_command.check_module('launch.doctor')


@pytest.mark.parametrize('name', [
    '', '.', '.mine', 'mine.', 'mine..x', 'mine.x', 'other', 'own.other',
    'plain',  # A package without __main__.
    'resnet', 'resnet.mine', 'resnet.train.x', 'email', '__main__.x'])
def test_modules_that_cannot_be_run(cwd, name):
  _write(cwd, 'mine.py', 'own/__init__.py', 'plain/__init__.py',
         'resnet/__init__.py', 'resnet/mine.py', 'resnet/__main__.py')
  with pytest.raises(UserError, match='--module=.* is not a Python module'):
    trainer_command.check_module(name)
