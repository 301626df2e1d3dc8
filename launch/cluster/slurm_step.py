"""The tasks of a Slurm step, as its environment describes them.

  addresses, rank = tasks(os.environ)

Tasks are numbered as srun does with --distribution=block: all tasks of the
first node, then all of the second. Nodes keep the order in which Slurm lists
them, which is not alphabetical (n9 comes before n10).
"""
from collections.abc import Mapping, Sequence
import itertools
import math
import re

from configs.process import whole_number
from configs.process.errors import UserError
from launch.cluster import contract, read_environ

SIGN = 'SLURM_STEP_NODELIST'  # Set in steps alone.
_TASKS = 'SLURM_STEP_TASKS_PER_NODE'
_RESERVED = 'SLURM_STEP_RESV_PORTS'
_LAUNCH = 'launch with srun --distribution=block'
# Each job has its own ports, so that two jobs that share a node rarely collide.
_PORTS_PER_JOB = 16
_PORTS = 9984
_END_PORT = 65536
_MOST_DIGITS = 18  # Of a number in a name; zeros in front of it count.
_RANGE = re.compile(r'([0-9]+)(?:-([0-9]+))?')
_COUNT = re.compile(r'([0-9]+)(?:\(x([0-9]+)\))?')


def tasks(environ: Mapping[str, str],
          port: int = 0) -> tuple[tuple[str, ...], int]:
  """Returns the addresses of a step's tasks, and the rank of this one.

  Args:
    environ: {name: text} of a task.
    port: of the first task of each node; each further task of a node has the
      next port. 0: the ports that Slurm reserved, or else ports derived from
      the job's number.

  Returns:
    (('host:port', ...) in rank order, rank).

  Raises:
    UserError: the environment is not that of a task, or the tasks are not laid
      out block by block.
  """
  hosts = _hosts(read_environ.text(environ, SIGN, _LAUNCH))
  counts = _counts(read_environ.text(environ, _TASKS, _LAUNCH))
  if len(counts) != len(hosts):
    raise UserError(
        f'{_TASKS}={environ[_TASKS]} describes {len(counts)} nodes, but '
        f'{SIGN}={environ[SIGN]} lists {len(hosts)}: {_LAUNCH}.')
  layout = [(node, local) for node, count in enumerate(counts)
            for local in range(count)]
  rank = read_environ.whole_number(
      environ, 'SLURM_PROCID', _LAUNCH, len(layout))
  _check_layout(environ, layout, rank)
  ports = _ports(environ, max(counts), port)
  return tuple(f'{hosts[node]}:{ports[local]}' for node, local in layout), rank


def _check_layout(environ, layout, rank):
  """Raises UserError if Slurm placed tasks in another way than block by block.

  Args:
    environ: {name: text} of a task.
    layout: [(node, place within the node), ...] in rank order, as expected.
    rank: of the task.
  """
  asked = environ.get('SLURM_DISTRIBUTION', 'block')
  several = layout[-1][0] and any(local for _, local in layout)
  # Some tasks have the same place in both layouts; they must end too.
  if several and not asked.startswith('block'):
    raise UserError(
        f'Slurm placed the tasks with --distribution={asked}: {_LAUNCH}.')
  node, local = (read_environ.whole_number(environ, name, _LAUNCH)
                 for name in ('SLURM_NODEID', 'SLURM_LOCALID'))
  if layout[rank] != (node, local):
    raise UserError(
        f'Slurm placed task {rank} at position {local} of node {node}, but '
        f'block by block it would be at position {layout[rank][1]} of node '
        f'{layout[rank][0]}: {_LAUNCH}.')


