"""The processes of a job: their addresses, in rank order, and which is this.

  cluster = from_tf_config(os.environ['TF_CONFIG'])
"""
import collections
import json
from typing import NamedTuple

from configs.errors import UserError

_EXAMPLE = ('{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": '
            '{"type": "worker", "index": 0}}')


class Cluster(NamedTuple):
  """Rank 0 is the chief: it alone writes."""
  addresses: tuple  # 'host:port' of each worker.
  rank: int

  @property
  def address(self):
    """Of this process."""
    return self.addresses[self.rank]


def from_tf_config(text):
  """Reads TF_CONFIG, TensorFlow's description of a cluster.

  A task of type chief, if there is one, has rank 0, and the workers follow.

  Args:
    text: JSON, {'cluster': {'worker': ['host:port', ...]}, 'task': {'type':
      'worker', 'index': 0}}.

  Returns:
    Cluster.

  Raises:
    UserError: it is not that, or describes tasks that do not train together.
  """
  try:
    values = json.loads(text)
  except ValueError as error:
    raise _refused(f'is not JSON ({error})') from error
  jobs, task = _groups(values)
  addresses = _addresses(jobs)
  kind, index = task.get('type'), task.get('index')
  if kind not in jobs:
    raise _refused(f'has the task type {kind!r}',
                   f'give one of its cluster, {", ".join(sorted(jobs))}')
  if not isinstance(index, int) or isinstance(index, bool):
    raise _refused(f'has the task index {index!r}', 'give a whole number')
  if not 0 <= index < len(jobs[kind]):
    raise _refused(f'has the task index {index}, and {len(jobs[kind])} tasks '
                   f'of type {kind}', f'give 0 to {len(jobs[kind]) - 1}')
  first = len(jobs.get('chief', ())) if kind == 'worker' else 0
  return Cluster(addresses, first + index)


def _groups(values):
  """(cluster, task), two dicts."""
  groups = []
  for name in ('cluster', 'task'):
    group = values.get(name) if isinstance(values, dict) else None
    if not isinstance(group, dict):
      raise _refused(f'has no object {name!r}')
    groups.append(group)
  return groups


def _addresses(jobs):
  """Addresses of all tasks in rank order."""
  strange = sorted(set(jobs) - {'chief', 'worker'})
  if strange:
    raise _refused(
        f'has tasks of type {", ".join(strange)} in its cluster',
        'leave in chief and worker alone: every worker evaluates its share')
  for name, tasks in jobs.items():
    if not isinstance(tasks, list) or not all(map(_is_address, tasks)):
      raise _refused(f'has {tasks!r} as its {name}',
                     'give a list of "host:port"')
  addresses = (*jobs.get('chief', ()), *jobs.get('worker', ()))
  if not addresses:
    raise _refused('has an empty cluster')
  if len(jobs.get('chief', ())) > 1:
    raise _refused(f'has {len(jobs["chief"])} tasks of type chief', 'give one')
  twice = [a for a, n in collections.Counter(addresses).items() if n > 1]
  if twice:
    raise _refused(f'has the address {twice[0]} twice',
                   'give each worker a port of its own')
  return addresses


def _is_address(address):
  host, colon, port = (
      address.rpartition(':') if isinstance(address, str) else ('', '', ''))
  return bool(host and colon) and port.isdigit() and 0 < int(port) < 65536


def _refused(what, remedy=f'give it as in {_EXAMPLE}'):
  return UserError(f'TF_CONFIG {what}: {remedy}.')
