"""The tasks of a Slurm step, as its environment describes them.

  addresses, rank = tasks(os.environ)

Tasks are numbered as srun does with --distribution=block: all of the first
node, then all of the second. Nodes keep the order in which Slurm lists them,
which is not that of their names (n9 stands before n10).
"""
import itertools
import re

from configs.process.errors import UserError
from launch.cluster import read_environ

SIGN = 'SLURM_STEP_NODELIST'  # Set in steps alone.
_LAUNCH = 'launch with srun --distribution=block'
# Each job has 16 ports of its own, below those that Linux gives to whoever
# connects (32768 and above): two jobs that share a node seldom collide.
_FIRST_PORT = 20000
_PORTS_PER_JOB = 16
_PORTS = 9984
_END_PORT = 65536
_RANGE = re.compile(r'(\d+)(?:-(\d+))?')


def tasks(environ, port=0):
  """The addresses of a step's tasks, and the rank of this one.

  Args:
    environ: {name: text} of a task.
    port: of the first task of each node, the next has the next; 0: one of
      those that Slurm has reserved, or else one that the job's number gives.

  Returns:
    (('host:port', ...) in rank order, rank).

  Raises:
    UserError: it is not the environment of a task, or tasks are laid out in
      another way.
  """
  hosts = _hosts(read_environ.text(environ, SIGN, _LAUNCH))
  counts = _counts(
      read_environ.text(environ, 'SLURM_STEP_TASKS_PER_NODE', _LAUNCH))
  if len(counts) != len(hosts):
    raise UserError(
        f'SLURM_STEP_TASKS_PER_NODE={environ["SLURM_STEP_TASKS_PER_NODE"]} is '
        f'for {len(counts)} nodes, and {SIGN}={environ[SIGN]} has '
        f'{len(hosts)}: {_LAUNCH}.')
  layout = [(node, local) for node, count in enumerate(counts)
            for local in range(count)]
  rank = read_environ.whole_number(environ, 'SLURM_PROCID', _LAUNCH, len(layout))
  _check_layout(environ, layout, rank)
  ports = _ports(environ, max(counts), port)
  return tuple(f'{hosts[node]}:{ports[local]}' for node, local in layout), rank


def _check_layout(environ, layout, rank):
  asked = environ.get('SLURM_DISTRIBUTION', 'block')
  several = layout[-1][0] and any(local for _, local in layout)
  # Some tasks have the same place in other layouts; they too should end.
  if several and not asked.startswith('block'):
    raise UserError(f'Slurm has put tasks on nodes by --distribution={asked}: '
                    f'{_LAUNCH}.')
  node, local = (read_environ.whole_number(environ, name, _LAUNCH)
                 for name in ('SLURM_NODEID', 'SLURM_LOCALID'))
  if layout[rank] != (node, local):
    raise UserError(
        f'Slurm has put task {rank} in place {local} of node {node}, and block '
        f'by block it would be in place {layout[rank][1]} of node '
        f'{layout[rank][0]}: {_LAUNCH}.')


def _ports(environ, count, port):
  """Ports of the tasks of a node, the same on all nodes."""
  reserved = environ.get('SLURM_STEP_RESV_PORTS')
  if reserved and not port:
    ports = [int(one) for one in _numbers(reserved, 'SLURM_STEP_RESV_PORTS')]
    if len(ports) < count:
      raise UserError(
          f'SLURM_STEP_RESV_PORTS={reserved} has {len(ports)} ports, and a '
          f'node has {count} tasks: give srun --resv-ports={count}.')
    return ports
  if not port:
    job = read_environ.whole_number(environ, 'SLURM_JOB_ID', _LAUNCH)
    port = _FIRST_PORT + job * _PORTS_PER_JOB % _PORTS
  if port + count > _END_PORT:
    raise UserError(f'--worker_port={port} leaves too few ports for {count} '
                    f'tasks on a node: give {_END_PORT - count} at most.')
  return range(port, port + count)


def _counts(text):
  """Tasks of each node: [2, 2, 1] of '2(x2),1'."""
  counts = []
  for part in text.split(','):
    matched = re.fullmatch(r'(\d+)(?:\(x(\d+)\))?', part)
    if not matched:
      raise UserError(f'SLURM_STEP_TASKS_PER_NODE={text} cannot be read at '
                      f'{part!r}: {_LAUNCH}.')
    counts += [int(matched[1])] * int(matched[2] or 1)
  return counts


def _hosts(text):
  """Names of a host list, 'n[01-02,7],r[1-2]n[1-3]', in its order."""
  hosts = []
  # Commas between brackets do not part names.
  for name in re.split(r',(?![^\[\]]*\])', text):
    parts = re.fullmatch(r'((?:[^\[\],]|\[[^\[\]]+\])+)', name)
    if not parts:
      raise _unreadable(text, name)
    pieces = re.findall(r'\[([^\[\]]+)\]|([^\[\]]+)', name)
    hosts += map(''.join, itertools.product(*(
        _numbers(numbers, SIGN) if numbers else [plain]
        for numbers, plain in pieces)))
  return hosts


def _numbers(text, variable):
  """Numbers as texts, ['01', '02', '7'] of '01-02,7'."""
  numbers = []
  for part in text.split(','):
    matched = _RANGE.fullmatch(part)
    if not matched:
      raise _unreadable(text, part, variable)
    first, last = matched[1], matched[2] or matched[1]
    numbers += [str(number).zfill(len(first))
                for number in range(int(first), int(last) + 1)]
  return numbers


def _unreadable(text, part, variable=SIGN):
  return UserError(f'{variable}={text} cannot be read at {part!r}: give the '
                   "workers' addresses by --worker_addresses instead.")
