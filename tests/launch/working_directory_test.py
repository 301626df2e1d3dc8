"""Files in the working directory never take the place of the project's.

The commands run as if installed: they find the project, but the processes that
they start inherit nothing that would help them to find it.
"""
import configparser
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_DECOYS = ('resnet.py', 'pipelines.py', 'configs/__init__.py',
           'launch/__init__.py', 'absl.py', 'json.py')
# What the installed command does, with the project in a folder that no
# variable names. -P: its own folder is searched first, not the working one.
_COMMAND = """
import sys
sys.path.insert(0, {root!r})
from {module} import run
sys.argv[0] = {module!r}
run()
"""
_SETUP = configparser.ConfigParser()
_SETUP.read(_ROOT / 'setup.cfg')
_MODULES = re.findall(
    r'= ([\w.]+):run', _SETUP['options.entry_points']['console_scripts'])


@pytest.fixture(name='folder')
def _folder(tmp_path):
  """A working directory whose files cannot be imported."""
  for name in _DECOYS:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('raise SystemExit("a file of the working directory runs")')
  return tmp_path


def _run(folder, module, *argv):
  """Returns the ended process of an installed command."""
  environ = {name: value for name, value in os.environ.items()
             if name != 'PYTHONPATH'}
  return subprocess.run(
      [sys.executable, '-P', '-c',
       _COMMAND.format(root=os.fspath(_ROOT), module=module), *argv],
      cwd=folder, env=environ, capture_output=True, text=True, check=False,
      timeout=300)


def test_the_files_would_shadow_the_project(folder):
  done = subprocess.run(
      [sys.executable, '-m', 'resnet.train'], cwd=folder, check=False,
      env={**os.environ, 'PYTHONPATH': f'{_ROOT}'}, capture_output=True,
      text=True)
  assert 'a file of the working directory runs' in done.stderr


def test_commands_are_found():
  assert {'resnet.train', 'launch.local.__main__'} < set(_MODULES)


@pytest.mark.parametrize('module', _MODULES)
def test_each_installed_command_starts(folder, module):
  done = _run(folder, module, '--help')
  assert (done.returncode, done.stderr) == (0, '')


_SWEEP = ['--config=digits_resnet8', '--sweep=schedule.peak=0.1']


@pytest.mark.parametrize('module, argv', [
    ('launch.local.__main__', ['--workers=2']),
    ('launch.local.__main__', ['--workers=1', '--module=launch.doctor']),
    ('launch.benchmark', ['--workers=1', '--rounds=1']),
    ('launch.doctor.__main__', []),
    ('launch.sweep.__main__', _SWEEP),
    ('launch.sweep.__main__',
     [*_SWEEP, '--launcher=local', '--launcher_flags=--workers=2']),
])
def test_processes_that_a_command_starts_run_the_project(folder, module, argv):
  done = _run(folder, module, *argv, '--', '--no_such_flag=1')
  assert done.returncode == 2
  printed = done.stdout + done.stderr
  assert ' --no_such_flag is unknown: --help lists the flags.\n' in printed
  assert 'working directory runs' not in printed


def test_a_module_of_the_user_is_run_with_the_project(folder):
  (folder / 'mine.py').write_text(
      'import configs.schema as s, sys\nprint(s.__file__, *sys.argv[1:])')
  done = _run(folder, 'launch.local.__main__', '--workers=1', '--module=mine',
              '--', '--strategy=x')
  assert done.stdout == f'[w0] {_ROOT}/configs/schema.py --strategy=x\n'


@pytest.mark.parametrize('module, flag', [
    ('resnet.train', '--no_such_flag=1'), ('mine', '--strategy=x')])
def test_what_a_dry_run_prints_runs_the_project(folder, module, flag):
  (folder / 'mine.py').write_text(
      'import configs.schema, sys\nsys.exit(f"error: --{configs.__file__}")')
  printed = _run(folder, 'launch.local.__main__', '--workers=1', '--dry_run',
                 f'--module={module}', '--', flag)
  assert (printed.returncode, printed.stderr) == (0, '')
  done = subprocess.run(['sh', '-c', printed.stdout], cwd=folder, check=False,
                        capture_output=True, text=True)
  assert done.stderr.startswith(
      f'error: --{_ROOT}/configs/__init__.py' if module == 'mine'
      else 'error: --no_such_flag is unknown')


@pytest.mark.slow
def test_two_workers_train_among_files_of_the_same_names(folder):
  done = _run(folder, 'launch.local.__main__', '--workers=2', '--',
              '--config.train_epochs=1')
  assert done.returncode == 0, done.stdout + done.stderr
  assert done.stderr.splitlines()[-1] == '[launch] all workers are done'
  run = json.loads((folder / 'runs/digits_resnet8/run.json').read_text())
  assert run['summary']['accuracy'] > 0.1
