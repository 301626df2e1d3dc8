"""Stopping `python -m launch.sweep` by signals, and continuing it."""
import os
import signal

import pytest

from tests.launch import stub_trainers, stub_workers
from tests.launch.stub_trainers import rows, started

_PEAKS = '--sweep=schedule.peak=0.1,0.2'
_RUNS = ['peak=0.1', 'peak=0.2']
_THREE = '--sweep=schedule.peak=0.1,0.2,0.3'


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """Yields the running processes of a test; none may be left at its end."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


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


@pytest.mark.parametrize('number, passed_on', [
    (signal.SIGTERM, 'SIGTERM'), (signal.SIGINT, 'SIGINT'),
    (signal.SIGUSR1, 'SIGUSR1'), (signal.SIGHUP, 'SIGTERM')])
def test_a_signal_ends_the_sweep(tmp_path, number, passed_on):
  with stub_trainers.sweeping(tmp_path, _STOPPABLE, _THREE) as process:
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(number)
    out, err = process.communicate()
  assert process.returncode == 143
  assert out.startswith(f'saved at {passed_on}\n') and started(err) == _RUNS
  assert rows(out) == {'peak=0.1': 'done', 'peak=0.2': 'stopped',
                       'peak=0.3': 'not started'}


def test_the_same_command_continues_the_sweep(tmp_path):
  with stub_trainers.sweeping(tmp_path, _STOPPABLE, _THREE) as process:
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate()
  code, out, err = stub_trainers.sweep(tmp_path, _STOPPABLE, _THREE)
  assert code == 0 and started(err) == ['peak=0.2', 'peak=0.3']
  assert err.startswith('[sweep] 1 of 3 runs have finished\n')
  assert set(rows(out).values()) == {'done'}

  code, out, err = stub_trainers.sweep(tmp_path, _STOPPABLE, _THREE)
  assert (code, err) == (0, '[sweep] 3 of 3 runs have finished\n')
  assert set(rows(out).values()) == {'done'}


@pytest.mark.parametrize('seeds, code', [(1, 0), (2, 143)])
def test_a_signal_to_a_run_that_then_finishes(tmp_path, seeds, code):
  with stub_trainers.sweeping(tmp_path, """
signal.signal(signal.SIGTERM, lambda *_: (finish(0.5, 0.5), os._exit(0)))
print('ready', flush=True)
while True:
  time.sleep(1)
""", f'--seeds={seeds}') as process:
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
  assert process.returncode == code and rows(out)['seed=0'] == 'done'


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
  assert process.returncode == 130 and started(err) == ['peak=0.1']
  assert rows(out)['peak=0.1'] == 'killed by SIGKILL'
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
