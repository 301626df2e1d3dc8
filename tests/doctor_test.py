"""python -m launch.doctor: real processes that find each other, or do not."""
import asyncio
import contextlib
import errno
import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from configs.errors import UserError
from launch import cluster
from launch import doctor_connections as connections
from launch import environment
from launch import doctor_peers as peers
from launch import doctor_reports as reports
from launch import doctor_survey as survey
from launch import doctor_workdir as workdir
from tests import doctor_diagnosis_test
from tests import stub_workers

_ROOT = pathlib.Path(__file__).parent.parent
# A rank whose survey is a stub. 'silent_secs': until others count as gone;
# 'unknown': a host name that it cannot resolve; 'read_only': no new files.
_RANK = """
import json, signal, socket, sys, tempfile
from launch import cluster, doctor
from launch import doctor_peers as peers, doctor_workdir as workdir
given = json.loads(sys.argv[1])
peers.SILENT_SECS = given['silent_secs']
workdir.SEEN_WITHIN_SECS = 0.5
getaddrinfo = socket.getaddrinfo
def resolve(host, *args, **kwargs):
  if host == given['unknown']:
    raise socket.gaierror(-2, 'Name or service not known')
  return getaddrinfo(host, *args, **kwargs)
socket.getaddrinfo = resolve
if given['read_only']:
  def refuse(**_):
    raise OSError(30, 'Read-only file system')
  tempfile.TemporaryFile = refuse
signal.signal(signal.SIGINT, signal.default_int_handler)  # Even if in "... &".
print('ready', flush=True)
sys.stdin.readline()
sys.exit(doctor.examine(
    cluster.Cluster(tuple(given['addresses']), given['rank']),
    given['survey'], given['seconds']))
"""


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """Numbers of the processes of a test that run; none may be left behind."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


def _survey(folder, **fields):
  """Words of a process that prints a survey with some fields of its own."""
  fields = {**doctor_diagnosis_test.SURVEY, 'workdir': os.fspath(folder), **fields}
  return [sys.executable, '-ISc', 'import sys; print(sys.argv[1])',
          json.dumps(fields)]


_HANGS = [sys.executable, '-ISc',
          'import time; print("waits", flush=True); time.sleep(60)']


def _start(addresses, words, ranks=None, *, seconds=20, silent_secs=5,
           unknown=('',) * 3, read_only=None, begin=True):
  """The processes of some ranks, all of them unless said otherwise.

  They begin together, at once or by _let_begin: seconds count from then.
  """
  ranks = range(len(addresses)) if ranks is None else ranks
  started = [subprocess.Popen(
      [sys.executable, '-c', _RANK, json.dumps({
          'addresses': addresses, 'rank': rank, 'survey': words[rank],
          'seconds': seconds, 'silent_secs': silent_secs,
          'unknown': unknown[rank], 'read_only': rank == read_only})],
      cwd=_ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
      stderr=subprocess.PIPE) for rank in ranks]
  if begin:
    _let_begin(started)
  return started


def _let_begin(started):
  for process in started:
    assert process.stdout.readline() == 'ready\n'
  for process in started:
    process.stdin.write('\n')
    process.stdin.flush()


def _finish(process):
  """(exit code, lines of stdout, lines of stderr)."""
  out, err = process.communicate(timeout=60)
  return process.returncode, out.splitlines(), err.splitlines()


def _addresses(count, host='127.0.0.1'):
  return [f'{host}:{port}' for port in environment.free_ports(count)]


def _examine(*args, **how):
  """The ends of the ranks that _start starts."""
  return [_finish(process) for process in _start(*args, **how)]


def _has_ipv6():
  try:
    socket.create_server(('::1', 0), family=socket.AF_INET6).close()
  except OSError:
    return False
  return True


def _cells(line):
  return re.split('  +', line)


def test_all_is_well(tmp_path):
  """The chief alone speaks, and nothing is left behind."""
  one, two, three = environment.free_ports(3)
  last = f'[::1]:{three}' if _has_ipv6() else f'127.0.0.2:{three}'
  addresses = [f'127.0.0.1:{one}', f'localhost:{two}', last]
  chief, *others = _examine(
      addresses, [_survey(tmp_path / 'new' / 'run')] * 3)
  code, (_, *rows, end), err = chief
  assert (code, err) == (0, [])
  assert [(_cells(row)[2:4], _cells(row)[-1]) for row in rows] == [
      ([addresses[0], 'all'], 'writable'), ([addresses[1], 'all'], 'shared'),
      ([addresses[2], 'all'], 'shared')]
  assert end == 'All is well: 3 workers, 3 devices, 16 images each a step.'
  assert others == [(0, [], [])] * 2
  assert not list(tmp_path.iterdir())


def test_a_rank_that_never_comes(tmp_path):
  addresses = _addresses(3)
  chief, other = _examine(addresses, [_survey(tmp_path)] * 3, [0, 1], seconds=1)
  assert chief[0] == 2 and chief[2] == [
      f'error: Worker 2 at {addresses[2]} never came (nothing listens there): '
      'start it, and look at its log; is its address right?']
  assert _cells(chief[1][3])[1:4] == ['-', addresses[2], 'not 0, 1']
  assert other == (2, [], [])


def test_a_chief_that_never_comes(tmp_path):
  addresses = _addresses(2)
  (code, out, err), = _examine(
      addresses, [_survey(tmp_path, problems=['No GPU.'])] * 2, [1],
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
    addresses = _addresses(2)
    port = taken.getsockname()[1]
    addresses[rank] = f'127.0.0.1:{port}'
    chief, other = _examine(addresses, [_survey(tmp_path)] * 2, seconds=1)
  assert chief[0] == 2 and len(chief[2]) == 1
  assert re.fullmatch(
      rf'error: Worker {rank} at {addresses[rank]} \(.*\): port {port} cannot '
      r'be opened \(Address already in use\): end what uses it, or give the '
      'worker another.', chief[2][0])
  assert other == (2, [], [])


@pytest.mark.parametrize('host', ['no-such-host.invalid', 'a..b', 'x' * 70])
def test_a_name_that_does_not_resolve(host):
  addresses = [*_addresses(1), f'{host}:2222']

  async def lonely():
    async with peers.Peers(_cluster(addresses, 0), 0.2) as one:
      await one.all_tried()
      return one.own.unreached

  (rank, why), = asyncio.run(lonely()).items()
  assert rank == 1 and why.startswith('its name cannot be resolved: ')


@pytest.mark.parametrize('blind', [0, 1])
def test_a_name_that_one_rank_alone_cannot_resolve(tmp_path, blind):
  """The other way is open, and carries reports and verdict."""
  ports = environment.free_ports(2)
  addresses = [f'localhost:{ports[0]}', f'127.0.0.1:{ports[1]}']
  unknown = addresses[not blind].partition(':')[0]
  chief, other = _examine(
      addresses, [_survey(tmp_path)] * 2, seconds=1,
      unknown=[unknown if rank == blind else '' for rank in range(2)])
  assert chief[0] == 2 and len(chief[2]) == 1
  assert re.match(
      rf'error: Worker {1 - blind} at .* cannot be reached by worker {blind} '
      r'at .* \(its name cannot be resolved: Name or service not known\), '
      'though it can be done the other way round: ', chief[2][0])
  assert other == (2, [], [])


def test_a_folder_that_is_not_shared(tmp_path):
  chief, other = _examine(
      _addresses(2), [_survey(tmp_path / 'a'), _survey(tmp_path / 'b')])
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert f'has --workdir={tmp_path}/b, and not what worker 0' in chief[2][0]
  assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').write_text('mine')
  chief, other = _examine(_addresses(2), [_survey(tmp_path / 'file' / 'a')] * 2)
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert (f'--workdir={tmp_path}/file/a cannot be written (Not a directory): '
          'give a folder that all workers may write to.') in chief[2][0]
  assert (tmp_path / 'file').read_text() == 'mine'


def test_a_folder_that_one_rank_alone_cannot_write(tmp_path):
  chief, other = _examine(
      _addresses(2), [_survey(tmp_path)] * 2, read_only=1)
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
  versions = {**doctor_diagnosis_test.SURVEY['versions'], 'tensorflow': '2.20.0'}
  chief, other = _examine(
      _addresses(2), [_survey(tmp_path), _survey(tmp_path, versions=versions)])
  assert chief[0] == other[0] == 2 and len(chief[2]) == 1
  assert 'tensorflow 2.20.0 where they have 2.21.0' in chief[2][0]


def test_warnings_are_no_errors(tmp_path):
  chief, other = _examine(_addresses(2), [
      _survey(tmp_path, devices=['A100']), _survey(tmp_path, devices=['V100'])])
  assert chief[0] == other[0] == 0
  assert chief[2][0].startswith('warning: Worker 1 at ')
  assert chief[1][-1].startswith('All is well: 2 workers')


def test_a_survey_that_fails(tmp_path):
  refuses = [sys.executable, '-ISc', 'import sys\nprint("error: No such '
             'flag.", file=sys.stderr)\nsys.exit(2)']
  chief, other = _examine(_addresses(2), [_survey(tmp_path), refuses])
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
      asyncio.wait_for(survey.ask(_HANGS, longest_secs=0.5), 20))
  assert answer is None and 'did not end within 0.5 s' in sentence
  assert not running()


@pytest.mark.parametrize('gone, number', [
    (0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_a_rank_that_falls_silent(monkeypatch, number, gone):
  """The other of two ranks waits no longer than for a sign of life."""
  monkeypatch.setattr(peers, 'SILENT_SECS', 0.5)
  addresses = _addresses(2)

  async def other():
    async with peers.Peers(_cluster(addresses, 1 - gone), 20) as rank:
      await _until(lambda: gone in rank.heard)
      os.kill(process.pid, number)
      await rank.all_tried()
      if gone:
        await rank.all_final()
      else:
        assert await rank.mark_of_chief() == ''
        assert await rank.verdict_of_chief() is None
      assert rank.is_gone(gone)

  process, = _start(addresses, [_HANGS] * 2, [gone])
  with _ended(process):
    asyncio.run(asyncio.wait_for(other(), 8))


def test_what_is_said_of_ranks_that_fall_silent(tmp_path):
  """One ends between its report and the verdict, one as a chief."""
  addresses = _addresses(2)

  async def impostor(rank):
    async with peers.Peers(_cluster(addresses, rank), 20) as one:
      one.update(mark='')
      await _until(lambda: 1 - rank in one.heard
                   and one.heard[1 - rank].survey)

  for rank, words in ((1, '; look at its log'), (0, 'worker 1 has no verdict')):
    process, = _start(addresses, [_survey(tmp_path)] * 2, [1 - rank],
                      silent_secs=0.5)
    asyncio.run(asyncio.wait_for(impostor(rank), 20))
    code, _, err = _finish(process)
    assert code == 2 and re.match(
        rf'error: Worker {rank} at {addresses[rank]} \(.*\) came, and then '
        'fell silent', err[0]), words


def test_a_rank_that_ends_before_it_is_told():
  """It has called once, with all that it knows."""
  addresses = _addresses(2)
  answers = [sys.executable, '-ISc', 'print(1)']
  chief, = _start(addresses, [answers] * 2, [0], seconds=0.3, silent_secs=1)
  line = reports.encode(reports.Message(
      peers.Peers(_cluster(addresses, 1), 1).own_cluster,
      reports.Report(1, 'node1', 'x', final=True)))
  with _ended(chief):
    _wait_until(lambda: _ask(addresses, 0, line))
    code, _, err = _finish(chief)
  assert code == 2 and any(
      'Worker 1 at' in sentence and 'came, and then fell silent' in sentence
      for sentence in err)


def test_the_verdict_is_the_chiefs_alone():
  addresses = _addresses(3)

  async def told():
    async with peers.Peers(_cluster(addresses, 1), 20) as one:
      for rank, verdict in ((0, 2), (2, 0)):
        line = reports.encode(reports.Message(
            one.own_cluster, reports.Report(rank, 'x', 'x'), verdict))
        assert await asyncio.to_thread(_ask, addresses, 1, line)
      assert set(one.heard) == {0, 2}
      return await one.verdict_of_chief()

  assert asyncio.run(asyncio.wait_for(told(), 20)) == 2


def test_who_has_called_is_tried_for_seconds_only(monkeypatch):
  """It listened before it called: others are waited for much longer."""
  monkeypatch.setattr(peers, '_TRIED_SECS', 0.3)
  addresses = _addresses(2)

  async def called():
    async with peers.Peers(_cluster(addresses, 0), 60) as one:
      line = reports.encode(reports.Message(
          one.own_cluster, reports.Report(1, 'x', 'x')))
      assert await asyncio.to_thread(_ask, addresses, 0, line)
      await one.all_tried()
      return one.own.unreached

  assert asyncio.run(asyncio.wait_for(called(), 8)) == {
      1: 'nothing listens there'}


def test_strangers_do_not_disturb(tmp_path):
  """Whatever they say, however much, and however slowly."""
  addresses = _addresses(2)
  idle = []

  async def chief():
    async with peers.Peers(_cluster(addresses, 0), 20) as one:
      one.update(mark='')
      for line in (b'GET / HTTP/1.1\r\n\r\n', b'\n', b'[' * 10**5 + b'\n',
                   b'x' * (reports.LONGEST + 10**6), b'\x00' * 100 + b'\n'):
        assert await asyncio.to_thread(_ask, addresses, 0, line) == b''
      for rank in (-1, 2, 10**9):
        line = reports.encode(reports.Message(
            one.own_cluster, one.own._replace(rank=rank, process='other')))
        assert await asyncio.to_thread(_ask, addresses, 0, line)
      # Of another cluster: told that, and no more.
      answer = await asyncio.to_thread(_ask, addresses, 0)
      assert reports.decode(answer) == reports.Message(one.own_cluster)
      assert not one.heard and not one.own.problems
      idle.extend(socket.create_connection(('127.0.0.1', _port(addresses[0])))
                  for _ in range(10))
      process, = _start(addresses, [_survey(tmp_path)] * 2, [1])
      await one.all_tried()
      one.update(final=True)
      await one.all_final()
      assert not await one.tell(0)
      return _finish(process)

  try:
    assert asyncio.run(asyncio.wait_for(chief(), 40)) == (0, [], [])
  finally:
    for one in idle:
      one.close()


def test_too_many_callers_at_once_are_sent_away():
  addresses = _addresses(1)

  async def lonely():
    async with peers.Peers(_cluster(addresses, 0), 20):
      callers = [await asyncio.open_connection('127.0.0.1', _port(addresses[0]))
                 for _ in range(19)]  # 2 for each rank and 16 stay.
      read = [asyncio.create_task(reader.read(1)) for reader, _ in callers]
      done, _ = await asyncio.wait(
          read, timeout=20, return_when=asyncio.FIRST_COMPLETED)
      assert done == {read[18]} and read[18].result() == b''
      for task in read:
        task.cancel()
      for _, writer in callers:
        writer.close()

  asyncio.run(lonely())


def test_two_processes_of_one_rank(tmp_path):
  """The second has another host, and so the port of its rank to itself."""
  addresses = _addresses(2)

  async def second(rank):
    twin = peers.Peers(_cluster(addresses, rank), 20)
    # Without a port: that is the first one's, on another machine.
    task = asyncio.create_task(twin._call_again(1 - rank))
    await _until(lambda: 1 - rank in twin.heard
                 and twin.heard[1 - rank].problems)
    task.cancel()

  chief, other = _start(addresses, [_HANGS] * 2)
  with _ended(chief), _ended(other):
    _wait_until(lambda: all(_ask(addresses, rank) for rank in range(2)))
    asyncio.run(asyncio.wait_for(second(1), 20))


def test_another_list_of_workers(tmp_path):
  addresses = _addresses(3)
  words = [_survey(tmp_path)] * 2
  chief, = _start(addresses[:2], words, [0], seconds=1, begin=False)
  other, = _start(addresses, words, [1], seconds=1, begin=False)
  _let_begin([chief, other])
  for rank, process in ((1, chief), (0, other)):
    code, _, (line,) = _finish(process)
    assert code == 2 and line == (
        f'error: Worker {rank} at {addresses[rank]} has another list of '
        f'workers than worker {1 - rank}: give all the same addresses in the '
        'same order.')


def test_another_list_is_not_forgotten_when_its_worker_has_left():
  addresses = _addresses(3)

  async def left_alone():
    async with peers.Peers(_cluster(addresses[:2], 0), 60) as one:
      async with peers.Peers(_cluster(addresses, 1), 60):
        await _until(lambda: one.why(1) == reports.OTHER_CLUSTER)
      calls, original = [], one._call

      async def call(rank):
        calls.append(rank)
        await original(rank)

      one._call = call
      await _until(lambda: len(calls) > 1)  # The first has failed by then.
      return one.why(1)

  assert asyncio.run(
      asyncio.wait_for(left_alone(), 20)) == reports.OTHER_CLUSTER


@pytest.mark.skipif('not _has_ipv6()')
def test_a_port_in_use_by_ipv6_alone():
  with socket.create_server(('::1', 0), family=socket.AF_INET6) as taken:
    with pytest.raises(OSError):
      connections.listener(taken.getsockname()[1])


def test_each_address_of_a_host_is_tried(monkeypatch):
  with socket.create_server(('127.0.0.1', 0)) as there:
    port = there.getsockname()[1]
    for places in (['127.0.0.1', '127.0.0.2'], ['127.0.0.2', '127.0.0.1']):
      monkeypatch.setattr(socket, 'getaddrinfo', lambda *_, **__: [
          (0, 0, 0, '', (place, port)) for place in places])
      async def connect():
        _, writer = await connections.connect(f'host:{port}', 100)
        writer.close()
      asyncio.run(connect())


@pytest.mark.filterwarnings('error')
def test_names_that_take_long_are_not_waited_for(monkeypatch):
  answer, threads = threading.Event(), []

  def resolve(*_, **__):
    threads.append(threading.current_thread())
    answer.wait(20)
    return []

  monkeypatch.setattr(socket, 'getaddrinfo', resolve)
  with pytest.raises(asyncio.TimeoutError):
    asyncio.run(asyncio.wait_for(connections.connect('host:1', 100), 0.1))
  answer.set()
  threads[0].join(20)


def test_addresses_that_lead_to_others(tmp_path):
  """Worker 1 is started where 2 should be, and 2 where 1 should be."""
  addresses = _addresses(3)
  swapped = [addresses[0], addresses[2], addresses[1]]

  async def misplaced(rank):
    one = peers.Peers(_cluster(addresses, rank), 20)
    one._addresses = swapped  # Where it listens.
    one.update(host='\x1b')
    async with one:
      await _until(lambda: 0 in one.heard and one.heard[0].final)

  async def chief():
    async with peers.Peers(_cluster(addresses, 0), 1) as one:
      tasks = [asyncio.create_task(misplaced(rank)) for rank in (1, 2)]
      await one.all_tried()
      one.update(final=True)
      await asyncio.gather(*tasks)
      return one.own.unreached

  unreached = asyncio.run(asyncio.wait_for(chief(), 20))
  assert sorted(unreached) == [1, 2]
  for rank, why in unreached.items():
    assert re.fullmatch(rf'worker {3 - rank} on \? answers there', why)


def test_the_end_by_a_signal_leaves_nothing_behind(tmp_path, running):
  """Nor does a survey run on."""
  folder = tmp_path / 'new' / 'run'
  addresses = _addresses(2)
  process, = _start(addresses, [_survey(folder)], [0])
  with _ended(process):
    _wait_until(lambda: list(folder.glob('.doctor-*')))
    process.terminate()
    assert _finish(process) == (143, [], [])
  assert not list(tmp_path.iterdir())
  process, = _start(addresses, [_HANGS], [0])
  with _ended(process):
    _wait_until(lambda: len(running()) == 3)  # Survey and watcher.
    process.send_signal(signal.SIGINT)
    process.wait(20)
    assert not running()


def test_who_is_waited_for_is_named(monkeypatch):
  monkeypatch.setattr(peers, '_ANNOUNCE_SECS', 0.2)
  addresses, said = _addresses(3), []

  async def lonely():
    async with peers.Peers(_cluster(addresses, 0), 20, said.append):
      await _until(lambda: said and said[-1].count('nothing listens') == 2)

  asyncio.run(lonely())
  assert re.fullmatch(
      rf'waiting for worker 1 at {addresses[1]} \(nothing listens there\), '
      rf'worker 2 at {addresses[2]} \(nothing listens there\): \d+ s', said[-1])


@contextlib.contextmanager
def _ended(process):
  """Ends a rank with the block."""
  try:
    yield
  finally:
    process.kill()
    process.communicate()


def _cluster(addresses, rank):
  return cluster.Cluster(tuple(addresses), rank)


def _port(address):
  return int(address.rpartition(':')[2])


async def _until(condition):
  while not condition():  # Whoever awaits it has a time-out.
    await asyncio.sleep(0.02)


def _wait_until(condition):
  end = time.monotonic() + 20
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.05)


def _ask(addresses, rank, line=None):
  """What a rank answers to a caller, or to a line; b'' if nothing."""
  host, _, port = addresses[rank].rpartition(':')
  line = line or reports.encode(reports.Message('x'))
  try:
    with socket.create_connection((host, int(port)), timeout=20) as caller:
      caller.sendall(line)
      caller.shutdown(socket.SHUT_WR)
      return caller.makefile('rb').read()
  except OSError:
    return b''


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
  assert _cells(out.splitlines()[1])[2:4] == ['-', '-']
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
    cells = _cells(row)
    assert cells[3:5] == ['all', '1 CPU'] and cells[-1] == found
    assert cells[-2].startswith('digits 1437+360 (')
  assert not (tmp_path / 'run').exists()
