"""What the doctor says of reports written by hand, and who is to blame."""
import json

import pytest

from launch.doctor import diagnosis, reports, table
from launch.doctor.reports import Report

SURVEY = {
    'strategy': 'multi_worker_mirrored', 'flags': {'jit': 'auto'},
    'config': {'seed': '0', 'train_steps': '9'}, 'global_batch': 48,
    'workdir': '/runs/a', 'code': '0123456789ab',
    'versions': {'python': '3.11.7', 'tensorflow': '2.21.0', 'keras': '3.15.1'},
    'devices': ['CPU'],
    'data': {'name': 'digits', 'train': 1437, 'eval': 360, 'digest': 'd1' * 8},
    'problems': []}
_ADDRESSES = ('a:1', 'b:2', 'c:3', 'd:4')


def _report(rank, **fields):
  """Of a rank that found nothing wrong, but for some fields."""
  own = {name: fields.pop(name) for name in list(fields) if name in SURVEY
         and name not in ('workdir', 'problems')}
  workdir = reports.SHARED if rank else reports.WRITABLE
  return Report(rank, f'node{rank}', f'p{rank}', **{
      'final': True, 'survey': {**SURVEY, **own}, 'workdir': workdir, **fields})


def _problems(*changed, workers=3):
  """Of so many workers, some of whose reports are given."""
  found = {rank: _report(rank) for rank in range(workers)}
  found |= {report.rank: report for report in changed}
  return diagnosis.problems(_ADDRESSES[:workers], found)


def _sentence(*changed, workers=3):
  """The only one; it is fatal."""
  (sentence, fatal), = _problems(*changed, workers=workers)
  assert fatal and sentence.endswith('.') and sentence[0].isupper()
  return sentence


@pytest.mark.parametrize('workers', [1, 2, 4])
def test_all_is_well(workers):
  assert _problems(workers=workers) == []


def test_one_that_never_came():
  found = {rank: _report(rank, unreached={1: 'nothing listens there'})
           for rank in (0, 2)}
  (sentence, fatal), = diagnosis.problems(_ADDRESSES[:3], found)
  assert fatal and sentence == (
      'Worker 1 at b:2 never came (nothing listens there): start it, and look '
      'at its log; is its address right?')


def test_one_that_only_others_have_met():
  found = {0: _report(0, unreached={1: 'timed out'}), 2: _report(2)}
  (sentence, _), = diagnosis.problems(_ADDRESSES[:3], found)
  assert sentence == (
      'Worker 1 at b:2 was met by worker 2 at c:3 (node2), but there is no way '
      'between it and worker 0 at a:1 (node0) (timed out): open the ports '
      'between them.')


def test_one_that_fell_silent():
  assert _sentence(_report(2, final=False)).startswith(
      'Worker 2 at c:3 (node2) came, and then fell silent')


def test_one_with_other_addresses():
  found = {0: _report(0, unreached={1: reports.OTHER_CLUSTER})}
  (sentence, _), = diagnosis.problems(_ADDRESSES[:2], found)
  assert sentence == (
      'Worker 1 at b:2 has another list of workers than worker 0: give all the '
      'same addresses in the same order.')


@pytest.mark.parametrize('unreached, words', [
    # {who: {whom: why}}.
    ({0: {2: 'timed out'}},
     'Worker 2 at c:3 (node2) cannot be reached by worker 0 at a:1 (node0) '
     '(timed out), though it can be done the other way round: open its port'),
    ({0: {2: 'timed out'}, 1: {2: 'timed out'}},
     'Worker 2 at c:3 (node2) cannot be reached by workers 0 and 1 (timed out),'
     ' though it can be done'),
])
def test_one_way(unreached, words):
  assert _sentence(*(_report(rank, unreached=ways)
                     for rank, ways in unreached.items())).startswith(words)


def test_no_way():
  two = _problems(_report(1, unreached={2: 'timed out'}),
                  _report(2, unreached={1: 'no route'}))
  starts = [
      'Worker 1 at b:2 (node1) cannot be reached by worker 2 at c:3 (node2) '
      '(no route), nor the other way round: ',
      'Worker 2 at c:3 (node2) cannot be reached by worker 1 at b:2 (node1) '
      '(timed out), nor the other way round: ']
  assert [sentence[:len(start)] for (sentence, _), start in zip(two, starts)
         ] == starts


