"""The flags of `python -m launch.sweep`: what they start, and wrong ones."""
import pathlib
import shlex
import subprocess
import sys

import pytest

from tests.launch import stub_trainers, stub_workers

_ROOT = pathlib.Path(__file__).parents[2]
_PEAKS = '--sweep=schedule.peak=0.1,0.2'


@pytest.fixture(autouse=True)
def running(monkeypatch):
  """Fails if a test leaves a process behind."""
  with stub_workers.marked(monkeypatch) as processes:
    yield processes


def test_dry_run_prints_a_command_for_each_run(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, None, '--config=cifar10_resnet20',
      '--sweep=schedule.peak=0.1,0.2', '--sweep=augment.flip=true,false',
      '--seeds=2', '--dry_run', '--', '--data_dir=a b')
  assert (code, err) == (0, '')
  expected = []
  for peak in ('0.1', '0.2'):  # The last one varies fastest.
    for flip in ('true', 'false'):
      for seed in ('0', '1'):
        expected.append(
            f'PYTHONPATH={_ROOT}:{tmp_path} {sys.executable} -P -m '
            'resnet.train --config=cifar10_resnet20 '
            f"'--data_dir=a b' --config.schedule.peak={peak} "
            f'--config.augment.flip={flip} --config.seed={seed} '
            f'--workdir={tmp_path}/runs/peak={peak}_flip={flip}_seed={seed}')
  assert out.splitlines() == expected
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('launcher, named', [
    ('local', '--log_dir={folder}/runs/logs/peak=0.1'),
    ('slurm', '--log_dir={folder}/runs/logs'),
    ('kubernetes', '--name=runs-peak-0-1')])
def test_a_launcher_gets_its_own_flags(tmp_path, launcher, named):
  code, out, err = stub_trainers.sweep(
      tmp_path, None, '--sweep=schedule.peak=0.1', '--dry_run',
      f'--launcher={launcher}', "--launcher_flags=--x='a b' -y", '--', '--z=1')
  assert (code, err) == (0, '')
  assert shlex.split(out) == [
      f'PYTHONPATH={_ROOT}:{tmp_path}', sys.executable, '-P', '-m',
      f'launch.{launcher}',
      named.format(folder=tmp_path), '--x=a b', '-y', '--',
      '--config=digits_resnet8', '--z=1', '--config.schedule.peak=0.1',
      f'--workdir={tmp_path}/runs/peak=0.1']


@pytest.mark.parametrize('workdir, folder', [
    ([], 'runs/cifar10_resnet20-sweep'), (['--workdir=~/x'], '/home/me/x')])
def test_folder_of_the_runs(tmp_path, monkeypatch, workdir, folder):
  monkeypatch.setenv('HOME', '/home/me')
  monkeypatch.setenv('PYTHONPATH', f'{_ROOT}')
  done = subprocess.run(
      [sys.executable, '-m', 'launch.sweep', '--config=cifar10_resnet20',
       '--seeds=1', '--dry_run', *workdir], cwd=tmp_path, text=True,
      capture_output=True, check=False)
  assert done.returncode == 0
  assert f' --workdir={folder}/seed=0\n' in done.stdout


def test_a_run_with_another_configuration_is_refused_before_any_start(
    tmp_path):
  stub_trainers.sweep(tmp_path, 'finish(0.5, 0.5)', _PEAKS)
  code, out, err = stub_trainers.sweep(
      tmp_path, 'finish(0.5, 0.5)', '--sweep=schedule.peak=0.3,0.2', '--',
      '--config.train_epochs=2')
  assert (code, out) == (2, '')
  assert err == (
      f'error: {tmp_path}/runs/peak=0.2 holds a run with another configuration '
      '(config.train_epochs: 30 -> 2.0): restore the old values to continue '
      'that run, or give another --workdir.\n')


