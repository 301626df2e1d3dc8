"""python -m launch.sweep as its users start it, over trainers of a few lines.
"""
import json
import os
import re
import shlex
import signal
import sys

import numpy as np
import pytest
from tensorboard.plugins.hparams import api_pb2

from tests.launch import stub_trainers, stub_workers
from tests.resnet import hparams_tab

_PEAKS = '--sweep=schedule.peak=0.1,0.2'
_RUNS = ['peak=0.1', 'peak=0.2']


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """Numbers of the processes of a test that run; none may be left behind."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


def _rows(out):
  """{run: its state} of the table of runs."""
  table = out[out.index('run '):].partition('\n\n')[0].splitlines()[1:]
  return {re.split('  +', row)[0]: re.split('  +', row)[1] for row in table}


def _said(err):
  """The runs that were started, in order."""
  return re.findall(r'^\[sweep\] (\S+) \(\d+ of \d+\)', err, re.MULTILINE)


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
            f'{sys.executable} -m resnet.train --config=cifar10_resnet20 '
            f"'--data_dir=a b' --config.schedule.peak={peak} "
            f'--config.augment.flip={flip} --config.seed={seed} '
            f'--workdir={tmp_path}/runs/peak={peak}_flip={flip}_seed={seed}')
  assert out.splitlines() == expected
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('launcher, named', [
    ('local', '--log_dir={folder}/runs/logs/peak=0.1'),
    ('slurm', '--log_dir={folder}/runs/logs'),
    ('kubernetes', '--name=runs-peak-0-1')])
def test_a_launcher_has_flags_of_its_own(tmp_path, launcher, named):
  code, out, err = stub_trainers.sweep(
      tmp_path, None, '--sweep=schedule.peak=0.1', '--dry_run',
      f'--launcher={launcher}', "--launcher_flags=--x='a b' -y", '--', '--z=1')
  assert (code, err) == (0, '')
  assert shlex.split(out) == [
      sys.executable, '-m', f'launch.{launcher}',
      named.format(folder=tmp_path), '--x=a b', '-y', '--',
      '--config=digits_resnet8', '--z=1', '--config.schedule.peak=0.1',
      f'--workdir={tmp_path}/runs/peak=0.1']


@pytest.mark.parametrize('workdir, folder', [
    ('', 'runs/cifar10_resnet20-sweep'), ('~/x', '/home/me/x')])
def test_where_runs_stand(tmp_path, monkeypatch, workdir, folder):
  monkeypatch.setenv('HOME', '/home/me')
  code, out, _ = stub_trainers.sweep(
      tmp_path, None, '--config=cifar10_resnet20', '--seeds=1', '--dry_run',
      f'--workdir={workdir}')
  assert code == 0 and f' --workdir={folder}/seed=0\n' in out


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
run       state  accuracy  best
peak=0.1  done   0.1000    0.7500
peak=0.2  done   0.2000    0.7500

look at them  tensorboard --logdir {tmp_path}/runs
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
run              state                    accuracy  best
peak=0.1_seed=0  done                     0.5000    0.5100
peak=0.1_seed=1  done                     0.6000    0.6100
peak=0.1_seed=2  done                     0.7000    0.7100
peak=0.2_seed=0  done                     0.9000    0.9100
peak=0.2_seed=1  done                     0.8000    0.8100
peak=0.2_seed=2  failed with exit code 3  -         -

Means and standard deviations over seeds:
setting   done    accuracy  +-      best    +-
peak=0.1  3 of 3  0.6000    0.1000  0.6100  0.1000
peak=0.2  2 of 3  0.8500    0.0707  0.8600  0.0707

look at them  tensorboard --logdir {tmp_path}/runs
"""


def test_one_seed_of_several_has_no_deviation_yet(tmp_path):
  _, out, _ = stub_trainers.sweep(
      tmp_path, "sys.exit(1) if flags['config.seed'] == '1' else finish(0.5, 1)"
      , '--seeds=2')
  assert 'digits_resnet8  1 of 2  0.5000    -   1.0000  -\n' in out


@pytest.mark.parametrize('first, code, state', [
    ('sys.exit(7)', 7, 'failed with exit code 7'),
    ('os.kill(os.getpid(), 9)', 1, 'failed by SIGKILL'),
    ('sys.exit(143)', 143, 'stopped'),
    # Others may fare better, as it was trained: it diverged, say.
    ('begin(); sys.exit(2)', 2, 'failed with exit code 2')])
def test_a_run_that_fails_does_not_stop_the_others(
    tmp_path, first, code, state):
  got, out, err = stub_trainers.sweep(
      tmp_path, f"""
if folder.name == 'peak=0.1':
  {first}
finish(0.5, 0.5)
""", _PEAKS)
  assert got == code and _said(err) == _RUNS
  assert _rows(out) == {'peak=0.1': state, 'peak=0.2': 'done'}