def test_a_way_for_some():
  first, second = _problems(
      _report(0, unreached={2: 'timed out'}),
      _report(1, unreached={2: 'timed out'}),
      _report(2, unreached={1: 'timed out'}))
  assert first.sentence.startswith(
      'Worker 1 at b:2 (node1) cannot be reached by worker 2 at c:3 (node2) '
      '(timed out), nor the other way round: ')
  assert second.sentence.startswith(
      'Worker 2 at c:3 (node2) cannot be reached by workers 0 and 1 (timed '
      'out), nor, for worker 1 at b:2 (node1), the other way round: ')


def test_a_port_in_use_explains_why_nobody_comes():
  taken = 'port 3 cannot be opened (Address already in use): end what uses it.'
  assert _sentence(
      _report(0, unreached={2: 'x'}), _report(1, unreached={2: 'y'}),
      _report(2, problems=(taken,))) == f'Worker 2 at c:3 (node2): {taken}'


def test_what_ranks_say_themselves_is_said_once():
  alike = [_report(rank, problems=('Not prepared.',)) for rank in range(3)]
  assert _sentence(*alike) == 'All 3 workers: Not prepared.'
  assert _sentence(*alike[:2]) == 'Workers 0 and 1: Not prepared.'
  assert _sentence(alike[1]) == 'Worker 1 at b:2 (node1): Not prepared.'


def test_a_machine_alone_needs_no_name():
  found = {0: _report(0, problems=('Not prepared.',), strategy='mirrored')}
  assert diagnosis.problems((None,), found) == [
      diagnosis.Problem('Not prepared.')]


@pytest.mark.parametrize('fields, words', [
    ({'versions': {**SURVEY['versions'], 'keras': '3.14.0'}},
     'other versions than workers 0 and 1 (keras 3.14.0 where they have '
     '3.15.1): install the same everywhere.'),
    ({'code': 'ffffffffffff'},
     'other code than workers 0 and 1 (code ffffffff where they have 01234567)'
     ': start all from the same copy'),
    ({'config': {'seed': '1', 'train_steps': '8'}},
     'other configuration than workers 0 and 1 (config.seed 1 where they have '
     '0; config.train_steps 8 where they have 9): start all with the same fl'),
    ({'config': {'seed': '0'}},
     '(config.train_steps none where they have 9)'),
    ({'flags': {'jit': 'true'}}, 'other flags than workers 0 and 1 (--jit true '
     'where they have auto): start all with'),
    ({'data': {**SURVEY['data'], 'train': 1400}},
     'other data set than workers 0 and 1 (train 1400 where they have 1437)'),
    ({'data': {**SURVEY['data'], 'digest': 'ee' * 8}},
     '(content eeeeeeee where they have d1d1d1d1): prepare it once'),
    ({'devices': ['CPU'] * 3},  # 48 images on 5 devices: that comes later.
     'other devices than workers 0 and 1 (devices 3 CPU where they have 1 CPU)'
     ': TensorFlow needs as many of one kind for each worker'),
    ({'devices': ['A100']}, '(devices 1 GPU where they have 1 CPU)'),
])
def test_the_odd_one_out(fields, words):
  sentence = _sentence(_report(2, **fields))
  assert sentence.startswith('Worker 2 at c:3 (node2): other ')
  assert words in sentence


def test_who_is_odd():
  """By majority; of two, the chief is right."""
  other = {'code': 'ffffffffffff'}
  assert _sentence(_report(0, **other)).startswith(
      'Worker 0 at a:1 (node0): other code than workers 1 and 2 (')
  assert _sentence(_report(1, **other), workers=2).startswith(
      'Worker 1 at b:2 (node1): other code than worker 0 at a:1 (node0) (')
  assert _sentence(_report(0, **other), workers=2).startswith('Worker 1 at ')
  assert _sentence(_report(1, **other), _report(3, **other),
                   workers=4).startswith('Workers 1 and 3: other code than wor')


def test_kinds_of_gpus_are_no_error():
  a, b = (_report(rank, devices=[kind] * 2)
          for rank, kind in enumerate(('A100', 'V100')))
  assert _problems(a, b, workers=2) == [diagnosis.Problem(
      'Worker 1 at b:2 (node1): other kinds of devices than worker 0 at a:1 '
      '(node0) (devices V100, V100 where they have A100, A100): all wait for '
      'the slowest at each step.', fatal=False)]


