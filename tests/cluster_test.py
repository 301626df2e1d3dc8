"""TF_CONFIG: ranks in order, and every mistake in one sentence."""
import json

import pytest

from configs.errors import UserError
from launch import cluster


def _config(jobs, kind='worker', index=0):
  return json.dumps({'cluster': jobs, 'task': {'type': kind, 'index': index}})


@pytest.mark.parametrize('jobs, kind, index, addresses, rank', [
    ({'worker': ['a:1', 'b:1', 'c:1']}, 'worker', 2, ('a:1', 'b:1', 'c:1'), 2),
    ({'worker': ['a:1']}, 'worker', 0, ('a:1',), 0),
    ({'worker': ['b:1', 'c:2'], 'chief': ['a:1']}, 'chief', 0,
     ('a:1', 'b:1', 'c:2'), 0),
    ({'worker': ['b:1', 'c:2'], 'chief': ['a:1']}, 'worker', 1,
     ('a:1', 'b:1', 'c:2'), 2),
    ({'worker': ['[::1]:80', '10.0.0.2:65535']}, 'worker', 1,
     ('[::1]:80', '10.0.0.2:65535'), 1),
])
def test_ranks(jobs, kind, index, addresses, rank):
  found = cluster.from_tf_config(_config(jobs, kind, index))
  assert found == cluster.Cluster(addresses, rank)
  assert found.address == addresses[rank]


_TWO = {'worker': ['a:1', 'b:1']}


@pytest.mark.parametrize('text, words', [
    ('', 'is not JSON'),
    ('{"cluster": ', 'is not JSON'),
    ('[]', "has no object 'cluster'"),
    ('{"cluster": {}}', "has no object 'task'"),
    ('{"cluster": ["a:1"], "task": {}}', "has no object 'cluster'"),
    (_config({}), 'has an empty cluster'),
    (_config({'worker': []}), 'has an empty cluster'),
    (_config({'worker': 'a:1'}), "has 'a:1' as its worker: give a list of"),
    (_config({'worker': ['a']}), "has ['a'] as its worker"),
    (_config({'worker': [':1']}), "has [':1'] as its worker"),
    (_config({'worker': ['a:0']}), "has ['a:0'] as its worker"),
    (_config({'worker': ['a:65536']}), 'as its worker'),
    (_config({'worker': [1]}), 'has [1] as its worker'),
    (_config({'worker': ['a:1', 'b:1', 'a:1']}), 'has the address a:1 twice'),
    (_config({'worker': ['a:1'], 'chief': ['a:1']}),
     'has the address a:1 twice'),
    (_config({'worker': ['a:1'], 'chief': ['b:1', 'c:1']}),
     'has 2 tasks of type chief: give one'),
    (_config({**_TWO, 'evaluator': ['e:1']}),
     'has tasks of type evaluator in its cluster: leave in chief and worker'),
    (_config({**_TWO, 'ps': ['e:1']}), 'has tasks of type ps'),
    (_config(_TWO, 'chief'), "has the task type 'chief': give one of its"),
    (_config(_TWO, 'worker', 2),
     'has the task index 2, and 2 tasks of type worker: give 0 to 1'),
    (_config(_TWO, 'worker', -1), 'has the task index -1'),
    (_config(_TWO, 'worker', '0'), "has the task index '0': give a whole"),
    (_config(_TWO, 'worker', True), 'has the task index True'),
    (_config(_TWO, 'worker', None), 'has the task index None'),
])
def test_mistakes(text, words):
  with pytest.raises(UserError) as raised:
    cluster.from_tf_config(text)
  assert str(raised.value).startswith('TF_CONFIG ')
  assert words in str(raised.value) and str(raised.value).endswith('.')
