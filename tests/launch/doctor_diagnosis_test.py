"""What the doctor says of reports written by hand, and which rank it names."""
import pytest

from launch.doctor import diagnosis, reports
from tests.launch.doctor_samples import ADDRESSES, finding, report, SURVEY


def _problems(*changed, workers=3):
  """Returns the problems of workers, some of whose reports are given."""
  found = {rank: report(rank) for rank in range(workers)}
  found |= {one.rank: one for one in changed}
  return diagnosis.problems(ADDRESSES[:workers], found)


def _sentence(*changed, workers=3):
  """Returns the only problem, which is fatal."""
  (sentence, fatal), = _problems(*changed, workers=workers)
  assert fatal and sentence.endswith('.') and sentence[0].isupper()
  return sentence


@pytest.mark.parametrize('workers', [1, 2, 4])
def test_all_is_well(workers):
  assert _problems(workers=workers) == []


def test_a_rank_that_never_answered():
  found = {rank: report(rank, unreached={1: 'nothing listens there'})
           for rank in (0, 2)}
  (sentence, fatal), = diagnosis.problems(ADDRESSES[:3], found)
  assert fatal and sentence == (
      'Worker 1 at b:2 never answered (nothing listens there): start it, look '
      'at its log, and check its address.')


def test_a_rank_that_only_others_have_reached():
  found = {0: report(0, unreached={1: 'timed out'}), 2: report(2)}
  (sentence, _), = diagnosis.problems(ADDRESSES[:3], found)
  assert sentence == (
      'Worker 1 at b:2 was reached by worker 2 at c:3 (node2), but there is no '
      'connection in either direction between it and worker 0 at a:1 (node0) '
      '(timed out): open the ports between them.')


def test_a_rank_that_fell_silent():
  assert _sentence(report(2, final=False)).startswith(
      'Worker 2 at c:3 (node2) answered at first and then fell silent')


def test_a_rank_with_other_addresses():
  """It is known by the kind of the reason, whatever the words."""
  found = {0: report(0, unreached={1: finding('x', reports.OTHER_CLUSTER)})}
  (sentence, _), = diagnosis.problems(ADDRESSES[:2], found)
  assert sentence == (
      'Worker 1 at b:2 was given other addresses than worker 0: give all '
      'workers the same addresses in the same order.')


@pytest.mark.parametrize('unreached, words', [
    # {who: {whom: why}}.
    ({0: {2: 'timed out'}},
     'Worker 2 at c:3 (node2) cannot be reached by worker 0 at a:1 (node0) '
     '(timed out), although the other direction works: open its port'),
    ({0: {2: 'timed out'}, 1: {2: 'timed out'}},
     'Worker 2 at c:3 (node2) cannot be reached by workers 0 and 1 (timed out),'
     ' although the other direction works'),
])
def test_connections_that_fail_in_one_direction(unreached, words):
  assert _sentence(*(report(rank, unreached=ways)
                     for rank, ways in unreached.items())).startswith(words)


def test_connections_that_fail_in_both_directions():
  two = _problems(report(1, unreached={2: 'timed out'}),
                  report(2, unreached={1: 'no route'}))
  starts = [
      'Worker 1 at b:2 (node1) cannot be reached by worker 2 at c:3 (node2) '
      '(no route), and the other direction fails too: ',
      'Worker 2 at c:3 (node2) cannot be reached by worker 1 at b:2 (node1) '
      '(timed out), and the other direction fails too: ']
  assert [sentence[:len(start)] for (sentence, _), start in zip(two, starts)
         ] == starts


def test_connections_that_fail_in_both_directions_for_some():
  first, second = _problems(
      report(0, unreached={2: 'timed out'}),
      report(1, unreached={2: 'timed out'}),
      report(2, unreached={1: 'timed out'}))
  assert first.sentence.startswith(
      'Worker 1 at b:2 (node1) cannot be reached by worker 2 at c:3 (node2) '
      '(timed out), and the other direction fails too: ')
  assert second.sentence.startswith(
      'Worker 2 at c:3 (node2) cannot be reached by workers 0 and 1 (timed '
      'out), and the other direction fails too for worker 1 at b:2 (node1): ')