@pytest.mark.parametrize('batch, workers, allowed', [
    (64, 3, 'give a multiple of 3 such as 63 or 66'),
    (2, 4, 'give a multiple of 4 such as 4,'),
])
def test_batch_that_does_not_divide(batch, workers, allowed):
  sentence = _sentence(*(_report(rank, global_batch=batch)
                         for rank in range(workers)), workers=workers)
  assert sentence.startswith(
      f'The config.global_batch={batch} cannot be shared by the {workers} '
      f'devices of all {workers} workers: {allowed}')


def test_batch_of_several_devices():
  """64 images on 2 workers of 3 devices each, as 6 x 10 + 4."""
  assert 'such as 60 or 66' in _sentence(
      *(_report(rank, devices=['CPU'] * 3, global_batch=64)
        for rank in range(2)), workers=2)
  report = _report(0, devices=['CPU'] * 5)
  assert diagnosis.problems((None,), {0: report})[0].sentence.startswith(
      'The config.global_batch=48 cannot be shared by the 5 devices of this '
      'machine: give a multiple of 5 such as 45 or 50')


def test_folder_that_is_not_shared():
  blind = _report(1, workdir=reports.NOT_SHARED)
  assert _sentence(blind) == (
      'Worker 1 at b:2 (node1) does not see what worker 0 at a:1 (node0) '
      'writes to --workdir=/runs/a: give a folder that all workers share.')
  blind = blind._replace(survey={**SURVEY, 'workdir': '/runs/b'})
  assert _sentence(blind) == (
      'Worker 1 at b:2 (node1) has --workdir=/runs/b, and not what worker 0 at '
      'a:1 (node0) has, /runs/a: give a folder that all workers share.')


def test_strategy_for_one_process():
  alone = [_report(rank, strategy='mirrored') for rank in range(3)]
  assert _sentence(*alone) == (
      'All 3 workers would train alone, with --strategy=mirrored, in the '
      '--workdir of all: give --strategy=multi_worker_mirrored to all 3 of '
      'them.')
  assert _sentence(alone[2]).startswith('Worker 2 at c:3 (node2) would train a')


def test_nothing_is_said_of_what_is_not_known():
  blank = _report(1)._replace(survey=None, problems=('Broken.',), workdir='')
  assert _sentence(blank) == 'Worker 1 at b:2 (node1): Broken.'
  assert _sentence(_report(1, data=None, problems=('No data.',))) == (
      'Worker 1 at b:2 (node1): No data.')
  assert _sentence(_report(1, devices=None, problems=('No GPU.',))) == (
      'Worker 1 at b:2 (node1): No GPU.')


@pytest.mark.parametrize('fields', [
    {'survey': None}, {'devices': []}, {'devices': None}, {'data': None}])
def test_nobody_is_well_who_says_nothing(fields):
  assert 'it does not say which devices' in _sentence(_report(1, **fields))


def test_escapes_of_others_do_not_reach_the_terminal():
  evil = _report(1, problems=('\x1b[2J\nerror: x.',))._replace(host='\x1b]0;x')
  assert _sentence(evil) == 'Worker 1 at b:2 (?]0;x): ?[2J?error: x.'
  text = table.table(_ADDRESSES[:2], {0: _report(0), 1: evil})
  assert '\x1b' not in ''.join(text)


def test_no_verdict():
  sentence = diagnosis.no_verdict(_ADDRESSES, _report(1), None, 'timed out')
  assert sentence.startswith('Worker 0 at a:1 never came (timed out), and '
                             'worker 1 has no verdict: ')
  sentence = diagnosis.no_verdict(_ADDRESSES, _report(1), _report(0), 'x')
  assert sentence.startswith('Worker 0 at a:1 (node0) came, and then fell sil')
  assert diagnosis.no_verdict(
      _ADDRESSES, _report(1), None, reports.OTHER_CLUSTER).startswith(
          'Worker 0 at a:1 has another list of workers than worker 1: ')


