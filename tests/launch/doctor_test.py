"""What `python -m launch.doctor` finds wrong, with a process for each rank."""
import asyncio
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from launch.doctor import rendezvous
from launch.local import worker_environment
from tests.launch import doctor_ranks as ranks
from tests.launch import doctor_samples, stub_workers

pytestmark = pytest.mark.slow  # Each starts several processes.
_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """Yields which processes of a test run; fails if one is left behind."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


def test_all_is_well(tmp_path):
  """Only the chief prints, and nothing is left behind."""
  one, two, three = worker_environment.free_ports(3)
  last = f'[::1]:{three}' if ranks.has_ipv6() else f'127.0.0.2:{three}'
  addresses = [f'127.0.0.1:{one}', f'localhost:{two}', last]
  chief, *others = ranks.examine(
      addresses, [ranks.prints(tmp_path / 'new' / 'run')] * 3)
  code, (_, *rows, end), err = chief
  assert (code, err) == (0, [])
  assert [(ranks.cells(row)[2:4], ranks.cells(row)[-1]) for row in rows] == [
      ([addresses[0], 'all'], 'writable'), ([addresses[1], 'all'], 'shared'),
      ([addresses[2], 'all'], 'shared')]
  assert end == (
      'All is well: 3 workers, 3 devices, 16 images per device and step.')
  assert others == [(0, [], [])] * 2
  assert not list(tmp_path.iterdir())


def test_a_rank_that_never_answers(tmp_path):
  addresses = ranks.free_addresses(3)
  chief, other = ranks.examine(
      addresses, [ranks.prints(tmp_path)] * 3, [0, 1], wait_secs=1)
  assert chief[0] == 2 and chief[2] == [
      f'error: Worker 2 at {addresses[2]} never answered (nothing listens '
      'there): start it, look at its log, and check its address.']
  assert ranks.cells(chief[1][3])[1:4] == ['-', addresses[2], 'not 0, 1']
  assert other == (2, [], [])


def test_a_chief_that_never_answers(tmp_path):
  addresses = ranks.free_addresses(2)
  (code, out, err), = ranks.examine(
      addresses, [ranks.prints(tmp_path, problems=['No GPU.'])] * 2, [1],
      wait_secs=0.5)
  assert (code, out) == (2, []) and err == [
      'error: No GPU.',
      f'error: Worker 0 at {addresses[0]} never answered (nothing listens '
      'there), so worker 1 has no verdict: look at the log of worker 0, and '
      'check its address.']


@pytest.mark.parametrize('rank', [0, 1])
def test_a_port_in_use(tmp_path, rank):
  """By a program that does not answer. All ranks hear of it even so."""
  with socket.create_server(('127.0.0.1', 0)) as taken:
    addresses = ranks.free_addresses(2)
    port = taken.getsockname()[1]
    addresses[rank] = f'127.0.0.1:{port}'
    chief, other = ranks.examine(
        addresses, [ranks.prints(tmp_path)] * 2, wait_secs=1)
  assert chief[0] == 2 and len(chief[2]) == 1
  assert re.fullmatch(
      rf'error: Worker {rank} at {addresses[rank]} \(.*\): port {port} cannot '
      r'be opened \(Address already in use\): stop the program that uses it, '
      'or give this worker another port.', chief[2][0])
  assert other == (2, [], [])


@pytest.mark.parametrize('host', ['no-such-host.invalid', 'a..b', 'x' * 70])
def test_a_name_that_does_not_resolve(host):
  addresses = [*ranks.free_addresses(1), f'{host}:2222']

  async def lonely():
    async with rendezvous.Peers(ranks.cluster_of(addresses, 0), 0.2) as one:
      await one.all_tried()
      return one.own.unreached

  (rank, why), = asyncio.run(lonely()).items()
  assert rank == 1 and why.text.startswith('its name cannot be resolved: ')


@pytest.mark.parametrize('blind', [0, 1])
def test_a_name_that_only_one_rank_cannot_resolve(tmp_path, blind):
  """The other direction works, and carries reports and verdict."""
  ports = worker_environment.free_ports(2)
  addresses = [f'localhost:{ports[0]}', f'127.0.0.1:{ports[1]}']
  unknown = addresses[not blind].partition(':')[0]
  chief, other = ranks.examine(
      addresses, [ranks.prints(tmp_path)] * 2, wait_secs=1,
      unknown=[unknown if rank == blind else '' for rank in range(2)])
  assert chief[0] == 2 and len(chief[2]) == 1
  assert re.match(
      rf'error: Worker {1 - blind} at .* cannot be reached by worker {blind} '
      r'at .* \(its name cannot be resolved: Name or service not known\), '
      'although the other direction works: ', chief[2][0])
  assert other == (2, [], [])


def test_a_folder_that_is_not_shared(tmp_path):
  chief, other = ranks.examine(
      ranks.free_addresses(2),
      [ranks.prints(tmp_path / 'a'), ranks.prints(tmp_path / 'b')])
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert f'has --workdir={tmp_path}/b, but worker 0 at ' in chief[2][0]
  assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').write_text('mine')
  chief, other = ranks.examine(
      ranks.free_addresses(2), [ranks.prints(tmp_path / 'file' / 'a')] * 2)
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert (f'--workdir={tmp_path}/file/a cannot be written (Not a directory): '
          'give a folder that all workers can write to.') in chief[2][0]
  assert (tmp_path / 'file').read_text() == 'mine'


def test_a_folder_that_only_one_rank_cannot_write(tmp_path):
  chief, other = ranks.examine(
      ranks.free_addresses(2), [ranks.prints(tmp_path)] * 2, read_only=1)
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert re.fullmatch(
      rf'error: Worker 1 at [^)]*\): --workdir={tmp_path} cannot be written '
      r'\(Read-only file system\): .*', chief[2][0])


def test_another_version_of_tensorflow(tmp_path):
  versions = {**doctor_samples.SURVEY['versions'], 'tensorflow': '2.20.0'}
  chief, other = ranks.examine(
      ranks.free_addresses(2),
      [ranks.prints(tmp_path), ranks.prints(tmp_path, versions=versions)])
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert 'tensorflow 2.20.0 instead of 2.21.0' in chief[2][0]


def test_warnings_are_not_errors(tmp_path):
  chief, other = ranks.examine(ranks.free_addresses(2), [
      ranks.prints(tmp_path, devices=['A100']),
      ranks.prints(tmp_path, devices=['V100'])])
  assert chief[0] == other[0] == 0
  assert chief[2][0].startswith('warning: Worker 1 at ')
  assert chief[1][-1].startswith('All is well: 2 workers')


def test_a_survey_that_fails(tmp_path):
  refuses = [sys.executable, '-ISc', 'import sys\nprint("error: No such '
             'flag.", file=sys.stderr)\nsys.exit(2)']
  chief, other = ranks.examine(
      ranks.free_addresses(2), [ranks.prints(tmp_path), refuses])
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert re.fullmatch(
      r'error: Worker 1 at [^)]*\): No such flag\.', chief[2][0])


def _run(*words, cwd=_ROOT, **environ):
  """Runs python with some words; returns (exit code, stdout, stderr)."""
  environ = {**{name: value for name, value in os.environ.items()
                if name != 'TF_CONFIG'}, 'PYTHONPATH': f'{_ROOT}', **environ}
  done = subprocess.run(
      [sys.executable, *words], cwd=cwd, env=environ, text=True,
      capture_output=True, check=False, timeout=60)
  return done.returncode, done.stdout, done.stderr


_TASK = ('{"cluster": {"worker": ["a:1"]}, '
         '"task": {"type": "worker", "index": 1}}')


@pytest.mark.parametrize('flags, environ, words', [
    ([], {'TF_CONFIG': _TASK},
     'TF_CONFIG has the task index 1, which is out of range for worker: use 0'),
    (['--strategy=mirrored', '--', '--config', 'x'], {'TF_CONFIG': '{'},
     'TF_CONFIG is not JSON'),
    (['--', '--config', 'x', '--strategy=multi_worker_mirrored'], {},
     'No worker addresses were found'),
    (['--', '--worker_rank=1'], {}, '--worker_rank=1 needs --worker_addresses'),
    (['--', '--worker_rank=b'], {}, '--worker_rank=b'),
    (['--wait_secs=soon'], {}, '--wait_secs=soon'),
    (['--wait_secs=-1'], {}, '--wait_secs=-1'),
])
def test_wrong_flags_and_environments(tmp_path, flags, environ, words):
  code, out, err = _run('-m', 'launch.doctor', *flags, cwd=tmp_path, **environ)
  assert (code, out, err.count('\n')) == (2, '', 1), err
  assert err.startswith('error: ') and words in err
  assert not list(tmp_path.iterdir())


# The doctor with a stub for its survey, whose problems are its own flags.
_DOCTOR = """
import json, sys
from configs.process import command_line
from launch.doctor import __main__ as doctor, survey
given = json.loads(sys.argv.pop(1))
prints = 'import json, sys; print(json.dumps(json.loads(sys.argv[1]) | {'
prints += '"problems": sys.argv[2:]}))'
survey.command = lambda flags: (
    sys.executable, '-ISc', prints, json.dumps(given), *flags)