def test_a_closed_port_explains_why_nobody_comes():
  """It is known by its kind: the same words of another kind explain nothing."""
  words = 'port 3 cannot be opened (Address already in use): stop what uses it.'
  others = [report(0, unreached={2: 'x'}), report(1, unreached={2: 'x'})]
  assert _sentence(*others, report(
      2, problems=(finding(words, reports.PORT_CLOSED),))) == (
          f'Worker 2 at c:3 (node2): {words}')
  way, own = _problems(*others, report(2, problems=(words,)))
  assert way.sentence.startswith('Worker 2 at c:3 (node2) cannot be reached by')
  assert own.sentence == f'Worker 2 at c:3 (node2): {words}'


def test_a_problem_that_several_ranks_have_is_reported_once():
  alike = [report(rank, problems=('Not prepared.',)) for rank in range(3)]
  assert _sentence(*alike) == 'All 3 workers: Not prepared.'
  assert _sentence(*alike[:2]) == 'Workers 0 and 1: Not prepared.'
  assert _sentence(alike[1]) == 'Worker 1 at b:2 (node1): Not prepared.'


def test_a_machine_alone_needs_no_name():
  found = {0: report(0, problems=('Not prepared.',), strategy='mirrored')}
  assert diagnosis.problems((None,), found) == [
      diagnosis.Problem('Not prepared.')]


@pytest.mark.parametrize('fields, words', [
    ({'versions': {**SURVEY['versions'], 'keras': '3.14.0'}},
     'its versions differ from those of workers 0 and 1 (keras 3.14.0 instead '
     'of 3.15.1): install the same versions everywhere.'),
    ({'code': 'ffffffffffff'},
     'its code differs from that of workers 0 and 1 (code ffffffff instead of '
     '01234567): start all workers from the same copy'),
    ({'config': {'seed': '1', 'train_steps': '8'}},
     'its configuration differs from that of workers 0 and 1 (config.seed 1 '
     'instead of 0; config.train_steps 8 instead of 9): start all workers with '
     'the same flags.'),
    ({'config': {'seed': '0'}},
     '(config.train_steps missing instead of 9)'),
    ({'flags': {'jit': 'true'}}, 'its flags differ from those of workers 0 and '
     '1 (--jit true instead of auto): start all workers with'),
    ({'data': {**SURVEY['data'], 'train': 1400}},
     'its data set differs from that of workers 0 and 1 (train 1400 instead of '
     '1437)'),
    ({'data': {**SURVEY['data'], 'digest': 'ee' * 8}},
     '(content eeeeeeee instead of d1d1d1d1): prepare it once'),
    ({'devices': ['CPU'] * 3},  # 48 images on 5 devices: that comes later.
     'its devices differ from those of workers 0 and 1 (devices 3 CPU instead '
     'of 1 CPU): TensorFlow needs the same number and type on each worker'),
    ({'devices': ['A100']}, '(devices 1 GPU instead of 1 CPU)'),
])
def test_what_differs(fields, words):
  sentence = _sentence(report(2, **fields))
  assert sentence.startswith('Worker 2 at c:3 (node2): its ')
  assert words in sentence


def test_the_rank_that_differs_from_most_is_named():
  """Of two, the one that is not the chief."""
  other = {'code': 'ffffffffffff'}
  assert _sentence(report(0, **other)).startswith(
      'Worker 0 at a:1 (node0): its code differs from that of workers 1 and 2 '
      '(')
  assert _sentence(report(1, **other), workers=2).startswith(
      'Worker 1 at b:2 (node1): its code differs from that of worker 0 at a:1 '
      '(node0) (')
  assert _sentence(report(0, **other), workers=2).startswith('Worker 1 at ')
  assert _sentence(
      report(1, **other), report(3, **other), workers=4).startswith(
          'Workers 1 and 3: their code differs from that of workers 0 and 2 (')


def test_other_models_of_gpus_are_a_warning():
  a, b = (report(rank, devices=[kind] * 2)
          for rank, kind in enumerate(('A100', 'V100')))
  assert _problems(a, b, workers=2) == [diagnosis.Problem(
      'Worker 1 at b:2 (node1): its device models differ from those of worker '
      '0 at a:1 (node0) (devices V100, V100 instead of A100, A100): all '
      'workers wait for the slowest one at each step.', fatal=False)]


