"""Reports cross the network, and nothing else is taken for one."""
import json

import pytest

from launch.doctor import reports
from launch.doctor.reports import Finding
from tests.launch.doctor_samples import report, SURVEY


def test_messages_cross_the_network():
  full = report(3, unreached={0: 'x', 12: Finding(reports.OTHER_CLUSTER, 'y')},
                problems=('a', Finding(reports.PORT_CLOSED, 'b')))
  for message in (reports.Message('c', full, 2), reports.Message('c')):
    line = reports.encode(message)
    assert line.endswith(b'\n') and line.count(b'\n') == 1
    assert reports.decode(line) == message


def _changed(path, value):
  """Returns a message in which one value is another."""
  values = json.loads(reports.encode(reports.Message('c', report(0), 0)))
  *path, last = path
  holder = values
  for name in path:
    holder = holder[name]
  holder[last] = value
  return json.dumps(values).encode()


_FOUND = {'kind': 'other', 'text': 'x'}


@pytest.mark.parametrize('line, words', [
    (b'', 'was closed without'), (b'\n', 'another program'),
    (b'GET / HTTP/1.1\r\n', 'another program'), (b'\xff\xfe', 'another prog'),
    (b'[' * 100_000, 'another program'), (b'{"protocol": 1}', 'another prog'),
    (b'9' * 100_000, 'another program'), (b'[]', 'another program'),
    (_changed(['protocol'], 'resnet-doctor/0'), 'another version'),
    (_changed(['protocol'], 'resnet-doctor/1'), 'another version'),
    (_changed(['verdict'], '0'), 'malformed'),
    (_changed(['verdict'], True), 'malformed'),
    (_changed(['cluster'], None), 'malformed'),
    (_changed(['report', 'rank'], '0'), 'malformed'),
    (_changed(['report', 'rank'], 0.5), 'malformed'),
    (_changed(['report', 'surplus'], 0), 'malformed'),
    (_changed(['report', 'unreached'], []), 'malformed'),
    (_changed(['report', 'unreached'], {'0': 1}), 'malformed'),
    (_changed(['report', 'unreached'], {'0': 'x'}), 'malformed'),
    (_changed(['report', 'unreached'], {'0': {'kind': 'other'}}), 'malformed'),
    (_changed(['report', 'problems'], 'x'), 'malformed'),
    (_changed(['report', 'problems'], [1]), 'malformed'),
    (_changed(['report', 'problems'], ['x']), 'malformed'),
    (_changed(['report', 'problems'], [['other', 'x']]), 'malformed'),
    (_changed(['report', 'problems'], [{**_FOUND, 'kind': 'x'}]), 'malformed'),
    (_changed(['report', 'problems'], [{**_FOUND, 'kind': []}]), 'malformed'),
    (_changed(['report', 'problems'], [{**_FOUND, 'text': 1}]), 'malformed'),
    (_changed(['report', 'problems'], [{**_FOUND, 'surplus': 1}]), 'malformed'),
    (_changed(['report', 'survey', 'devices'], [None]), 'malformed'),
    (_changed(['report', 'survey', 'versions'], None), 'malformed'),
    (_changed(['report', 'survey', 'data', 'train'], None), 'malformed'),
    (_changed(['report', 'survey'], {}), 'malformed'),
])
def test_what_is_not_a_message_is_refused(line, words):
  with pytest.raises(reports.Stranger, match=words):
    reports.decode(line)


def test_strange_ranks_are_left_out():
  ranks = {'1': 'a', '-1': 'b', 'x': 'c', '²': 'd', '9' * 5000: 'e'}
  line = _changed(['report', 'unreached'], {
      rank: {**_FOUND, 'text': text} for rank, text in ranks.items()})
  assert reports.decode(line).report.unreached == {
      1: Finding(reports.OTHER, 'a')}


def test_long_texts_are_cut():
  line = reports.encode(reports.Message('c', report(
      0, problems=('x' * 10**6,), unreached={1: 'y' * 10**6})))
  assert len(line) < 5000


def test_only_a_survey_is_read_as_one():
  line = json.dumps(SURVEY).encode()
  assert reports.read_survey(line) == SURVEY
  assert reports.read_survey(b'') is None
  assert reports.read_survey(json.dumps({**SURVEY, 'code': 1}).encode()) is None
