"""Workers end together, the first failure is named, no process is left."""
import json
import signal

import pytest

from launch.local import attempt
from tests.launch import stub_workers

pytestmark = pytest.mark.slow  # Each starts several processes.
_ONCE = stub_workers.LIMITS._replace(failures=0)


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """The running processes of a test; none may be left behind."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


def _run(folder, code, **settings):
  return stub_workers.run(folder, code, **{'limits': _ONCE, **settings})


def _cause(result):
  cause, = [line for line in result.said if 'root cause' in line]
  return cause


def test_each_worker_has_all_addresses_and_its_rank(tmp_path):
  result = _run(tmp_path, "print(os.environ['TF_CONFIG'])", workers=3)
  assert result.code == 0
  configs = [json.loads(line.partition(' ')[2]) for line in sorted(result.out)]
  assert [config['task'] for config in configs] == [
      {'type': 'worker', 'index': rank} for rank in range(3)]
  (first, *others) = [config['cluster']['worker'] for config in configs]
  assert others == [first, first] and len(set(first)) == 3


def test_what_is_said_about_a_run_without_trouble(tmp_path):
  result = _run(tmp_path, 'pass')
  assert result == (0, [], [
      f'[launch] starting 2 workers on the CPU (logs: {tmp_path}/attempt_0)',
      '[launch] all workers are done'])


@pytest.mark.parametrize('code, words', [
    # A peer may notice the loss before the launcher does, or after.
    ('end(9) if rank == 1 else end(143, 0.4)',
     'worker 1 ended with exit code 9'),
    ('end(9, 0.4) if rank == 1 else end(143)',
     'worker 1 ended with exit code 9'),
    ('end(-9) if rank == 1 else end(143, 0.4)',
     'worker 1 was killed by SIGKILL'),
    ('end(-11) if rank == 0 else end(1, 0.4)',
     'worker 0 was killed by SIGSEGV'),
    ('end(-40) if rank == 0 else end(1, 0.4)',
     'worker 0 was killed by signal 40'),
    # A worker that hangs must be ended, and is not the cause.
    ('end(7) if rank == 1 else end(1, 60)', 'worker 1 ended with exit code 7'),
    ('end(5, 0.4) if rank == 1 else end(0)', 'worker 1 ended with exit code 5'),
])
def test_root_cause(tmp_path, code, words):
  result = _run(tmp_path, code,
                times=stub_workers.QUICK._replace(settle_secs=2.0))
  assert f'root cause: {words} after ' in _cause(result)
  log = tmp_path / 'attempt_0' / f'worker_{words.split()[1]}.log'
  assert _cause(result).endswith(f'; it printed nothing ({log})')
  assert result.said[-1].startswith(
      f'[launch] not restarting (--max_restarts=0 is used up): {words} after ')
  assert result.said[-1].endswith(f' s ({log})')
  code = words.split()[-1]
  assert result.code == (int(code) if 'exit code' in words else 1)


def test_the_last_lines_of_the_root_cause_are_shown(tmp_path):
  result = _run(tmp_path, """
for i in range(30):
  print('line', i)
print('no end', end='')
end(3)""", workers=1)
  start = result.said.index(_cause(result)) + 1
  assert result.said[start:start + 20] == [
      *(f'[launch]   | line {i}' for i in range(11, 30)), '[launch]   | no end']
  assert len(result.said) == start + 20 + 1
  assert result.out[-1] == '[w0] no end'


def test_others_may_end_by_themselves(tmp_path):
  """They get no signal within the time to settle."""
  result = _run(tmp_path, """
signal.signal(signal.SIGTERM, lambda *_: print('told'))
end(1) if rank else end(143, 0.5)""")
  assert result.out == []
  assert result.said[1].endswith(': waiting 1 s for the others to end')
  assert not any('SIGTERM' in line for line in result.said)


def test_others_have_less_time_once_one_has_noticed_the_loss(tmp_path):
  """The time of workers that have not noticed is longer than this test."""
  result = _run(tmp_path, 'end(143) if rank else end(1, 60)',
                times=stub_workers.QUICK._replace(settle_secs=50.0))
  assert result.said[1].endswith(': waiting 1 s for the others to end')
  assert '[launch] sending SIGTERM to worker 0' in result.said


_SAVES = """
def save(*_):
  print('saved')
  end(143)
signal.signal(signal.SIGTERM, save)
"""
_DEAF = """
signal.signal(signal.SIGTERM, lambda *_: print('deaf'))
"""
_LIVES_ON = """
print('ready')
if rank == 0:
  while True:
    time.sleep(1)