@pytest.mark.parametrize('batch, workers, allowed', [
    (64, 3, 'give a multiple of 3 such as 63 or 66'),
    (2, 4, 'give a multiple of 4 such as 4,'),
])
def test_batch_that_does_not_divide(batch, workers, allowed):
  sentence = _sentence(*(report(rank, global_batch=batch)
                         for rank in range(workers)), workers=workers)
  assert sentence.startswith(
      f'The value config.global_batch={batch} cannot be shared equally by the '
      f'{workers} devices of all {workers} workers: {allowed}')


def test_batch_that_several_devices_of_a_worker_do_not_divide():
  """64 images on 2 workers of 3 devices each, as 6 x 10 + 4."""
  assert 'such as 60 or 66' in _sentence(
      *(report(rank, devices=['CPU'] * 3, global_batch=64)
        for rank in range(2)), workers=2)
  alone = report(0, devices=['CPU'] * 5)
  assert diagnosis.problems((None,), {0: alone})[0].sentence.startswith(
      'The value config.global_batch=48 cannot be shared equally by the 5 '
      'devices of this machine: give a multiple of 5 such as 45 or 50')


def test_folder_that_is_not_shared():
  blind = report(1, workdir=reports.NOT_SHARED)
  assert _sentence(blind) == (
      'Worker 1 at b:2 (node1) does not see what worker 0 at a:1 (node0) '
      'writes to --workdir=/runs/a: give a folder that all workers share.')
  blind = blind._replace(survey={**SURVEY, 'workdir': '/runs/b'})
  assert _sentence(blind) == (
      'Worker 1 at b:2 (node1) has --workdir=/runs/b, but worker 0 at a:1 '
      '(node0) has --workdir=/runs/a: give a folder that all workers share.')


def test_strategy_for_one_process():
  alone = [report(rank, strategy='mirrored') for rank in range(3)]
  assert _sentence(*alone) == (
      'All 3 workers would train alone, with --strategy=mirrored, in a '
      '--workdir that all share: give --strategy=multi_worker_mirrored to all '
      '3 workers.')
  assert _sentence(alone[2]).startswith('Worker 2 at c:3 (node2) would train a')


def test_what_a_rank_does_not_know_is_not_compared():
  blank = report(1, problems=('Broken.',), survey=None, workdir='')
  assert _sentence(blank) == 'Worker 1 at b:2 (node1): Broken.'
  assert _sentence(report(1, data=None, problems=('No data.',))) == (
      'Worker 1 at b:2 (node1): No data.')
  assert _sentence(report(1, devices=None, problems=('No GPU.',))) == (
      'Worker 1 at b:2 (node1): No GPU.')


@pytest.mark.parametrize('fields', [
    {'survey': None}, {'devices': []}, {'devices': None}, {'data': None}])
def test_a_rank_that_reports_nothing_is_not_well(fields):
  assert _sentence(report(1, **fields)).startswith(
      'Worker 1 at b:2 (node1): it did not report its devices and its data set')


def test_escapes_of_others_do_not_reach_the_terminal():
  evil = report(1, problems=('\x1b[2J\nerror: x.',))._replace(host='\x1b]0;x')
  assert _sentence(evil) == 'Worker 1 at b:2 (?]0;x): ?[2J?error: x.'


def test_a_rank_without_a_verdict_says_why():
  own = report(1)
  sentence = diagnosis.no_verdict(ADDRESSES, own, None, finding('timed out'))
  assert sentence.startswith('Worker 0 at a:1 never answered (timed out), so '
                             'worker 1 has no verdict: ')
  sentence = diagnosis.no_verdict(ADDRESSES, own, report(0), finding('x'))
  assert sentence.startswith(
      'Worker 0 at a:1 (node0) answered at first and then fell silent, so ')
  assert diagnosis.no_verdict(
      ADDRESSES, own, None, finding('x', reports.OTHER_CLUSTER)).startswith(
          'Worker 0 at a:1 was given other addresses than worker 1: ')
