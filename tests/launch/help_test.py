"""Asked for the trainer's help, a launcher shows it once and starts nothing."""
import os
import subprocess

import pytest

from configs.process import python_module

_LAUNCHERS = {
    'launch.local.__main__': ['--workers=2'],
    'launch.slurm.__main__': ['--nodes=2'],
    'launch.kubernetes.__main__': [],
    'launch.sweep.__main__': ['--seeds=2'],
    'launch.doctor.__main__': [],
    'launch.benchmark': []}


@pytest.fixture(name='run')
def _run(tmp_path):
  """Runs a launcher in an empty folder, without sbatch."""
  def run(launcher, *argv):
    done = subprocess.run(
        [*python_module.command(launcher), *argv], cwd=tmp_path,
        env=python_module.environment(os.environ) | {'PATH': ''},
        capture_output=True, text=True, check=False)
    assert not list(tmp_path.iterdir())  # No log, no run folder.
    return done.returncode, done.stdout, done.stderr
  return run


@pytest.mark.parametrize('word', ['--help', '-h'])
@pytest.mark.parametrize('launcher', _LAUNCHERS)
def test_the_trainer_answers_once(run, launcher, word):
  code, out, err = run(launcher, *_LAUNCHERS[launcher], '--', word)
  assert (code, err) == (0, '')
  assert out.startswith('Trains a network.\n')
  assert out.count('\n  --keep_last=N ') == 1
  assert out.count('Config fields, with the values of') == 1


@pytest.mark.parametrize('argv', [
    ['launch.local', '--workers=2', '--', '--config=cifar10_resnet20', '-h'],
    ['launch.sweep', '--config=cifar10_resnet20', '--', '--help']])
def test_the_recipe_is_that_of_the_other_flags(run, argv):
  assert 'with the values of cifar10_resnet20:' in run(*argv)[1]


@pytest.mark.parametrize('launcher', _LAUNCHERS)
def test_before_the_dashes_the_launcher_answers(run, launcher):
  code, out, err = run(launcher, *_LAUNCHERS[launcher], '--help', '--', '-h')
  assert (code, err) == (0, '')
  assert out and '--keep_last' not in out


def test_a_wrong_flag_of_the_trainer_ends_the_answer(run):
  code, out, err = run('launch.local', '--workers=2', '--',
                       '--config=cifar11_resnet20', '--help')
  assert (code, out) == (2, '')
  assert err.startswith('error: --config=cifar11_resnet20 is unknown (')


def test_help_that_is_refused_is_not_asked_for(run):
  code, _, err = run('launch.kubernetes', '--', '--help=false')
  assert code == 2 and '--name is missing' in err
