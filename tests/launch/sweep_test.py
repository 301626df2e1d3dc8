"""`python -m launch.sweep` as its users start it, with trainers of a few lines.
"""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from tensorboard.plugins.hparams import api_pb2

from tests.launch import stub_trainers, stub_workers
from tests.launch.stub_trainers import rows, started
from tests.resnet import hparams_tab

pytestmark = pytest.mark.slow  # Each starts several processes.
_ROOT = pathlib.Path(__file__).parents[2]
_PEAKS = '--sweep=schedule.peak=0.1,0.2'
_RUNS = ['peak=0.1', 'peak=0.2']
_THREE = '--sweep=schedule.peak=0.1,0.2,0.3'


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """Yields the running processes of a test; none may be left at its end."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


_TRAINED = """
with open(folder.parents[1] / 'log', 'a') as log:
  print('start', sys.argv[1:], file=log, flush=True)
  time.sleep(0.2)
  print('end', folder.name, file=log)
finish(float(flags['config.schedule.peak']), 0.75)
"""


def test_runs_are_trained_one_after_another(tmp_path):
  code, out, err = stub_trainers.sweep(tmp_path, _TRAINED, _PEAKS, '--', '--a')
  assert code == 0
  log = []
  for peak in ('0.1', '0.2'):
    argv = ['--config=digits_resnet8', '--a', f'--config.schedule.peak={peak}',
            f'--workdir={tmp_path}/runs/peak={peak}']
    log += [f'start {argv}', f'end peak={peak}']
  assert (tmp_path / 'log').read_text().splitlines() == log
  assert out == f"""\
run       state  accuracy  best accuracy
peak=0.1  done   0.1000    0.7500
peak=0.2  done   0.2000    0.7500

Compare the runs with: tensorboard --logdir {tmp_path}/runs
"""
  assert err == ''.join(
      f'[sweep] {name} ({number} of 2) in {tmp_path}/runs/{name}\n'
      for number, name in enumerate(_RUNS, 1))


def test_means_and_deviations_over_seeds(tmp_path):
  code, out, _ = stub_trainers.sweep(tmp_path, """
accuracies = {'0.1': [0.5, 0.6, 0.7], '0.2': [0.9, 0.8, None]}
accuracy = accuracies[flags['config.schedule.peak']][int(flags['config.seed'])]
if accuracy is None:
  sys.exit(3)
finish(accuracy, accuracy + 0.01)
""", _PEAKS, '--seeds=3')
  assert code == 3
  # By hand: deviations of 0.1, 0 and 0.1 give sqrt(0.02 / 2) = 0.1, and of
  # 0.05 and 0.05 sqrt(0.005 / 1) = 0.0707.
  assert out == f"""\
run              state                    accuracy  best accuracy
peak=0.1_seed=0  done                     0.5000    0.5100
peak=0.1_seed=1  done                     0.6000    0.6100
peak=0.1_seed=2  done                     0.7000    0.7100
peak=0.2_seed=0  done                     0.9000    0.9100
peak=0.2_seed=1  done                     0.8000    0.8100
peak=0.2_seed=2  failed with exit code 3  -         -

Means and standard deviations over seeds:
setting   done    accuracy  +-      best accuracy  +-
peak=0.1  3 of 3  0.6000    0.1000  0.6100         0.1000
peak=0.2  2 of 3  0.8500    0.0707  0.8600         0.0707

Compare the runs with: tensorboard --logdir {tmp_path}/runs
"""


def test_one_finished_seed_has_no_deviation(tmp_path):
  _, out, _ = stub_trainers.sweep(
      tmp_path, "sys.exit(1) if flags['config.seed'] == '1' else finish(0.5, 1)"
      , '--seeds=2')
  assert 'digits_resnet8  1 of 2  0.5000    -   1.0000         -\n' in out


@pytest.mark.parametrize('first, code, state', [
    ('sys.exit(7)', 7, 'failed with exit code 7'),
    ('os.kill(os.getpid(), 9)', 1, 'killed by SIGKILL'),
    ('sys.exit(143)', 143, 'stopped'),
    # It trained, so the others may fare better: perhaps it diverged.
    ('begin(); sys.exit(2)', 2, 'failed with exit code 2')])
def test_a_run_that_fails_does_not_stop_the_others(
    tmp_path, first, code, state):
  got, out, err = stub_trainers.sweep(
      tmp_path, f"""