def test_table():
  gpus = ['A100'] * 8
  found = {0: _report(0, devices=gpus, unreached={1: 'x', 2: 'y'}),
           1: _report(1, devices=gpus[1:] + ['V100'], unreached={2: 'y'})}
  assert table.table(_ADDRESSES[:3], found) == [
      'rank  host   address  reached by  devices         python  tensorflow  '
      'keras   code      data set                  workdir',
      '0     node0  a:1      all         8 A100          3.11.7  2.21.0      '
      '3.15.1  01234567  digits 1437+360 (d1d1d1)  writable',
      '1     node1  b:2      not 0       7 A100, 1 V100  3.11.7  2.21.0      '
      '3.15.1  01234567  digits 1437+360 (d1d1d1)  shared',
      '2     -      c:3      not 0, 1    -               -       -           '
      '-       -         -                         -']


def test_nobody_reaches_one_that_is_alone():
  for addresses in (('a:1',), (None,)):
    row = table.table(addresses, {0: _report(0)})[1]
    assert row.split()[2:4] == [addresses[0] or '-', '-']


def test_conclusion():
  found = {rank: _report(rank, devices=['A100'] * 4) for rank in range(2)}
  assert table.conclusion(_ADDRESSES[:2], found) == (
      'All is well: 2 workers, 8 devices, 6 images each a step.')
  assert table.conclusion((None,), {0: _report(0)}) == (
      'All is well: 1 worker, 1 device, 48 images each a step.')


def test_messages_cross_the_network():
  report = _report(3, unreached={0: 'x', 12: 'y'}, problems=('a', 'b'))
  for message in (reports.Message('c', report, 2), reports.Message('c')):
    line = reports.encode(message)
    assert line.endswith(b'\n') and line.count(b'\n') == 1
    assert reports.decode(line) == message


def _changed(path, value):
  """A message in which one value is another."""
  values = json.loads(reports.encode(reports.Message('c', _report(0), 0)))
  *path, last = path
  holder = values
  for name in path:
    holder = holder[name]
  holder[last] = value
  return json.dumps(values).encode()


@pytest.mark.parametrize('line, words', [
    (b'', 'is closed there'), (b'\n', 'another program'),
    (b'GET / HTTP/1.1\r\n', 'another program'), (b'\xff\xfe', 'another prog'),
    (b'[' * 100_000, 'another program'), (b'{"protocol": 1}', 'another prog'),
    (b'9' * 100_000, 'another program'), (b'[]', 'another program'),
    (_changed(['protocol'], 'resnet-doctor/0'), 'another version'),
    (_changed(['verdict'], '0'), 'makes no sense'),
    (_changed(['verdict'], True), 'makes no sense'),
    (_changed(['cluster'], None), 'makes no sense'),
    (_changed(['report', 'rank'], '0'), 'makes no sense'),
    (_changed(['report', 'rank'], 0.5), 'makes no sense'),
    (_changed(['report', 'surplus'], 0), 'makes no sense'),
    (_changed(['report', 'unreached'], []), 'makes no sense'),
    (_changed(['report', 'unreached'], {'0': 1}), 'makes no sense'),
    (_changed(['report', 'problems'], 'x'), 'makes no sense'),
    (_changed(['report', 'problems'], [1]), 'makes no sense'),
    (_changed(['report', 'survey', 'devices'], [None]), 'makes no sense'),
    (_changed(['report', 'survey', 'versions'], None), 'makes no sense'),
    (_changed(['report', 'survey', 'data', 'train'], None), 'makes no sense'),
    (_changed(['report', 'survey'], {}), 'makes no sense'),
])
def test_strangers(line, words):
  with pytest.raises(reports.Stranger, match=words):
    reports.decode(line)


def test_strange_ranks_are_left_out():
  line = _changed(['report', 'unreached'],
                  {'1': 'a', '-1': 'b', 'x': 'c', '²': 'd', '9' * 5000: 'e'})
  assert reports.decode(line).report.unreached == {1: 'a'}


def test_long_problems_are_cut():
  line = reports.encode(reports.Message(
      'c', _report(0, problems=('x' * 10**6,))))
  assert len(line) < 5000


def test_surveys():
  line = json.dumps(SURVEY).encode()
  assert reports.read_survey(line) == SURVEY
  assert reports.read_survey(b'') is None
  assert reports.read_survey(json.dumps({**SURVEY, 'code': 1}).encode()) is None