def test_what_ends_with_0_is_done(tmp_path):
  code, out, _ = stub_trainers.sweep(tmp_path, 'pass', '--seeds=1')
  assert code == 0 and _rows(out) == {'seed=0': 'done'}


def test_what_the_first_run_cannot_begin_with_ends_the_sweep(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, 'print("error: no data.", file=sys.stderr)\nsys.exit(2)',
      _PEAKS)
  assert code == 2 and _said(err) == ['peak=0.1']
  assert err.endswith('error: no data.\n')
  assert _rows(out) == {'peak=0.1': 'failed with exit code 2',
                        'peak=0.2': 'not started'}


def test_what_a_later_run_cannot_begin_with_concerns_that_one(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, "sys.exit(2) if folder.name == 'peak=0.2' else finish(1, 1)",
      '--sweep=schedule.peak=0.1,0.2,0.3')
  assert code == 2 and _said(err) == [*_RUNS, 'peak=0.3']
  assert list(_rows(out).values()) == ['done', 'failed with exit code 2',
                                       'done']


_STOPPABLE = """
def save(number, _):
  print('saved at', signal.Signals(number).name, flush=True)
  os._exit(143)
begin()
if folder.name == 'peak=0.2' and not (folder / 'stopped').exists():
  (folder / 'stopped').touch()
  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, save)
  print('ready', flush=True)
  while True:
    time.sleep(1)
finish(0.5, 0.75)
"""
_THREE = '--sweep=schedule.peak=0.1,0.2,0.3'


@pytest.mark.parametrize('number, passed_on', [
    (signal.SIGTERM, 'SIGTERM'), (signal.SIGINT, 'SIGINT'),
    (signal.SIGUSR1, 'SIGUSR1'), (signal.SIGHUP, 'SIGTERM')])
def test_a_signal_ends_the_sweep(tmp_path, number, passed_on):
  with stub_trainers.sweeping(tmp_path, _STOPPABLE, _THREE) as process:
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(number)
    out, err = process.communicate()
  assert process.returncode == 143
  assert out.startswith(f'saved at {passed_on}\n') and _said(err) == _RUNS
  assert _rows(out) == {'peak=0.1': 'done', 'peak=0.2': 'stopped',
                        'peak=0.3': 'not started'}


def test_the_same_command_goes_on_where_it_was(tmp_path):
  with stub_trainers.sweeping(tmp_path, _STOPPABLE, _THREE) as process:
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate()
  code, out, err = stub_trainers.sweep(tmp_path, _STOPPABLE, _THREE)
  assert code == 0 and _said(err) == ['peak=0.2', 'peak=0.3']
  assert err.startswith('[sweep] 1 of 3 runs are finished\n')
  assert set(_rows(out).values()) == {'done'}

  code, out, err = stub_trainers.sweep(tmp_path, _STOPPABLE, _THREE)
  assert (code, err) == (0, '[sweep] 3 of 3 runs are finished\n')
  assert set(_rows(out).values()) == {'done'}


@pytest.mark.parametrize('seeds, code', [(1, 0), (2, 143)])
def test_a_signal_to_a_run_that_ends_well_all_the_same(tmp_path, seeds, code):
  with stub_trainers.sweeping(tmp_path, """
signal.signal(signal.SIGTERM, lambda *_: (finish(0.5, 0.5), os._exit(0)))
print('ready', flush=True)
while True:
  time.sleep(1)
""", f'--seeds={seeds}') as process:
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
  assert process.returncode == code and _rows(out)['seed=0'] == 'done'


_STUBBORN = """
for number in (signal.SIGTERM, signal.SIGINT):
  signal.signal(number, lambda number, _: print('no', number, flush=True))
subprocess.Popen(['/bin/sleep', '60'], start_new_session=True)
print('ready', flush=True)
while True:
  time.sleep(1)
"""


def test_a_second_ctrl_c_kills(tmp_path, running):
  with stub_trainers.sweeping(tmp_path, _STUBBORN, _PEAKS) as process:
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # As terminals do.
    assert process.stdout.readline() == 'no 2\n'
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
  assert 'no 2' not in out
  assert process.returncode == 130 and _said(err) == ['peak=0.1']
  assert _rows(out)['peak=0.1'] == 'failed by SIGKILL'
  assert not running()


def test_signals_are_passed_on_once(tmp_path):
  with stub_trainers.sweeping(tmp_path, """
def save(*_):
  print('saving', flush=True)
  time.sleep(0.5)
  os._exit(143)
signal.signal(signal.SIGTERM, save)
print('ready', flush=True)
while True:
  time.sleep(1)
""", _PEAKS) as process:
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == 'saving\n'
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
  assert process.returncode == 143 and 'saving' not in out


