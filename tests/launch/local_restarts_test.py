"""What is restarted, how often, and after what wait."""
import signal

import pytest

from launch.local import attempt, restarts, worker_process
from tests.launch import stub_workers


def _ended(*codes, secs=100.0, **fields):
  return attempt.Outcome(tuple(
      worker_process.Exit(rank, code, secs + rank)
      for rank, code in enumerate(codes)), **fields)


def _verdicts(outcomes, **limits):
  policy = restarts.Restarts(restarts.Limits(**limits))
  return [policy.after(outcome) for outcome in outcomes]


def _codes(outcomes, **limits):
  return [verdict.code for verdict in _verdicts(outcomes, **limits)]


@pytest.mark.parametrize('codes, expected', [
    ((0, 0), 0), ((2, 143), 2), ((143, 2), 2), ((9, 2), 2), ((-9, 2), 2),
    ((143, 64), 64), ((78, 143), 78),
    ((143, 143), None), ((0, 143), None), ((1, 143), None), ((143, -9), None),
    ((0, 5), None), ((143, -15), None),
])
def test_exit_code_after_the_first_attempt(codes, expected):
  assert _codes([_ended(*codes)]) == [expected]


def test_failures_are_counted_and_143_is_not():
  failed, asked = _ended(143, 7), _ended(143, 143)
  verdicts = _verdicts([asked, failed, asked, failed, asked, failed],
                       failures=2)
  assert [v.code for v in verdicts] == [None] * 5 + [7]
  assert [v.sentence for v in verdicts] == [
      'restarting (not counted: exit code 143 asks for a restart)',
      'restarting (1 of 2 restarts)',
      'restarting (not counted: exit code 143 asks for a restart)',
      'restarting (2 of 2 restarts)',
      'restarting (not counted: exit code 143 asks for a restart)',
      'not restarting (--max_restarts=2 is used up)']
  assert [v.cause.code for v in verdicts] == [143, 7, 143, 7, 143, 7]


def test_143_without_a_new_checkpoint_is_a_failure():
  """Also the one after a restart that made progress."""
  saved, not_saved = (_ended(143, 143, saved=saved) for saved in (True, False))
  verdicts = _verdicts([saved, not_saved, saved, not_saved], failures=1)
  assert [v.code for v in verdicts] == [None] * 3 + [1]
  assert [v.sentence for v in verdicts[1::2]] == [
      'restarting (1 of 1 restarts: exit code 143 without a new checkpoint)',
      'not restarting (--max_restarts=1 is used up: exit code 143 without a '
      'new checkpoint)']
  assert _codes([not_saved], failures=0) == [1]


@pytest.mark.parametrize('codes, fields, expected', [
    ((0, 0), {}, 0), ((143, 2), {}, 2), ((143, 7), {}, 7),
    ((143, 143), {'stop': signal.SIGTERM}, 143)])
def test_progress_does_not_matter_to_other_ends(codes, fields, expected):
  outcome = _ended(*codes, saved=False, **fields)
  verdict, = _verdicts([outcome], failures=0)
  assert verdict.code == expected and 'checkpoint' not in (
      verdict.sentence.replace('the last checkpoint', ''))


@pytest.mark.parametrize('codes, expected', [
    ((143, 7), 7), ((-9, 143), 1), ((143, -11), 1), ((130, 3), 130)])
def test_exit_code_is_that_of_the_root_cause(codes, expected):
  assert _codes([_ended(*codes)], failures=0) == [expected]


@pytest.mark.parametrize('code', [143, -9, 0])
def test_a_worker_that_had_to_be_ended_has_failed(code):
  outcome = attempt.Outcome((
      worker_process.Exit(0, 0, 50.0),
      worker_process.Exit(1, code, 120.0, forced=True)))
  assert _codes([outcome], failures=0) == [1 if code else 0]


@pytest.mark.parametrize('code, cause', [(143, 0), (-9, 2)])
def test_a_worker_that_hung_is_the_cause_unless_another_failed(code, cause):
  outcome = attempt.Outcome((
      worker_process.Exit(2, code, 50.0),
      worker_process.Exit(0, 143, 70.0, forced=True),
      worker_process.Exit(1, -9, 130.0, forced=True)))
  assert outcome.cause.rank == cause
  assert _codes([outcome], failures=0) == [1]


@pytest.mark.parametrize('code', [143, 1])
def test_short_attempts_wait_longer_each_time_and_end(code):
  verdicts = _verdicts([_ended(code, 143, secs=9.9)] * 5, failures=9)
  assert [v.wait_secs for v in verdicts[:4]] == [1, 2, 4, 8]
  assert [v.code for v in verdicts] == [None] * 4 + [1]
  assert 'restarting in 8 s (' in verdicts[3].sentence
  assert verdicts[4].sentence == (
      'not restarting (5 attempts in a row ended within 10 s)')


def test_a_long_attempt_ends_a_row_of_short_ones():
  short, long = _ended(143, 143, secs=9.9), _ended(143, 143, secs=10.0)
  verdicts = _verdicts([*[short] * 4, long, *[short] * 5])
  assert [v.wait_secs for v in verdicts] == [1, 2, 4, 8, 0, 1, 2, 4, 8, 0]
  assert [v.code for v in verdicts] == [None] * 9 + [1]


def test_an_attempt_is_as_short_as_its_first_worker():
  outcome = attempt.Outcome((
      worker_process.Exit(1, 143, 9.0), worker_process.Exit(0, 143, 19.0)))
  assert _verdicts([outcome])[0].wait_secs == 1