"""


def test_a_worker_that_hangs_gets_sigterm_to_save(tmp_path):
  result = _run(tmp_path, _SAVES + _LIVES_ON + 'end(6, 0.3)')
  assert result.code == 6 and '[w0] saved' in result.out
  assert '[launch] sending SIGTERM to worker 0' in result.said
  assert not any('SIGKILL' in line for line in result.said)


def test_a_stopped_worker_is_continued_to_save(tmp_path):
  stopped = 'if rank == 0:\n  os.kill(os.getpid(), signal.SIGSTOP)\n'
  result = _run(tmp_path, _SAVES + stopped + _LIVES_ON + 'end(6, 0.3)')
  assert result.code == 6 and '[w0] saved' in result.out
  assert not any('SIGKILL' in line for line in result.said)


def test_a_worker_that_ignores_sigterm_is_killed_after_its_grace(tmp_path):
  result = _run(tmp_path, _DEAF + _LIVES_ON + 'end(6, 0.3)')
  assert result.code == 6 and '[w0] deaf' in result.out
  assert '[launch] sending SIGKILL to worker 0' in result.said


@pytest.mark.parametrize('handler, end', [
    (_SAVES, 'ended with exit code 143'), (_DEAF, 'was killed by SIGKILL')])
def test_a_worker_that_runs_on_when_others_are_done_has_failed(
    tmp_path, handler, end):
  result = _run(tmp_path, handler + _LIVES_ON + 'end(0, 0.3)')
  assert result.code == 1
  assert f'worker 0 {end} after ' in _cause(result)
  assert ('(the launcher stopped it, because it still ran when others had '
          'ended)') in _cause(result)


def test_workers_that_are_done_may_end_one_grace_apart(tmp_path):
  assert _run(tmp_path, 'end(0, 0.6 * rank)').code == 0


def test_a_stopped_worker_without_handlers_is_ended(tmp_path):
  result = _run(tmp_path, """
if rank == 0:
  os.kill(os.getpid(), signal.SIGSTOP)
end(6, 0.3)""")
  assert result.code == 6


@pytest.mark.parametrize('number', [signal.SIGSTOP, signal.SIGKILL])
def test_a_watcher_that_is_stopped_or_killed(tmp_path, monkeypatch, number):
  monkeypatch.setattr(attempt, '_DRAIN_SECS', 0.5)
  result = _run(tmp_path, f"""
subprocess.Popen(['/bin/sleep', '60'])
if rank == 0:
  os.kill(os.getppid(), {number})
  time.sleep(60)
end(6, 0.3)""")
  assert result.code == (6 if number == signal.SIGSTOP else 1)


@pytest.mark.parametrize('code', [0, 3, -9])
def test_processes_that_a_worker_leaves_behind_are_killed(
    tmp_path, running, code):
  result = _run(tmp_path, f"""
os.system('/bin/sleep 60 & setsid /bin/sleep 60 &')
subprocess.Popen(['/bin/sleep', '60'], start_new_session=True)
end({code})""", workers=1)
  assert not running()  # The launcher has waited for all of them.
  assert result.code == max(code, bool(code))


@pytest.mark.parametrize('number', [
    signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on_once(tmp_path, number):
  result = _run(tmp_path, """
got = []
for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
  signal.signal(one, lambda n, _: got.append(signal.Signals(n).name))
print('ready')
while not got:
  time.sleep(0.01)
time.sleep(0.3)
print(*got)
end(143)""", at=[('ready', number, 2), ('ready', signal.SIGTERM, 2)])
  assert sorted(result.out[2:]) == [f'[w{i}] {number.name}' for i in (0, 1)]
  assert result.code == 143
  assert result.said[1].startswith(
      f'[launch] {number.name}: the workers have 1 s to save and exit')
  assert result.said[2:] == [
      '[launch] stopped: rerun the same command to continue from the last '
      'checkpoint']


_STOPS = """
signal.signal(signal.SIGTERM, {handler})
print('ready')
while True:
  time.sleep(1)
"""


@pytest.mark.parametrize('handler, expected', [
    ('lambda *_: end(0)', 0),  # It came too late: all were done.
    ('lambda *_: end(143 * rank)', 143),
    ('signal.SIG_DFL', 143),  # It came too soon: during an import, for example.
    ('lambda *_: end([143, 2][rank])', 2),
    ('lambda *_: end([143, 3][rank])', 3),
    ('lambda *_: end([143, -9][rank])', 1),
])
def test_exit_code_after_a_signal(tmp_path, handler, expected):
  result = _run(tmp_path, _STOPS.format(handler=handler),
                at=[('ready', signal.SIGTERM, 2)], limits=stub_workers.LIMITS)
  assert result.code == expected
  assert sum('starting 2 workers' in line for line in result.said) == 1


def test_a_worker_that_does_not_stop_is_killed_and_named(tmp_path):
  result = _run(tmp_path, """
if rank == 1:
  signal.signal(signal.SIGTERM, lambda *_: None)
print('ready')
while True:
  time.sleep(1)""", workers=3, at=[('ready', signal.SIGTERM, 3)])
  assert result.code == 1
  assert result.said[2:] == [
      '[launch] sending SIGKILL to worker 1',
      '[launch] worker 1 did not exit in time and had to be killed: progress '
      'since the last checkpoint is lost']


def test_the_second_ctrl_c_kills(tmp_path):
  result = _run(
      tmp_path, """
signal.signal(signal.SIGINT, lambda *_: print('saving'))
print('ready')
while True:
  time.sleep(1)""", times=attempt.Times(),
      at=[('ready', signal.SIGINT, 2), ('saving', signal.SIGINT, 2)])
  assert result.code == 130
  assert result.said[2:] == [
      '[launch] sending SIGKILL to workers 0, 1',
      '[launch] killed by the second SIGINT']