def test_nothing_survives_a_killed_sweep(tmp_path, running):
  with stub_trainers.sweeping(tmp_path, _STUBBORN, _PEAKS) as process:
    process.stdout.readline()
    assert len(running()) == 4  # Sweep, watcher, trainer, sleeper.
    process.kill()
    process.wait()
    assert not stub_workers.left(running)


def test_runs_are_trained_by_the_launcher_of_this_machine(tmp_path):
  (tmp_path / 'trainer.py').write_text(
      stub_trainers.PRELUDE + 'print(os.environ["TF_CONFIG"][:10])\n'
      'finish(0.5, 0.5)')
  code, out, err = stub_trainers.sweep(
      tmp_path, '', _PEAKS, '--launcher=local',
      '--launcher_flags=--workers=1 --module=trainer')
  assert code == 0 and _said(err) == _RUNS
  assert out.startswith('[w0] {"cluster"\n' * 2)
  assert set(_rows(out).values()) == {'done'}
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
  assert code == 1 and len(_said(err)) == 3
  assert out.startswith('submitted job 41 (2 nodes, 8 workers)\nstop:')
  assert _rows(out) == {
      'seed=0': 'job 41', 'seed=1': 'failed with exit code 1',
      'seed=2': 'job 61'}


@pytest.mark.parametrize('printed, state', [
    ('77', 'job 77'), ('submitted job 77 (2 nodes)', 'job 77'),
    ('runs-peak-0-1 peak=5 2x r50 is job 77.', 'submitted'),
    ('runs-peak-0-1 peak=5 2x r50 is job 77 of 9', 'job 77'),
    ('', 'submitted')])
def test_the_number_of_a_job_is_the_first_there_is(tmp_path, printed, state):
  _, out, _ = stub_trainers.sweep(
      tmp_path, f'print({printed!r})', '--seeds=1', '--launcher=slurm')
  assert _rows(out) == {'seed=0': state}


def test_manifests_are_one_stream_and_nothing_else(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, 'print("---\\nname:", flags["name"])', '--seeds=2',
      '--launcher=kubernetes')
  assert (code, out) == (
      0, '---\nname: runs-seed-0\n---\nname: runs-seed-1\n')
  assert _said(err) == ['seed=0', 'seed=1']


def test_all_manifests_are_printed_or_none(tmp_path):
  code, out, err = stub_trainers.sweep(
      tmp_path, _SUBMITS.replace('{0}', '2'), '--seeds=3',
      '--launcher=kubernetes')
  assert (code, out) == (2, '')
  assert _said(err) == ['seed=0', 'seed=1'] and 'nothing is printed' in err


def test_how_far_runs_are_is_shown_by_starting_none(tmp_path):
  stub_trainers.sweep(
      tmp_path, "begin() if folder.name == 'peak=0.2' else finish(0.5, 0.75)",
      _PEAKS)
  code, out, err = stub_trainers.sweep(
      tmp_path, 'no Python', _THREE, '--launcher=none')
  assert (code, err) == (0, '')
  assert out.splitlines()[1:4] == ['peak=0.1  done       0.5000    0.7500',
                                   'peak=0.2  begun      -         -',
                                   'peak=0.3  not begun  -         -']


def test_there_are_no_means_of_nothing(tmp_path):
  code, out, _ = stub_trainers.sweep(
      tmp_path, 'no Python', '--seeds=2', '--launcher=none')
  assert code == 0
  assert 'digits_resnet8  0 of 2  -         -   -     -\n' in out


def test_a_folder_of_another_configuration_is_refused_before_any_start(
    tmp_path):
  stub_trainers.sweep(tmp_path, 'finish(0.5, 0.5)', _PEAKS)
  code, out, err = stub_trainers.sweep(
      tmp_path, 'finish(0.5, 0.5)', '--sweep=schedule.peak=0.3,0.2', '--',
      '--config.train_epochs=2')
  assert (code, out) == (2, '')
  assert err == (
      f'error: {tmp_path}/runs/peak=0.2 holds a run of another configuration '
      '(config.train_epochs: 30 -> 2.0): give those fields their old values to '
      'go on, or another --workdir.\n')


@pytest.mark.parametrize('damaged', ['{', '[]', '{"model": 1}'])
def test_a_damaged_run_folder_is_left_to_the_trainer(tmp_path, damaged):
  folder = tmp_path / 'runs' / 'seed=0'
  folder.mkdir(parents=True)
  for name in ('config.json', 'run.json'):
    (folder / name).write_text(damaged)
  code, out, _ = stub_trainers.sweep(tmp_path, 'sys.exit(2)', '--seeds=1')
  assert code == 2 and _rows(out) == {'seed=0': 'failed with exit code 2'}


