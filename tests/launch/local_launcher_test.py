"""python -m launch.local as users start it, with workers of a few lines."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from configs.process.errors import UserError
from launch.cluster import contract
from launch.local import worker_environment
from tests.launch import stub_workers

pytestmark = pytest.mark.slow  # Each starts several processes.
_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """The running processes of a test; none may be left behind."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


@contextlib.contextmanager
def _launched(folder, code, *flags, workers=2):
  """Yields the process of a launcher whose workers run PRELUDE and code."""
  (folder / 'stub.py').write_text(stub_workers.PRELUDE + code)
  process = subprocess.Popen(
      [sys.executable, '-m', 'launch.local', f'--workers={workers}',
       '--module=stub', f'--log_dir={folder}/logs', *flags], cwd=_ROOT,
      env={**os.environ, 'PYTHONPATH': f'{folder}'}, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
  # Nothing here may wait forever.
  timer = threading.Timer(60, process.kill)
  timer.start()
  try:
    yield process
  finally:
    timer.cancel()
    process.kill()
    process.communicate()


def _run(*argv, cwd=_ROOT, **environ):
  """Returns (exit code, stdout, stderr) of `python -m launch.local argv`."""
  done = subprocess.run(
      [sys.executable, '-m', 'launch.local', *argv], cwd=cwd, text=True,
      env={**os.environ, 'PYTHONPATH': f'{_ROOT}', **environ},
      capture_output=True, check=False, timeout=60)
  return done.returncode, done.stdout, done.stderr


_SLEEPS = """
print('ready', flush=True)
while True:
  time.sleep(1)
"""


def _wait_until_ready(process, workers=2):
  for _ in range(workers):
    assert process.stdout.readline().endswith('ready\n')


def test_workers_run_a_module_with_the_flags_after_the_dashes(tmp_path):
  code = 'print(rank, sys.argv[1:])'
  given = ['--config=x', 'a b', '--', '']
  with _launched(tmp_path, code, '--', *given) as process:
    out, err = process.communicate()
  argv = ['--strategy=multi_worker_mirrored', *given]
  assert sorted(out.splitlines()) == [f'[w{i}] {i} {argv}' for i in range(2)]
  assert err.splitlines()[0] == (
      '[launch] starting 2 workers on the CPU '
      f'(logs: {tmp_path}/logs/attempt_0)')
  assert process.returncode == 0


@pytest.mark.parametrize('flags', [
    ['--strategy=one_device'], ['-strategy', 'x'], ['--strategy', 'x']])
def test_a_strategy_that_is_given_is_kept(tmp_path, flags):
  with _launched(tmp_path, 'print(sys.argv[1:])', '--', *flags) as process:
    assert process.stdout.readline().partition(' ')[2] == f'{flags}\n'


def test_restarts_tee_and_grace_follow_their_flags(tmp_path):
  with _launched(tmp_path, 'print("ready", flush=True)\nend(7, 0.2 * rank)',
                 '--max_restarts=1', '--tee=1', workers=3) as process:
    out, err = process.communicate()
  assert out == '[w1] ready\n' * 2 and process.returncode == 7
  assert '[launch] restarting in 1 s (1 of 1 restarts)' in err
  with _launched(tmp_path, 'signal.signal(15, lambda *_: 0)' + _SLEEPS,
                 '--grace_secs=0.2') as process:
    _wait_until_ready(process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
  assert 'SIGTERM: the workers have 0.2 s to save' in err
  assert 'sending SIGKILL to workers 0, 1' in err and process.returncode == 1


def test_logs_go_to_runs_by_default(tmp_path):
  (tmp_path / 'stub.py').write_text('print("here")')
  code, out, _ = _run('--workers=1', '--module=stub', cwd=tmp_path)
  assert (code, out) == (0, '[w0] here\n')
  log, = tmp_path.glob('runs/logs/*-*/attempt_0/worker_0.log')
  assert log.read_text() == 'here\n'


@pytest.mark.parametrize('number, passed_on', [
    (signal.SIGTERM, 'SIGTERM'), (signal.SIGINT, 'SIGINT'),
    (signal.SIGUSR1, 'SIGUSR1'), (signal.SIGHUP, 'SIGTERM')])
def test_a_signal_stops_the_workers(tmp_path, number, passed_on):
  code = """
def save(number, _):
  print('saved at', signal.Signals(number).name, flush=True)
  end(143)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
  signal.signal(number, save)
""" + _SLEEPS
  with _launched(tmp_path, code) as process:
    _wait_until_ready(process)
    process.send_signal(number)
    out, err = process.communicate()
  assert sorted(out.splitlines()) == [
      f'[w{i}] saved at {passed_on}' for i in range(2)]
  assert process.returncode == 143 and 'root cause' not in err


def test_workers_answer_a_signal_to_all_processes(tmp_path, running):
  """Slurm and systemd send signals so."""
  code = 'signal.signal(15, lambda *_: end(143, 0.3))' + _SLEEPS
  with _launched(tmp_path, code) as process:
    _wait_until_ready(process)
    for one in running():
      os.kill(one, signal.SIGTERM)
    process.communicate()
  assert process.returncode == 143


def test_a_second_ctrl_c_ends_everything_at_once(tmp_path):
  code = """
signal.signal(signal.SIGINT, lambda *_: print('saving', flush=True))
""" + _SLEEPS
  with _launched(tmp_path, code) as process:
    _wait_until_ready(process)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline().endswith('saving\n')
    process.send_signal(signal.SIGINT)
    process.communicate()
  assert process.returncode == 130


def test_nothing_survives_a_killed_launcher(tmp_path, running):
  code = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.system('/bin/sleep 60 & setsid /bin/sleep 60 &')
subprocess.Popen(['/bin/sleep', '60'], start_new_session=True)
""" + _SLEEPS
  with _launched(tmp_path, code) as process:
    _wait_until_ready(process)
    deadline = time.monotonic() + 10  # For the shells to give way to sleep.
    while (sum('sleep' in line for line in running().values()) < 6
           and time.monotonic() < deadline):
      time.sleep(0.02)
    assert len(running()) == 1 + 2 * (2 + 3)  # Worker, watcher, 3 sleepers.
    process.kill()
    process.wait()
    assert not stub_workers.left(running)


def test_nothing_survives_a_launcher_killed_while_it_starts(tmp_path, running):
  for millis in range(0, 120, 20):
    with _launched(tmp_path, _SLEEPS, workers=4) as process:
      process.stderr.readline()  # 'starting 4 workers'.
      time.sleep(millis / 1000)
      process.kill()
      process.wait()
      assert not stub_workers.left(running), millis


@pytest.mark.parametrize('flags, words', [
    (['--workers=0'], ['--workers=0', 'an integer from 1 to 65536']),
    (['--workers=100000'], ['--workers=100000', 'from 1 to 65536']),
    (['--workers=65536'],
     ['--workers=65536 is too many for this machine: give at most']),
    (['--log_dir=gs://b/x'], ['--log_dir=gs://b/x is not a folder on this']),
    (['--workers=two'], ['--workers=two']),
    ([], ['--workers is missing']),
    (['--module=no_such'], ['--module=no_such', 'not a Python module']),
    (['--module=launch.no_such'], ['--module=launch.no_such']),
    (['--module=no_such.train'], ['--module=no_such.train']),
    (['--module=resnet'], ['--module=resnet is not']),  # No __main__.
    (['--module=resnet.train.x'], ['--module=resnet.train.x is not']),
    (['--module='], ['--module= is not']),
    (['--module=.stub'], ['--module=.stub is not']),
    (['--module=resnet..train'], ['--module=resnet..train is not']),
    (['--wrokers=1'], ['--wrokers is unknown', '--help']),
    (['--config=x'], ['--config is unknown',
                      'Put flags for the trainer after " -- "']),
    (['surplus'], ["'surplus' is not a flag"]),
    (['--tee=0,2'], ['--tee=0,2', 'from 0 to 1']),
    (['--tee=²'], ['--tee=² does not name workers']),
    ([f'--tee={"9" * 5000}'], ['does not name workers']),
    (['--tee=-1'], ['--tee=-1']), (['--tee=some'], ['--tee=some']),
    (['--max_restarts=-1'], ['--max_restarts=-1']),
    (['--log_dir=/proc/none'], ['--log_dir=/proc/none', 'can write to']),
])
def test_wrong_flags_end_it_with_one_sentence(tmp_path, flags, words):
  workers = ['--workers=2'] if flags and 'workers' not in flags[0] else []
  code, out, err = _run(*workers, *flags, cwd=tmp_path, PATH='')
  assert (code, out, err.count('\n')) == (2, '', 1), err
  assert err.startswith('error: ') and err.endswith('.\n')
  for word in words:
    assert word in err
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('descriptors', [24, 50])
def test_more_workers_than_the_machine_can_start(tmp_path, descriptors):
  """Too few descriptors for all ports, or for all pipes."""
  (tmp_path / 'stub.py').write_text('import time\ntime.sleep(60)')
  done = subprocess.run(
      ['sh', '-c', f'ulimit -n {descriptors}; exec "$@"', '', sys.executable,
       '-m', 'launch.local', '--workers=20', '--module=stub'], cwd=tmp_path,
      env={**os.environ, 'PYTHONPATH': f'{_ROOT}'}, capture_output=True,
      text=True, check=False, timeout=60)
  assert done.returncode == 2
  assert done.stderr.splitlines()[-1].startswith(
      'error: The 20 workers could not be started ([Errno 24] Too many open '
      'files')


_DRY = """\
# worker 0
CUDA_VISIBLE_DEVICES=-1 \\
OMP_NUM_THREADS={threads} \\
PYTHONUNBUFFERED=1 \\
RESNET_RESTART_COUNT=0 \\
TF_CONFIG='{{"cluster": {{"worker": ["127.0.0.1:20000", "127.0.0.1:20001"]}}, \
"task": {{"type": "worker", "index": 0}}}}' \\
TF_NUM_INTRAOP_THREADS={threads} \\
{python} -P -m resnet.train --strategy=multi_worker_mirrored --config=x 'a b'
"""


def test_a_dry_run_prints_the_command_of_each_worker(tmp_path):
  code, out, err = _run(
      '--workers=2', '--dry_run', '--', '--config=x', 'a b', cwd=tmp_path,
      TF_NUM_INTEROP_THREADS='7')  # The user's value is kept.
  first = _DRY.format(threads=max(1, len(os.sched_getaffinity(0)) // 2),
                      python=sys.executable)
  assert (code, err) == (0, '')
  assert out == first + first.replace('worker 0', 'worker 1').replace(
      '"index": 0', '"index": 1')
  assert not list(tmp_path.iterdir())


def test_a_shell_can_run_what_a_dry_run_prints(tmp_path):
  (tmp_path / 'stub.py').write_text(
      'import os, sys\nprint(os.environ["TF_CONFIG"][:9], sys.argv[2:])')
  _, out, _ = _run('--workers=1', '--module=stub', '--dry_run', '--',
                   "it's $HOME", cwd=tmp_path)
  done = subprocess.run(['sh', '-c', out], cwd=tmp_path, capture_output=True,
                        text=True, check=True)
  assert done.stdout == '{"cluster ["it\'s $HOME"]\n'


def test_a_dry_run_prints_where_the_code_is_if_python_would_not_find_it(
    tmp_path):
  (tmp_path / 'stub.py').write_text('')
  _, out, _ = _run('--workers=2', '--dry_run', cwd=tmp_path,
                   PYTHONPATH=f'/a b:{_ROOT}')
  assert out.count(f"\nPYTHONPATH='{_ROOT}:/a b:{_ROOT}' \\\n") == 2
  # The working directory comes last.
  _, out, _ = _run('--workers=1', '--dry_run', '--module=stub', cwd=tmp_path)
  assert f'\nPYTHONPATH={_ROOT}:{tmp_path} \\\n' in out


def test_no_tensorflow_is_imported(tmp_path):
  """Its import would cost seconds, and there may be none."""
  (tmp_path / 'tensorflow.py').write_text('raise SystemExit("imported")')
  code, _, err = _run('--workers=2', '--dry_run',
                      PYTHONPATH=f'{tmp_path}:{_ROOT}')
  assert (code, err) == (0, '')


def test_ports_are_free_and_distinct_and_below_the_ephemeral():
  with socket.socket() as holder:
    holder.bind(('127.0.0.1', contract.FIRST_FREE_PORT + 1))
    ports = worker_environment.free_ports(2000)
    assert len(set(ports)) == 2000
    assert all(20000 <= port < 32768 for port in ports)


def _with_gpus(folder, count):
  """Returns the PATH of a machine that has `count` GPUs."""
  path = folder / 'nvidia-smi'
  path.write_text('#!/bin/sh\n' + ''.join(
      f'echo "GPU {i}: A100 (UUID: GPU-{i})"\n' for i in range(count)))
  path.chmod(0o755)
  return os.fspath(folder)


@pytest.mark.parametrize('chosen, found', [
    (None, ['0', '1', '2', '3']), ('2,0', ['2', '0']), ('', []), ('-1', []),
    ('1,-1,2', ['1']), ('GPU-3, GPU-1', ['GPU-3', 'GPU-1'])])
def test_visible_gpus(tmp_path, monkeypatch, chosen, found):
  monkeypatch.setenv('PATH', _with_gpus(tmp_path, 4))
  environ = {} if chosen is None else {'CUDA_VISIBLE_DEVICES': chosen}
  assert worker_environment.visible_gpus(environ) == found


def test_each_worker_has_its_own_gpus(tmp_path):
  code, out, err = _run('--workers=2', '--gpus_per_worker=2', '--dry_run',
                        PATH=_with_gpus(tmp_path, 5))
  assert (code, err) == (0, '')
  assert [line for line in out.splitlines() if line.startswith('CUDA')] == [
      'CUDA_VISIBLE_DEVICES=0,1 \\', 'CUDA_VISIBLE_DEVICES=2,3 \\']


def test_too_few_gpus(tmp_path):
  code, _, err = _run('--workers=2', '--gpus_per_worker=2',
                      PATH=_with_gpus(tmp_path, 3))
  assert code == 2 and 'needs 4 GPUs, but 3 can be used here' in err
  worker_environment.check_gpus(1, 3, ['0', '1', '2'])
  with pytest.raises(UserError, match='needs 4 GPUs'):
    worker_environment.check_gpus(4, 1, ['0', '1', '2'])


def test_idle_gpus_cause_a_warning(tmp_path):
  (tmp_path / 'stub.py').write_text('')
  _, _, err = _run('--workers=1', '--module=stub', cwd=tmp_path,
                   PATH=_with_gpus(tmp_path, 8))
  assert err.startswith(
      'warning: The GPUs of this machine (8) stay idle')
