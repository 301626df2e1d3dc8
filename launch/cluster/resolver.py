"""The processes of a job: their addresses, in rank order, and which is this.

  cluster = from_environment(os.environ)

What is found first counts: 1. addresses that the user gives  2. TF_CONFIG  3. a
Slurm step  4. the pods of a Kubernetes Job  5. SageMaker  6. SkyPilot. Open
MPI says which process this is, but not where the others are: it needs 1.
"""
import collections
import json
from typing import NamedTuple

from configs.process.errors import UserError
from launch.cluster import platforms, read_environ, slurm_step

_EXAMPLE = ('{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": '
            '{"type": "worker", "index": 0}}')
_PLATFORMS = {  # By the variable that is a platform's sign, in this order.
    slurm_step.SIGN: slurm_step.tasks,
    platforms.KUBERNETES_SIGN: platforms.kubernetes,
    platforms.SAGEMAKER_SIGN: platforms.sagemaker,
    platforms.SKYPILOT_SIGN: platforms.skypilot,
}
# Names of these resolve only once their machines have started.
_LATE = (platforms.KUBERNETES_SIGN, 'KUBERNETES_SERVICE_HOST',
         platforms.SAGEMAKER_SIGN)
_OPEN_MPI = 'OMPI_COMM_WORLD_RANK'


class NoCluster(UserError):
  """Nothing says that there are other processes."""


class Cluster(NamedTuple):
  """Rank 0 is the chief: it alone writes."""
  addresses: tuple  # 'host:port' of each worker.
  rank: int
  names_come_late: bool = False  # Hosts may not resolve yet: wait for them.

  @property
  def address(self):
    """Of this process."""
    return self.addresses[self.rank]


def from_environment(environ, addresses=(), rank=None, port=0):
  """Finds out which processes train together, and which of them this is.

  Args:
    environ: {name: text}, as os.environ.
    addresses: 'host:port' of each worker, by flag; none: as environ says.
    rank: of this process among them, by flag; None: as Open MPI says.
    port: of workers whose platform gives hosts alone, the first of a host if
      it has several; 0: chosen by rule, the same on all hosts.

  Returns:
    Cluster.

  Raises:
    NoCluster: environ says nothing.
    UserError: it says something wrong.
  """
  late = any(name in environ for name in _LATE)
  if addresses or rank is not None:
    return _given(tuple(addresses), rank, environ)._replace(
        names_come_late=late)
  if environ.get('TF_CONFIG'):
    return from_tf_config(environ['TF_CONFIG'])._replace(names_come_late=late)
  if _OPEN_MPI in environ:  # In a Slurm step as well: mpirun starts its own.
    raise UserError(
        'Open MPI does not say where its processes are: give '
        '--worker_addresses=HOST:PORT,..., one for each in the order of their '
        'ranks.')
  for sign, derive in _PLATFORMS.items():
    if sign in environ:
      found, rank = derive(environ, port)
      _check(found, sign, environ[sign])
      return Cluster(found, rank, late)
  raise NoCluster(
      'No addresses of workers were found in --worker_addresses, TF_CONFIG, '
      f'{", ".join(_PLATFORMS)}: start with srun (in a Slurm job) or python -m '
      'launch.local, set TF_CONFIG for each worker, or give '
      '--strategy=mirrored.')


def _given(addresses, rank, environ):
  """Cluster of what the flags say."""
  given = ','.join(addresses)
  if not addresses:
    raise UserError(f'--worker_rank={rank} needs --worker_addresses, '
                    'HOST:PORT,... of all workers in rank order.')
  _check(addresses, '--worker_addresses', given)
  if rank is None and _OPEN_MPI in environ:
    return Cluster(addresses, _rank_in_open_mpi(addresses, environ))
  if rank is None:
    raise UserError(f'--worker_addresses={given} needs --worker_rank, the '
                    f'number of this worker, 0 to {len(addresses) - 1}.')
  if not 0 <= rank < len(addresses):
    raise UserError(f'--worker_rank={rank} is none of the {len(addresses)} '
                    f'--worker_addresses: give 0 to {len(addresses) - 1}.')
  return Cluster(addresses, rank)


def _rank_in_open_mpi(addresses, environ):
  remedy = 'mpirun sets it for the processes that it starts'
  size = read_environ.whole_number(environ, 'OMPI_COMM_WORLD_SIZE', remedy)
  if size != len(addresses):
    raise UserError(f'--worker_addresses has {len(addresses)} addresses, and '
                    f'mpirun has started {size} processes: give as many.')
  rank = read_environ.whole_number(environ, _OPEN_MPI, remedy, size)
  local = read_environ.whole_number(environ, 'OMPI_COMM_WORLD_LOCAL_RANK', remedy)
  hosts = [address.rpartition(':')[0] for address in addresses]
  expected = hosts[:rank].count(hosts[rank])
  if local != expected:
    raise UserError(
        f'mpirun has made process {rank} number {local} of its host, and by '
        f'--worker_addresses it is number {expected} of {hosts[rank]}: give '
        'the addresses in the order of the ranks (mpirun --map-by slot).')
  return rank


def _check(addresses, name, value):
  """Raises UserError unless they are the addresses of different workers."""
  for address in addresses:
    if not _is_address(address):
      raise UserError(f'{name}={value} gives the address {address!r}: give '
                      'HOST:PORT, with a port from 1 to 65535.')
  twice = _twice(addresses)
  if twice:
    raise UserError(f'{name}={value} gives the address {twice} twice: give '
                    'each worker one of its own.')


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
  twice = _twice(addresses)
  if twice:
    raise _refused(f'has the address {twice} twice',
                   'give each worker a port of its own')
  return addresses


def _is_address(address):
  host, colon, port = (
      address.rpartition(':') if isinstance(address, str) else ('', '', ''))
  return bool(host and colon) and port.isdigit() and 0 < int(port) < 65536


def _twice(addresses):
  """The first that is there twice, or None."""
  counts = collections.Counter(addresses)
  return next((address for address, n in counts.items() if n > 1), None)


def _refused(what, remedy=f'give it as in {_EXAMPLE}'):
  return UserError(f'TF_CONFIG {what}: {remedy}.')
