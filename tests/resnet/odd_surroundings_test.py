"""Training where names are odd, and where a user has no home and no locale."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests import processes, tiny_dataset

_ROOT = pathlib.Path(__file__).parents[2]
_SHORT = ('--config.model.width=4', '--config.train_epochs=0',
          '--config.train_steps=4', '--config.schedule.warmup_epochs=0',
          '--config.global_batch=8', '--steps_per_call=1',
          '--log_every_steps=1', '--eval_every_steps=2',
          '--save_every_steps=1', '--save_every_secs=0')
# A process without a line in /etc/passwd: its files stay this user's.
_AS_NOBODY = ('unshare', '--user', '--map-user=54321', '--map-group=54321')


def _stop_at(step, done):
  if done == step:
    os._exit(9)


def _stop_at_2(done):
  _stop_at(2, done)


@pytest.mark.slow
@pytest.mark.parametrize('name', [
    '-x [a-z] a[ {a,b} *? back\\slash \'"',
    '%s%d $HOME #&;| é日本 e\u0301 \U0001f40d', 'ckpt-7.index'])
def test_a_run_folder_of_any_name_trains_resumes_and_evaluates(tmp_path, name):
  workdir = tmp_path / name / 'run'
  flags = (*_SHORT, f'--workdir={workdir}')
  killed = processes.run('resnet.train', *flags, between_calls=_stop_at_2)
  assert killed.code == 9, killed.err
  resumed = processes.run('resnet.train', *flags)
  assert resumed.code == 0, resumed.err
  assert 'resuming at step' in resumed.err
  evaluated = processes.run('resnet.evaluate', f'--workdir={workdir}',
                            '--checkpoint=best')
  assert evaluated.code == 0, evaluated.err
  assert os.listdir(tmp_path) == [name]
  names = {path.name for path in (workdir / 'checkpoints').iterdir()}
  assert 'ckpt-4.index' in names


@pytest.mark.slow
@pytest.mark.parametrize('memory_gib', [0, 1])
def test_a_data_folder_of_an_odd_name_is_read(tmp_path, memory_gib):
  data_dir = tmp_path / '[a-z] {é}\\*'
  tiny_dataset.prepare(data_dir)
  result = processes.run(
      'resnet.train', *_SHORT, f'--workdir={tmp_path}/run',
      f'--data_dir={data_dir}', '--config.data.name=tiny_pictures',
      f'--memory_gib={memory_gib}')
  assert result.code == 0, result.err


def _why_no_namespace():
  done = subprocess.run([*_AS_NOBODY, 'true'], capture_output=True, text=True,
                        check=False)
  return done.returncode and done.stderr.strip()


@pytest.mark.slow
def test_training_without_a_home_a_name_or_a_locale(tmp_path):
  """Two starts, the second of which evaluates; all they write is the run."""
  reason = _why_no_namespace()
  if reason:
    pytest.skip(f'user namespaces cannot be created here ({reason})')
  environ = {'PATH': os.environ['PATH'], 'LC_ALL': 'C', 'PYTHONUTF8': '0',
             'PYTHONCOERCECLOCALE': '0', 'PYTHONPATH': os.fspath(_ROOT)}
  for module, flags in (('resnet.train', _SHORT), ('resnet.evaluate', ())):
    done = subprocess.run(
        [*_AS_NOBODY, sys.executable, '-P', '-m', module, *flags,
         '--workdir=runs/é'.encode()], cwd=tmp_path, env=environ,
        capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
  assert [os.fsdecode(path.relative_to(tmp_path))
          for path in tmp_path.glob('*/*')] == ['runs/é']


@pytest.mark.slow
def test_on_one_core_no_waiting_for_input_is_made_up(tmp_path):
  """There the step could run before the clock is read: it said 99 %."""
  core = str(min(os.sched_getaffinity(0)))
  run = subprocess.run(
      ['taskset', '--cpu-list', core, sys.executable, '-m', 'resnet.train',
       *_SHORT, '--config.model.width=16', f'--workdir={tmp_path}/run'],
      cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False)
  assert run.returncode == 0, run.stderr
  assert 'input' not in run.stderr.partition('compiling')[2]
  lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
  waits = [json.loads(line).get('input_wait_fraction') for line in lines]
  assert waits.count(0.0) == 3 and set(waits) == {0.0, None}
