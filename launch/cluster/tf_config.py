"""Reads TF_CONFIG, TensorFlow's own description of a cluster.

  addresses, rank = read(os.environ['TF_CONFIG'])

It is JSON: {"cluster": {"worker": ["host:port", ...]}, "task": {"type":
"worker", "index": 0}}. A cluster may also have one task of type chief: it has
rank 0, and the workers follow.
"""
from collections.abc import Mapping, Sequence
import json

from configs.process.errors import UserError
from launch.cluster import addresses

VARIABLE = 'TF_CONFIG'
_EXAMPLE = ('{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": '
            '{"type": "worker", "index": 0}}')


def read(text: str) -> tuple[tuple[str, ...], int]:
  """Returns the addresses of all workers in rank order, and the rank of this.

  Args:
    text: the value of TF_CONFIG.

  Raises:
    UserError: it is not as described above, or it has tasks that do not train
      together, such as evaluators.
  """
  try:
    values = json.loads(text)
  except RecursionError as error:
    raise _refused('is nested too deeply') from error
  except ValueError as error:
    raise _refused(f'is not JSON ({error})') from error
  jobs, task = _object(values, 'cluster'), _object(values, 'task')
  found = _addresses(jobs)
  kind, index = task.get('type'), task.get('index')
  if not isinstance(kind, str) or kind not in jobs:
    raise _refused(f'has the task type {kind!r}, which is not in its cluster',
                   f'use {" or ".join(sorted(jobs))}')
  if not isinstance(index, int) or isinstance(index, bool):
    raise _refused(f'has the task index {index!r}', 'use a whole number')
  if not 0 <= index < len(jobs[kind]):
    raise _refused(
        f'has the task index {index}, which is out of range for {kind}',
        f'use 0 to {len(jobs[kind]) - 1}')
  first = len(jobs.get('chief', ())) if kind == 'worker' else 0
  return found, first + index


def _object(values: object, name: str) -> dict:
  found = values.get(name) if isinstance(values, dict) else None
  if not isinstance(found, dict):
    raise _refused(f'has no object {name!r}')
  return found


def _addresses(jobs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
  """Returns the addresses of all tasks in rank order."""
  strange = sorted(set(jobs) - {'chief', 'worker'})
  if strange:
    raise _refused(
        f'has tasks of type {", ".join(strange)} in its cluster',
        'list only chief and worker, since every worker evaluates its share')
  for name, tasks in jobs.items():
    if not isinstance(tasks, list) or not all(map(addresses.is_valid, tasks)):
      raise _refused(f'has {tasks!r} as its {name}',
                     'use a list of "host:port"')
  found = (*jobs.get('chief', ()), *jobs.get('worker', ()))
  if not found:
    raise _refused('has an empty cluster')
  if len(jobs.get('chief', ())) > 1:
    raise _refused(f'has {len(jobs["chief"])} tasks of type chief', 'use one')
  twice = addresses.duplicate(found)
  if twice:
    raise _refused(f'has the address {twice} twice',
                   'give each task its own address')
  return found


def _refused(what, remedy=f'set it as in {_EXAMPLE}'):
  return UserError(f'{VARIABLE} {what}: {remedy}.')