if folder.name == 'peak=0.1':
  {first}
finish(0.5, 0.5)
""", _PEAKS)
  assert got == code and started(err) == _RUNS
  assert rows(out) == {'peak=0.1': state, 'peak=0.2': 'done'}


def test_a_run_that_exits_with_0_is_done(tmp_path):
  code, out, _ = stub_trainers.sweep(tmp_path, 'pass', '--seeds=1')
  assert code == 0 and rows(out) == {'seed=0': 'done'}


def test_a_user_error_of_the_first_run_ends_the_sweep(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, 'print("error: no data.", file=sys.stderr)\nsys.exit(2)',
      _PEAKS)
  assert code == 2 and started(err) == ['peak=0.1']
  assert err.endswith('error: no data.\n')
  assert rows(out) == {'peak=0.1': 'failed with exit code 2',
                       'peak=0.2': 'not started'}


def test_a_user_error_of_a_later_run_does_not_stop_the_others(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, "sys.exit(2) if folder.name == 'peak=0.2' else finish(1, 1)",
      _THREE)
  assert code == 2 and started(err) == [*_RUNS, 'peak=0.3']
  assert list(rows(out).values()) == [
      'done', 'failed with exit code 2', 'done']


def test_the_working_directory_cannot_shadow_the_trainer(tmp_path):
  for name in ('resnet.py', 'launch.py', 'pipelines.py', 'configs.py'):
    (tmp_path / name).write_text('raise SystemExit("shadowed")')
  done = subprocess.run(
      [sys.executable, '-P', '-m', 'launch.sweep', '--seeds=1', '--', '--nope'],
      cwd=tmp_path, env={**os.environ, 'PYTHONPATH': f'{_ROOT}'}, text=True,
      capture_output=True, check=False, timeout=60)
  assert done.returncode == 2 and 'error: --nope is unknown' in done.stderr
  assert rows(done.stdout) == {'seed=0': 'failed with exit code 2'}


def test_the_local_launcher_trains_the_runs(tmp_path):
  (tmp_path / 'trainer.py').write_text(
      stub_trainers.PRELUDE + 'print(os.environ["TF_CONFIG"][:10])\n'
      'finish(0.5, 0.5)')
  code, out, err = stub_trainers.sweep(
      tmp_path, '', _PEAKS, '--launcher=local',
      '--launcher_flags=--workers=1 --module=trainer')
  assert code == 0 and started(err) == _RUNS
  assert out.startswith('[w0] {"cluster"\n' * 2)
  assert set(rows(out).values()) == {'done'}
  for name in _RUNS:
    log = tmp_path / 'runs' / 'logs' / name / 'attempt_0' / 'worker_0.log'
    assert log.read_text() == '{"cluster"\n'


_SUBMITS = """
number = 4 + int(flags['config.seed'])
print(f'submitted job {number}1 (2 nodes, 8 workers)')
print(f'stop:        scancel {number}1')
sys.exit({0} if number == 5 else 0)
"""


def test_jobs_are_submitted_and_listed(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, _SUBMITS.replace('{0}', '1'), '--seeds=3', '--launcher=slurm')
  assert code == 1 and len(started(err)) == 3
  assert out.startswith('submitted job 41 (2 nodes, 8 workers)\nstop:')
  assert rows(out) == {
      'seed=0': 'job 41', 'seed=1': 'failed with exit code 1',
      'seed=2': 'job 61'}


@pytest.mark.parametrize('printed, state', [
    ('77', 'job 77'), ('submitted job 77 (2 nodes)', 'job 77'),
    ('runs-peak-0-1 peak=5 2x r50 is job 77.', 'submitted'),
    ('runs-peak-0-1 peak=5 2x r50 is job 77 of 9', 'job 77'),
    ('', 'submitted')])
def test_the_first_number_printed_is_the_job(tmp_path, printed, state):
  _, out, _ = stub_trainers.sweep(
      tmp_path, f'print({printed!r})', '--seeds=1', '--launcher=slurm')
  assert rows(out) == {'seed=0': state}


def test_stdout_holds_the_manifests_of_all_runs_only(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, 'print("---\\nname:", flags["name"])', '--seeds=2',
      '--launcher=kubernetes')
  assert (code, out) == (
      0, '---\nname: runs-seed-0\n---\nname: runs-seed-1\n')
  assert started(err) == ['seed=0', 'seed=1']


def test_all_manifests_are_printed_or_none(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, _SUBMITS.replace('{0}', '2'), '--seeds=3',
      '--launcher=kubernetes')
  assert (code, out) == (2, '')
  assert started(err) == ['seed=0', 'seed=1']
  assert 'printed no manifest, because' in err


def test_launcher_none_shows_progress_and_starts_nothing(tmp_path):
  stub_trainers.sweep(
      tmp_path, "begin() if folder.name == 'peak=0.2' else finish(0.5, 0.75)",
      _PEAKS)
  code, out, err = stub_trainers.sweep(
      tmp_path, 'no Python', _THREE, '--launcher=none')
  assert (code, err) == (0, '')
  assert out.splitlines()[1:4] == [
      'peak=0.1  done         0.5000    0.7500',
      'peak=0.2  started      -         -',
      'peak=0.3  not started  -         -']


def test_without_finished_runs_there_are_no_means(tmp_path):
  code, out, _ = stub_trainers.sweep(
      tmp_path, 'no Python', '--seeds=2', '--launcher=none')
  assert code == 0
  assert 'digits_resnet8  0 of 2  -         -   -              -\n' in out


@pytest.mark.parametrize('damaged', ['{', '[]', '{"model": 1}'])
def test_a_damaged_run_folder_is_left_to_the_trainer(tmp_path, damaged):
  folder = tmp_path / 'runs' / 'seed=0'
  folder.mkdir(parents=True)
  for name in ('config.json', 'run.json'):
    (folder / name).write_text(damaged)
  code, out, _ = stub_trainers.sweep(tmp_path, 'sys.exit(2)', '--seeds=1')
  assert code == 2 and rows(out) == {'seed=0': 'failed with exit code 2'}


def test_two_real_runs(tmp_path):
  """Imports TensorFlow twice: the slowest of these tests."""
  argv = ('--sweep=schedule.peak=0.01,0.3', '--launcher=local',
          '--launcher_flags=--workers=1', '--', '--config.train_epochs=0',
          '--config.train_steps=4', '--config.schedule.warmup_epochs=0',
          '--config.model.width=4', '--save_every_secs=0')
  code, out, err = stub_trainers.sweep(tmp_path, None, *argv)
  assert code == 0, err
  groups = {hparams_tab.settings(group)['schedule.peak']: group
            for group in hparams_tab.Tab(tmp_path / 'runs').groups}
  assert sorted(groups) == [0.01, 0.3]
  for peak in (0.01, 0.3):
    folder = tmp_path / 'runs' / f'peak={peak}'
    config = json.loads((folder / 'config.json').read_text())
    assert config['schedule']['peak'] == peak and config['train_steps'] == 4
    evaluation = [
        json.loads(line)
        for line in (folder / 'metrics.jsonl').read_text().splitlines()][-1]
    assert evaluation['examples'] == 360
    shown = hparams_tab.metrics(groups[peak])
    assert shown['quality/accuracy'] == np.float32(evaluation['accuracy'])
    assert shown['quality/loss'] == np.float32(evaluation['loss'])
    session, = groups[peak].sessions
    assert (session.name, session.status) == (
        f'peak={peak}/eval', api_pb2.STATUS_SUCCESS)
    accuracy = f'{evaluation["accuracy"]:.4f}'
    assert f'peak={peak}'.ljust(11) + f'done   {accuracy}    ' in out
  code, out, err = stub_trainers.sweep(tmp_path, None, *argv)
  assert (code, err) == (0, '[sweep] 2 of 2 runs have finished\n')