command_line.run(doctor.main, doctor.parse)
"""


@pytest.mark.parametrize('given', [
    ['--', '--workdir', 'a b', '--config=x'],
    ['--wait_secs=5', '--workdir', 'a b', '--config=x'],
    ['--workdir', 'a b', '--wait_secs', '5', '--config=x'],
    ['--wait_secs=5', '--', '--workdir', 'a b', '--config=x'],
])
def test_flags_of_the_trainer_may_stand_anywhere(tmp_path, given):
  """Without a cluster, so this machine alone is examined."""
  stub = {**doctor_samples.SURVEY, 'workdir': f'{tmp_path}/run'}
  code, out, err = _run('-c', _DOCTOR, json.dumps(stub), *given, cwd=tmp_path)
  assert code == 2 and len(out.splitlines()) == 2
  assert err.splitlines() == [
      'error: --workdir', 'error: a b', 'error: --config=x']
  assert ranks.cells(out.splitlines()[1])[2:4] == ['-', '-']
  assert not (tmp_path / 'run').exists()


def test_two_workers_of_the_default_recipe(tmp_path):
  """With TensorFlow, as a user starts it."""
  done = subprocess.run(
      [sys.executable, '-m', 'launch.local', '--workers=2', '--tee=0',
       '--module=launch.doctor', f'--log_dir={tmp_path}/logs', '--',
       f'--workdir={tmp_path}/run'], cwd=_ROOT, text=True,
      capture_output=True, check=False, timeout=120)
  lines = [line.removeprefix('[w0] ') for line in done.stdout.splitlines()]
  assert done.returncode == 0, done.stdout + done.stderr
  assert lines[-1] == (
      'All is well: 2 workers, 2 devices, 32 images per device and step.')
  for row, found in zip(lines[1:3], ('writable', 'shared')):
    cells = ranks.cells(row)
    assert cells[3:5] == ['all', '1 CPU'] and cells[-1] == found
    assert cells[-2].startswith('digits 1437+360 (')
  assert not (tmp_path / 'run').exists()
