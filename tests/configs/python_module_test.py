"""Child processes run the code of this process, wherever they run."""
import os
import pathlib
import site
import subprocess
import sys

import pytest

from configs.process import python_module

_ROOT = str(pathlib.Path(__file__).parents[2])


def test_the_code_is_where_its_packages_are():
  assert python_module.ROOT == pathlib.Path(_ROOT)


def test_command():
  assert python_module.command('a.b') == (sys.executable, '-P', '-m', 'a.b')
  assert python_module.command('a', ['srun', 'python']) == (
      'srun', 'python', '-P', '-m', 'a')


@pytest.mark.parametrize('given, last, path', [
    (None, [], _ROOT),
    ('', [], _ROOT),
    ('/a', [], f'{_ROOT}:/a'),
    ('/a:b', [], f'{_ROOT}:/a:b'),
    (f'/a:{_ROOT}', [], f'{_ROOT}:/a:{_ROOT}'),
    (_ROOT, [], None),  # Nothing to add.
    (f'{_ROOT}:/a', [], None),
    (None, ['/z'], f'{_ROOT}:/z'),
    ('/a', ['/z'], f'{_ROOT}:/a:/z'),
    (f'{_ROOT}:/a', ['/z'], f'{_ROOT}:/a:/z'),
    # A folder that is searched already is not moved to the end.
    (f'/z:{_ROOT}', ['/z'], f'{_ROOT}:/z:{_ROOT}'),
    (None, [_ROOT], _ROOT),
])
def test_variables(given, last, path):
  environ = {'HOME': '/h'} | ({} if given is None else {'PYTHONPATH': given})
  expected = {} if path is None else {'PYTHONPATH': path}
  assert python_module.variables(environ, last) == expected


@pytest.mark.parametrize('kind', ['getsitepackages', 'getusersitepackages'])
def test_an_installed_project_needs_no_variable(monkeypatch, kind):
  monkeypatch.setattr(
      site, kind, lambda: _ROOT if 'user' in kind else ['/other', _ROOT])
  assert python_module.variables({}) == {}
  assert python_module.variables({'PYTHONPATH': '/a'}) == {}
  # Else a folder that is searched last would come before the installed code.
  assert python_module.variables({}, ['/z']) == {'PYTHONPATH': f'{_ROOT}:/z'}


def test_environment():
  environ = {'A': '1', 'PYTHONPATH': '/a'}
  assert python_module.environment(environ) == {
      'A': '1', 'PYTHONPATH': f'{_ROOT}:/a'}
  assert environ == {'A': '1', 'PYTHONPATH': '/a'}


def test_files_in_the_working_directory_do_not_shadow_the_project(tmp_path):
  (tmp_path / 'configs').mkdir()
  for decoy in ('resnet.py', 'json.py', 'configs/__init__.py'):
    (tmp_path / decoy).write_text('raise SystemExit("shadowed")')
  environ = {name: value for name, value in os.environ.items()
             if name != 'PYTHONPATH'}
  done = subprocess.run(
      [*python_module.command('resnet.train'), '--no_such'], cwd=tmp_path,
      env=python_module.environment(environ), capture_output=True, text=True,
      check=False)
  assert done.returncode == 2
  assert done.stderr.startswith('error: --no_such is unknown')