def _ports(environ, count: int, port: int) -> Sequence[int]:
  """Returns the ports of a node's tasks, the same on all nodes."""
  reserved = environ.get(_RESERVED)
  if reserved and not port:
    ports = [int(one) for one in _Numbers(reserved, _RESERVED, reserved).all()]
    if len(ports) < count:
      raise UserError(
          f'{_RESERVED}={reserved} has {len(ports)} ports, but a node runs '
          f'{count} tasks: give srun --resv-ports={count}.')
    return ports
  if not port:
    job = read_environ.whole_number(environ, 'SLURM_JOB_ID', _LAUNCH)
    port = contract.FIRST_FREE_PORT + job * _PORTS_PER_JOB % _PORTS
  if port + count > _END_PORT:
    raise UserError(f'--worker_port={port} leaves too few ports for the '
                    f'{count} tasks of a node: give at most '
                    f'{_END_PORT - count}.')
  return range(port, port + count)


def _counts(text: str) -> list[int]:
  """Returns the tasks of each node: [2, 2, 1] for '2(x2),1'."""
  parts = []
  for part in text.split(','):
    matched = _COUNT.fullmatch(part)
    tasks, nodes = map(_number, matched.groups('1')) if matched else (None,) * 2
    if not tasks or not nodes:
      raise UserError(
          f'{_TASKS}={text} cannot be parsed at {part!r}: {_LAUNCH}.')
    parts.append((tasks, nodes))
  read_environ.check_count(
      sum(tasks * nodes for tasks, nodes in parts), _TASKS, text, _LAUNCH)
  return [tasks for tasks, nodes in parts for _ in range(nodes)]


def _hosts(text: str) -> list[str]:
  """Returns the names in a host list, 'n[01-02,7],r[1-2]n[1-3]', in order."""
  names = []
  # Commas inside brackets do not separate names.
  marked = re.sub(r'\[[^\[\]]*\]', lambda m: m[0].replace(',', '\0'), text)
  for name in marked.split(','):
    name = name.replace('\0', ',')
    parts = re.fullmatch(r'((?:[^\[\],]|\[[^\[\]]+\])+)', name)
    if not parts:
      raise _unreadable(text, name)
    pieces = re.findall(r'\[([^\[\]]+)\]|([^\[\]]+)', name)
    names.append([_Numbers(numbers, SIGN, text) if numbers else plain
                  for numbers, plain in pieces])
  read_environ.check_count(
      sum(math.prod(piece.count for piece in pieces
                    if isinstance(piece, _Numbers)) for pieces in names),
      SIGN, text, _LAUNCH)
  return [''.join(parts) for pieces in names for parts in itertools.product(*(
      piece.all() if isinstance(piece, _Numbers) else [piece]
      for piece in pieces))]


class _Numbers:
  """The numbers in a list of ranges: 01, 02 and 7 for '01-02,7'.

  Attributes:
    count: how many they are; at most MOST_WORKERS.
  """

  def __init__(self, text: str, variable: str, value: str):
    """Reads the ranges.

    Args:
      text: the list.
      variable: the one that holds it, for the error.
      value: that of the variable.
    """
    self._ranges = []
    for part in text.split(','):
      matched = _RANGE.fullmatch(part)
      first, last = (map(_number, (matched[1], matched[2] or matched[1]))
                     if matched else (None, None))
      if not matched or first is None or last is None or last < first:
        raise _unreadable(value, part, variable)
      self._ranges.append((first, last, len(matched[1])))
    self.count = sum(last - first + 1 for first, last, _ in self._ranges)
    read_environ.check_count(self.count, variable, value, _LAUNCH)

  def all(self) -> list[str]:
    """Returns all of them, padded with zeros as in the text."""
    return [str(number).zfill(width) for first, last, width in self._ranges
            for number in range(first, last + 1)]


def _number(digits: str) -> int | None:
  """Returns a number of a host list; None if it has too many digits."""
  return whole_number.parse(digits) if len(digits) <= _MOST_DIGITS else None


def _unreadable(text, part, variable=SIGN):
  return UserError(f'{variable}={text} cannot be parsed at {part!r}: give the '
                   "workers' addresses with --worker_addresses instead.")
