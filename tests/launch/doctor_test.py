"""python -m launch.doctor: what it finds wrong, with a process a rank."""
import asyncio
import errno
import fcntl
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from configs.process.errors import UserError
from launch.doctor import rendezvous as peers
from launch.doctor import survey, workdir
from launch.local import worker_environment
from tests.launch import doctor_diagnosis_test, stub_workers
from tests.launch import doctor_ranks as ranks

_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """Numbers of the processes of a test that run; none may be left behind."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


def test_all_is_well(tmp_path):
  """The chief alone speaks, and nothing is left behind."""
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
  assert end == 'All is well: 3 workers, 3 devices, 16 images each a step.'
  assert others == [(0, [], [])] * 2
  assert not list(tmp_path.iterdir())


def test_a_rank_that_never_comes(tmp_path):
  addresses = ranks.free_addresses(3)
  chief, other = ranks.examine(
      addresses, [ranks.prints(tmp_path)] * 3, [0, 1], seconds=1)
  assert chief[0] == 2 and chief[2] == [
      f'error: Worker 2 at {addresses[2]} never came (nothing listens there): '
      'start it, and look at its log; is its address right?']
  assert ranks.cells(chief[1][3])[1:4] == ['-', addresses[2], 'not 0, 1']
  assert other == (2, [], [])


def test_a_chief_that_never_comes(tmp_path):
  addresses = ranks.free_addresses(2)
  (code, out, err), = ranks.examine(
      addresses, [ranks.prints(tmp_path, problems=['No GPU.'])] * 2, [1],
      seconds=0.5)
  assert (code, out) == (2, []) and err == [
      'error: No GPU.',
      f'error: Worker 0 at {addresses[0]} never came (nothing listens there), '
      'and worker 1 has no verdict: look at the log of worker 0; is its '
      'address right?']


@pytest.mark.parametrize('rank', [0, 1])
def test_a_port_in_use(tmp_path, rank):
  """By a program that does not answer: all the same, all hear of it."""
  with socket.create_server(('127.0.0.1', 0)) as taken:
    addresses = ranks.free_addresses(2)
    port = taken.getsockname()[1]
    addresses[rank] = f'127.0.0.1:{port}'
    chief, other = ranks.examine(
        addresses, [ranks.prints(tmp_path)] * 2, seconds=1)
  assert chief[0] == 2 and len(chief[2]) == 1
  assert re.fullmatch(
      rf'error: Worker {rank} at {addresses[rank]} \(.*\): port {port} cannot '
      r'be opened \(Address already in use\): end what uses it, or give the '
      'worker another.', chief[2][0])
  assert other == (2, [], [])


@pytest.mark.parametrize('host', ['no-such-host.invalid', 'a..b', 'x' * 70])
def test_a_name_that_does_not_resolve(host):
  addresses = [*ranks.free_addresses(1), f'{host}:2222']

  async def lonely():
    async with peers.Peers(ranks.cluster_of(addresses, 0), 0.2) as one:
      await one.all_tried()
      return one.own.unreached

  (rank, why), = asyncio.run(lonely()).items()
  assert rank == 1 and why.startswith('its name cannot be resolved: ')


@pytest.mark.parametrize('blind', [0, 1])
def test_a_name_that_one_rank_alone_cannot_resolve(tmp_path, blind):
  """The other way is open, and carries reports and verdict."""
  ports = worker_environment.free_ports(2)
  addresses = [f'localhost:{ports[0]}', f'127.0.0.1:{ports[1]}']
  unknown = addresses[not blind].partition(':')[0]
  chief, other = ranks.examine(
      addresses, [ranks.prints(tmp_path)] * 2, seconds=1,
      unknown=[unknown if rank == blind else '' for rank in range(2)])
  assert chief[0] == 2 and len(chief[2]) == 1
  assert re.match(
      rf'error: Worker {1 - blind} at .* cannot be reached by worker {blind} '
      r'at .* \(its name cannot be resolved: Name or service not known\), '
      'though it can be done the other way round: ', chief[2][0])
  assert other == (2, [], [])


def test_a_folder_that_is_not_shared(tmp_path):
  chief, other = ranks.examine(
      ranks.free_addresses(2),
      [ranks.prints(tmp_path / 'a'), ranks.prints(tmp_path / 'b')])
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert f'has --workdir={tmp_path}/b, and not what worker 0' in chief[2][0]
  assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').write_text('mine')
  chief, other = ranks.examine(
      ranks.free_addresses(2), [ranks.prints(tmp_path / 'file' / 'a')] * 2)
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert (f'--workdir={tmp_path}/file/a cannot be written (Not a directory): '
          'give a folder that all workers may write to.') in chief[2][0]
  assert (tmp_path / 'file').read_text() == 'mine'


def test_a_folder_that_one_rank_alone_cannot_write(tmp_path):
  chief, other = ranks.examine(
      ranks.free_addresses(2), [ranks.prints(tmp_path)] * 2, read_only=1)
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert re.fullmatch(
      rf'error: Worker 1 at [^)]*\): --workdir={tmp_path} cannot be written '
      r'\(Read-only file system\): .*', chief[2][0])


def test_folders_without_locks(tmp_path, monkeypatch):
  def refuse(*_):
    raise OSError(errno.ENOLCK, 'No locks available')
  monkeypatch.setattr(fcntl, 'flock', refuse)
  with pytest.raises(UserError, match='cannot be written .No locks available'):
    with workdir.mark(tmp_path / 'new'):
      pass
  assert not list(tmp_path.iterdir())


def test_a_mark_is_removed_and_what_others_made_is_kept(tmp_path):
  with workdir.mark(tmp_path / 'a' / 'b') as name:
    assert asyncio.run(workdir.is_seen(tmp_path / 'a' / 'b', name))
    (tmp_path / 'a' / 'c').write_text('')
  assert [path.name for path in tmp_path.rglob('*')] == ['a', 'c']


@pytest.mark.parametrize('name', [
    '', 'mine', '../mine', '.doctor-' + '0' * 31, '.doctor-' + '0' * 31 + '/',
    '.doctor-' + '0' * 32 + '\n'])
def test_nobody_is_told_of_other_files(tmp_path, monkeypatch, name):
  """Names of marks come over the network."""
  monkeypatch.setattr(workdir, 'SEEN_WITHIN_SECS', 0)
  (tmp_path / 'mine').write_text('')
  (tmp_path / 'run').mkdir()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(pathlib.Path, 'is_file', lambda path: True)
    assert not asyncio.run(workdir.is_seen(tmp_path / 'run', name))


def test_folders_that_can_be_read_alone():
  with pytest.raises(UserError, match='--workdir=/proc/self cannot be written'):
    workdir.check_writable('/proc/self')


def test_other_versions(tmp_path):
  versions = {
      **doctor_diagnosis_test.SURVEY['versions'], 'tensorflow': '2.20.0'}
  chief, other = ranks.examine(
      ranks.free_addresses(2),
      [ranks.prints(tmp_path), ranks.prints(tmp_path, versions=versions)])
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert 'tensorflow 2.20.0 where they have 2.21.0' in chief[2][0]


def test_warnings_are_no_errors(tmp_path):
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


@pytest.mark.parametrize('code, sentence', [
    ('raise ImportError("no TensorFlow")', '`python -m stub` ended with exit '
     'code 1 (ImportError: no TensorFlow): run it by hand there.'),
    ('print("{}")', '`python -m stub` ended with exit code 0 (it printed '
     'nothing): run it by hand there.'),
    ('import os\nos.kill(os.getpid(), 9)', '`python -m stub` ended with exit '
     'code -9 (it printed nothing): run it by hand there.'),
    ('import sys\nprint("warning: x.\\nerror: Not so.", file=sys.stderr)\n'
     'sys.exit(2)', 'Not so.'),
    ('import sys\nprint("Not so.", file=sys.stderr)\nsys.exit(2)',
     '`python -m stub` ended with exit code 2 (Not so.): run it by hand '
     'there.'),
    (f'import json\nprint(json.dumps({doctor_diagnosis_test.SURVEY}))\nexit(3)',
     '`python -m stub` ended with exit code 3 (it printed nothing): run it by '
     'hand there.'),
])
def test_surveys_that_fail(tmp_path, monkeypatch, code, sentence):
  (tmp_path / 'stub.py').write_text(code)
  monkeypatch.chdir(tmp_path)
  assert asyncio.run(survey.ask((sys.executable, '-m', 'stub', '--flag'))) == (
      None, [sentence])


def test_a_survey_that_hangs_is_killed(running, monkeypatch):
  monkeypatch.setattr(survey, '_KILLED_SECS', 60)  # It is not waited for.
  answer, (sentence,) = asyncio.run(
      asyncio.wait_for(survey.ask(ranks.HANGS, longest_secs=0.5), 20))
  assert answer is None and 'did not end within 0.5 s' in sentence
  assert not running()


def _doctor(*argv, cwd=_ROOT, **environ):
  """(exit code, stdout, stderr) of `python -m launch.doctor argv`."""
  environ = {**{name: value for name, value in os.environ.items()
                if name != 'TF_CONFIG'}, 'PYTHONPATH': f'{_ROOT}', **environ}
  done = subprocess.run(
      [sys.executable, '-m', 'launch.doctor', *argv], cwd=cwd, env=environ,
      text=True, capture_output=True, check=False, timeout=60)
  return done.returncode, done.stdout, done.stderr


_TASK = ('{"cluster": {"worker": ["a:1"]}, '
         '"task": {"type": "worker", "index": 1}}')


@pytest.mark.parametrize('flags, environ, words', [
    ([], {'TF_CONFIG': _TASK}, 'TF_CONFIG has the task index 1, and 1 tasks'),
    (['--strategy=mirrored', '--', '--config', 'x'], {'TF_CONFIG': '{'},
     'TF_CONFIG is not JSON'),
    (['--', '--config', 'x', '--strategy=multi_worker_mirrored'], {},
     'No addresses of workers were found'),
    (['--', '--worker_rank=1'], {}, '--worker_rank=1 needs --worker_addresses'),
    (['--', '--worker_rank=b'], {}, '--worker_rank=b'),
    (['--seconds=soon'], {}, '--seconds=soon'),
    (['--seconds=-1'], {}, '--seconds=-1'),
])
def test_what_is_wrong_from_the_start(tmp_path, flags, environ, words):
  code, out, err = _doctor(*flags, cwd=tmp_path, **environ)
  assert (code, out, err.count('\n')) == (2, '', 1), err
  assert err.startswith('error: ') and words in err
  assert not list(tmp_path.iterdir())


_PRINTS_FLAGS = """
import json, sys
print(json.dumps({survey} | {{'workdir': {workdir!r}, 'problems': sys.argv[1:]}}
                ))
"""


@pytest.mark.parametrize('given', [
    ['--', '--workdir', 'a b', '--config=x'],
    ['--seconds=5', '--workdir', 'a b', '--config=x'],
    ['--workdir', 'a b', '--seconds', '5', '--config=x'],
    ['--seconds=5', '--', '--workdir', 'a b', '--config=x'],
])
def test_flags_of_the_trainer_stand_where_they_like(tmp_path, given):
  """Without a cluster: of this machine alone."""
  folder = tmp_path / 'resnet'
  folder.mkdir()
  (folder / '__init__.py').write_text('')
  (folder / 'survey.py').write_text(_PRINTS_FLAGS.format(
      survey=doctor_diagnosis_test.SURVEY, workdir=f'{tmp_path}/run'))
  code, out, err = _doctor(
      *given, cwd=tmp_path, PYTHONPATH=f'{tmp_path}:{_ROOT}')
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
      'All is well: 2 workers, 2 devices, 32 images each a step.')
  for row, found in zip(lines[1:3], ('writable', 'shared')):
    cells = ranks.cells(row)
    assert cells[3:5] == ['all', '1 CPU'] and cells[-1] == found
    assert cells[-2].startswith('digits 1437+360 (')
  assert not (tmp_path / 'run').exists()