def _port_taken(*codes):
  first, *others = _ended(*codes, secs=3.0).exits
  return attempt.Outcome((first._replace(port_taken=True), *others))


@pytest.mark.parametrize('codes', [(2, 143), (143, 143), (1, 143), (1, -15)])
def test_ports_in_use_are_forgiven_five_times(codes):
  verdicts = _verdicts([_port_taken(*codes)] * 6, failures=0)
  assert [v.code for v in verdicts] == [None] * 5 + [1]
  assert [v.wait_secs for v in verdicts] == [0] * 6
  assert verdicts[0].sentence == (
      'the port of worker 0 is already in use: restarting with other ports '
      '(not counted)')
  assert verdicts[5].sentence == (
      'not restarting (ports were in use 6 times)')


def test_another_permanent_error_beside_a_port_in_use():
  assert _codes([_port_taken(143, 2)]) == [2]


def test_a_worker_that_is_done_had_its_port():
  assert 'exit code 143' in _verdicts([_port_taken(0, 143)])[0].sentence


@pytest.mark.parametrize('codes, fields, expected', [
    ((143, 143), {}, 143), ((143, 0), {}, 143), ((0, 0), {}, 0),
    ((-15, 143), {}, 143), ((130, -2), {'stop': signal.SIGINT}, 143),
    ((130, 143), {}, 130), ((2, 143), {}, 2), ((143, 4), {}, 4),
    ((143, -9), {}, 1), ((143, -9), {'killed': (1,)}, 1),
    ((-9, -9), {'interrupted': True, 'killed': (0, 1)}, 130),
    ((0, 0), {'interrupted': True}, 0),
])
def test_exit_code_of_a_run_that_was_stopped(codes, fields, expected):
  fields = {'stop': signal.SIGTERM, **fields}
  assert _codes([_ended(*codes, **fields)]) == [expected]


# With processes.


def test_restarts_after_a_failure_a_request_and_a_port_in_use(tmp_path):
  """Each attempt has its own ports and its own logs."""
  result = stub_workers.run(tmp_path, """
print(attempt, sys.argv[1:], json.loads(os.environ['TF_CONFIG'])['cluster'])
if attempt == 0:
  end([9, 143][rank], 0.3 * rank)
if attempt == 1:
  save()
  end(143)
if attempt == 2 and rank == 1:
  print('UnknownError: Could not start gRPC server')
  end(2)
""")
  assert result.code == 0
  starts = [line for line in result.said if 'starting' in line]
  assert starts == [
      f'[launch] starting 2 workers on the CPU (logs: {tmp_path}/attempt_0)',
      '[launch] restarting (1 of 3 restarts)',
      f'[launch] starting 2 workers on the CPU (logs: {tmp_path}/attempt_1)',
      '[launch] restarting (not counted: exit code 143 asks for a restart)',
      f'[launch] starting 2 workers on the CPU (logs: {tmp_path}/attempt_2)',
      '[launch] the port of worker 1 is already in use: restarting with other '
      'ports (not counted)',
      f'[launch] starting 2 workers on the CPU (logs: {tmp_path}/attempt_3)']
  for number in range(4):
    text = (tmp_path / f'attempt_{number}' / 'worker_1.log').read_text()
    assert text.startswith(f'{number} []')
  clusters = {line.partition('{')[2] for line in result.out if '[]' in line}
  assert len(clusters) == 4


def test_a_port_in_use_counts_as_such_only_at_the_start(tmp_path):
  result = stub_workers.run(
      tmp_path, "print('Could not start gRPC server')\nend(2)",
      times=stub_workers.QUICK._replace(port_secs=0.0))
  assert result.code == 2


def test_a_crash_loop_ends(tmp_path):
  limits = restarts.Limits(failures=9, first_wait_secs=0.01)
  result = stub_workers.run(tmp_path, 'end(143)', limits=limits)
  assert result.code == 1 and len(list(tmp_path.iterdir())) == 5
  waits = [line for line in result.said if 'restarting in' in line]
  assert [line.split(' (')[0] for line in waits] == [
      f'[launch] restarting in {secs} s' for secs in
      (0.01, 0.02, 0.04, 0.08)]


def test_a_signal_before_a_restart_ends_the_run(tmp_path):
  limits = restarts.Limits(first_wait_secs=100.0)
  result = stub_workers.run(
      tmp_path, 'end(1)', limits=limits,
      at=[('restarting in 100 s', signal.SIGTERM, 1)])
  assert result.code == 143
  assert result.said[-1] == '[launch] stopped before the restart'


def test_workers_that_ask_without_progress_come_to_an_end(tmp_path):
  """Each restart that is not counted needs a checkpoint of its own."""
  code = """
if attempt < 2 and not rank:
  save()
end(143, 0.1 * rank)
"""
  result = stub_workers.run(
      tmp_path, code, limits=stub_workers.LIMITS._replace(failures=1))
  assert result.code == 1
  verdicts = [line for line in result.said if 'restarting (' in line]
  assert [line.partition(')')[0] for line in verdicts] == [
      *['[launch] restarting (not counted: exit code 143 asks for a restart'
       ] * 2,
      '[launch] restarting (1 of 1 restarts: exit code 143 without a new '
      'checkpoint', '[launch] not restarting (--max_restarts=1 is used up: '
      'exit code 143 without a new checkpoint']


def test_existing_logs_are_kept(tmp_path):
  for text in ('first', 'second'):
    assert stub_workers.run(tmp_path, f'print("{text}")').code == 0
  assert [(tmp_path / f'attempt_{i}' / 'worker_0.log').read_text()
          for i in range(2)] == ['first\n', 'second\n']