@pytest.mark.parametrize('argv, words', [
    ([], ['--sweep and --seeds are both missing']),
    (['--seeds=0'], ['--seeds=0', 'positive']),
    (['--sweep=schedule.peek=1'],
     ['config.schedule.peek does not exist: did you mean '
      'config.schedule.peak']),
    (['--sweep=optimizer=1'], ['config.optimizer is a group']),
    (['--sweep=schedule.peak'], ['--sweep=schedule.peak lacks a value']),
    (['--sweep=schedule.peak=0.1,,0.2'], ['0.1,,0.2 lacks a value']),
    (['--sweep=schedule.drops_at=0.1;'], ['VALUE;VALUE']),
    (['--sweep=schedule.peak=0.1,high'],
     ['config.schedule.peak=high has the wrong type: give a number.']),
    (['--sweep=schedule.peak=0.1,-1'], ['config.schedule.peak=-1', 'range']),
    (['--sweep=optimizer.name=sgd,rmsprop'], ['choose one of sgd, adam']),
    (['--seeds=1', '--', '--config.seeed=3'], ['config.seeed does not exist']),
    (['--seeds=1', '--', '--config.depth', '3'], ['config.depth does not']),
    (['--seeds=1', '--', '--config.augment.repeats', '3'],
     ['config.global_batch=64', 'multiple of 3']),
    (['--sweep=schedule.peak=0.1,0.10'], ['2 runs would be called peak=0.1']),
    (['--sweep=schedule.peak=0.1', '--sweep=schedule.peak=0.2'],
     ['config.schedule.peak is set by the sweep twice']),
    (['--seeds=2', '--sweep=seed=3'],
     ['config.seed is set by the sweep twice']),
    (['--seeds=2', '--', '--config.seed=3'], ['--config.seed after --']),
    (['--seeds=2', '--', '-workdir', 'x'], ['--workdir after --']),
    (['--seeds=2', '--', '--config=x'], ['--config after --']),
    (['--sweep=augment.flip=true', '--', '--noconfig.augment.flip'],
     ['--noconfig.augment.flip after --']),
    (['--seeds=2', '--config=x'], ['--config=x is unknown']),
    (['--seeds=2', '--x'], ["'x'", 'the trainer stand after " -- "']),
    (['--seeds=2', 'surplus'], ["'surplus' is not a flag"]),
    (['--seeds=2', '--launcher=ssh'], ['--launcher=ssh', 'slurm']),
    (['--seeds=2', '--launcher_flags=--workers=2'],
     ['--launcher=train takes none']),
    (['--seeds=2', '--launcher=local', '--launcher_flags="'],
     ['--launcher_flags=" cannot be read (No closing quotation)']),
    (['--seeds=2', '--launcher=local', '--launcher_flags=--workers=2 -- --x'],
     ['has a --']),
    (['--seeds=2', '--launcher=local', '--launcher_flags=--log_dir=x'],
     ['--log_dir in --launcher_flags is set by the sweep']),
    (['--seeds=2', '--launcher=slurm', '--launcher_flags=--log_dir x'],
     ['--log_dir in --launcher_flags is set by the sweep']),
])
def test_flags_that_are_wrong(tmp_path, argv, words):
  code, out, err = stub_trainers.sweep(
      tmp_path, 'pathlib.Path(__file__).with_name("started").touch()', *argv)
  assert (code, out, err.count('\n')) == (2, '', 1), err
  assert err.startswith('error: ') and err.endswith('.\n')
  for word in words:
    assert word in err
  assert not (tmp_path / 'started').exists()


def test_two_real_runs(tmp_path):
  """TensorFlow is imported twice: the dearest of these tests."""
  argv = ('--sweep=schedule.peak=0.01,0.3', '--launcher=local',
          '--launcher_flags=--workers=1', '--', '--config.train_epochs=0',
          '--config.train_steps=4', '--config.model.width=4',
          '--save_every_secs=0')
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
    assert shown['accuracy'] == np.float32(evaluation['accuracy'])
    assert shown['loss'] == np.float32(evaluation['loss'])
    session, = groups[peak].sessions
    assert (session.name, session.status) == (
        f'peak={peak}/eval', api_pb2.STATUS_SUCCESS)
    accuracy = f'{evaluation["accuracy"]:.4f}'
    assert f'peak={peak}'.ljust(11) + f'done   {accuracy}    ' in out
  code, out, err = stub_trainers.sweep(tmp_path, None, *argv)
  assert (code, err) == (0, '[sweep] 2 of 2 runs are finished\n')