@pytest.mark.parametrize('argv, words', [
    ([], ['--sweep and --seeds are both missing']),
    (['--seeds=0'], ['--seeds=0', 'give an integer from 1 to 1000']),
    (['--seeds=1001'], ['--seeds=1001', 'from 1 to 1000']),
    (['--seeds=501', '--sweep=schedule.peak=0.1,0.2'],
     ['ask for 1002 runs, and a sweep has at most 1000: give fewer values']),
    (['--sweep=schedule.peek=1'],
     ['config.schedule.peek does not exist (did you mean '
      'config.schedule.peak?)']),
    (['--sweep=optimizer=1'], ['config.optimizer is a group']),
    (['--sweep=schedule.peak'], ['--sweep=schedule.peak is missing a value']),
    (['--sweep=schedule.peak=0.1,,0.2'], ['0.1,,0.2 is missing a value']),
    (['--sweep=schedule.drops_at=0.1;'], ['VALUE;VALUE']),
    (['--sweep=schedule.peak=0.1,high'],
     ['config.schedule.peak=high has the wrong type: give a number.']),
    (['--sweep=schedule.peak=0.1,-1'], ['config.schedule.peak=-1', 'range']),
    (['--sweep=optimizer.name=sgd,adagrad'], ['choose one of sgd, adam']),
    (['--seeds=1', '--', '--config.seeed=3'], ['config.seeed does not exist']),
    (['--seeds=1', '--', '--config.depth', '3'], ['config.depth does not']),
    (['--seeds=1', '--', '--config.augment.repeats', '3'],
     ['config.global_batch=64', 'multiple of 3']),
    (['--sweep=schedule.peak=0.1,0.10'], ['2 runs would be named peak=0.1']),
    (['--sweep=schedule.peak=0.1', '--sweep=schedule.peak=0.2'],
     ['The sweep sets config.schedule.peak twice']),
    (['--seeds=2', '--sweep=seed=3'],
     ['The sweep sets config.seed twice']),
    (['--seeds=2', '--', '--config.seed=3'], ['--config.seed after -- is not']),
    (['--seeds=2', '--', '-workdir', 'x'], ['--workdir after -- is not']),
    (['--seeds=2', '--', '--config=x'], ['--config after -- is not']),
    (['--sweep=augment.flip=true', '--', '--noconfig.augment.flip'],
     ['--noconfig.augment.flip after -- is not']),
    (['--seeds=2', '--config=x'], ['--config=x is unknown']),
    (['--seeds=2', '--x'],
     ['--x is unknown', 'Put flags for the trainer after " -- ".']),
    (['--seeds=2', 'surplus'], ["'surplus' is not a flag"]),
    (['--seeds=2', '--launcher=ssh'], ['--launcher=ssh', 'slurm']),
    (['--seeds=2', '--launcher_flags=--workers=2'],
     ['--launcher=train has no flags of its own']),
    (['--seeds=2', '--launcher=local', '--launcher_flags="'],
     ['--launcher_flags=" cannot be split into words (No closing quotation)']),
    (['--seeds=2', '--launcher=local', '--launcher_flags=--workers=2 -- --x'],
     ['contains --,']),
    (['--seeds=2', '--launcher=local', '--launcher_flags=--log_dir=x'],
     ['--log_dir in --launcher_flags is not allowed, as the sweep sets it']),
    (['--seeds=2', '--launcher=slurm', '--launcher_flags=--log_dir x'],
     ['--log_dir in --launcher_flags is not allowed, as the sweep sets it']),
])
def test_wrong_flags_are_refused_before_any_start(tmp_path, argv, words):
  code, out, err = stub_trainers.sweep(
      tmp_path, 'pathlib.Path(__file__).with_name("started").touch()', *argv)
  assert (code, out, err.count('\n')) == (2, '', 1), err
  assert err.startswith('error: ') and err.endswith('.\n')
  for word in words:
    assert word in err
  assert not (tmp_path / 'started').exists()
