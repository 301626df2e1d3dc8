"""The workers of a job: their addresses, in rank order, and which this is.

  cluster = from_environment(os.environ)

The first of these that is found counts: 1. addresses given by the user
2. TF_CONFIG  3. a Slurm step  4. the pods of a Kubernetes Job  5. SageMaker
6. SkyPilot. Open MPI tells a process its rank but not where the others are: it
needs 1.
"""
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from configs.process.errors import UserError
from launch.cluster import addresses as addresses_lib
from launch.cluster import platforms, read_environ, slurm_step, tf_config

# Environment variables by which platforms are recognized, in this order.
_PLATFORMS: dict[str, Callable[[Mapping[str, str], int], platforms.Workers]] = {
    slurm_step.SIGN: slurm_step.tasks,
    platforms.KUBERNETES_SIGN: platforms.kubernetes,
    platforms.SAGEMAKER_SIGN: platforms.sagemaker,
    platforms.SKYPILOT_SIGN: platforms.skypilot,
}
# There, host names resolve only once their machines have started.
_LATE = (platforms.KUBERNETES_SIGN, 'KUBERNETES_SERVICE_HOST',
         platforms.SAGEMAKER_SIGN)
_OPEN_MPI = 'OMPI_COMM_WORLD_RANK'


class NoCluster(UserError):
  """Nothing says that there are other processes."""


class Cluster(NamedTuple):
  """The workers of a job. Rank 0 is the chief: only it writes."""
  addresses: tuple[str, ...]  # 'host:port' of each worker.
  rank: int  # Of this process.
  names_come_late: bool = False  # Host names may not resolve yet: wait.

  @property
  def address(self) -> str:
    """The address of this process."""
    return self.addresses[self.rank]


def from_environment(environ: Mapping[str, str],
                     addresses: Sequence[str] = (), rank: int | None = None,
                     port: int = 0) -> Cluster:
  """Finds out which processes train together, and which of them this is.

  Args:
    environ: {name: text}, as os.environ.
    addresses: 'host:port' of each worker, given by flag; empty: environ says.
    rank: of this process among them, given by flag; None: Open MPI says.
    port: of the first worker on each host, if the platform names hosts without
      ports; 0: chosen by a rule that gives the same on all hosts.

  Returns:
    The cluster.

  Raises:
    NoCluster: nothing describes a cluster.
    UserError: what describes it is wrong.
  """
  late = any(name in environ for name in _LATE)
  if addresses or rank is not None:
    return _given(tuple(addresses), rank, environ)._replace(
        names_come_late=late)
  if environ.get(tf_config.VARIABLE):
    return Cluster(*tf_config.read(environ[tf_config.VARIABLE]), late)
  if _OPEN_MPI in environ:  # Even in a Slurm step: mpirun starts its own.
    raise UserError(
        f'{_OPEN_MPI} is set, but Open MPI does not say where its processes '
        'are: give --worker_addresses=HOST:PORT,..., with one address for each '
        'process in rank order.')
  for sign, derive in _PLATFORMS.items():
    if sign in environ:
      found = Cluster(*derive(environ, port), late)
      _check(found.addresses, sign, environ[sign])
      return found
  raise NoCluster(
      'No worker addresses were found in --worker_addresses, '
      f'{tf_config.VARIABLE}, {", ".join(_PLATFORMS)}: start the workers with '
      'srun (in a Slurm job) or `python -m launch.local`, set '
      f'{tf_config.VARIABLE} for each worker, or give --strategy=mirrored.')


def _given(addresses: tuple[str, ...], rank: int | None,
           environ: Mapping[str, str]) -> Cluster:
  """Returns the cluster that the flags describe."""
  given, last = ','.join(addresses), len(addresses) - 1
  if not addresses:
    raise UserError(f'--worker_rank={rank} needs --worker_addresses: give '
                    'HOST:PORT,... of all workers in rank order.')
  _check(addresses, '--worker_addresses', given)
  if rank is None and _OPEN_MPI in environ:
    return Cluster(addresses, _rank_in_open_mpi(addresses, environ))
  if rank is None:
    raise UserError(f'--worker_addresses={given} needs --worker_rank: give the '
                    f'rank of this worker, 0 to {last}.')
  if not 0 <= rank <= last:
    raise UserError(
        f'--worker_rank={rank} is out of range for {len(addresses)} '
        f'--worker_addresses: give 0 to {last}.')
  return Cluster(addresses, rank)


def _rank_in_open_mpi(addresses: tuple[str, ...],
                      environ: Mapping[str, str]) -> int:
  """Returns the rank that mpirun gave this process; checks the host order."""
  remedy = 'start the process with mpirun, which sets it'
  size = read_environ.whole_number(environ, 'OMPI_COMM_WORLD_SIZE', remedy)
  if size != len(addresses):
    raise UserError(
        f'--worker_addresses has {len(addresses)} addresses, but mpirun '
        f'started {size} processes: give one address for each process.')
  rank = read_environ.whole_number(environ, _OPEN_MPI, remedy, size)
  local = read_environ.whole_number(
      environ, 'OMPI_COMM_WORLD_LOCAL_RANK', remedy)
  hosts = [address.rpartition(':')[0] for address in addresses]
  expected = hosts[:rank].count(hosts[rank])
  if local != expected:
    raise UserError(
        f'mpirun made process {rank} number {local} on its host, but according '
        f'to --worker_addresses it is number {expected} on {hosts[rank]}: list '
        'the addresses in rank order (mpirun --map-by slot).')
  return rank


def _check(addresses: Sequence[str], name: str, value: str) -> None:
  """Raises UserError unless these are addresses of different workers."""
  for address in addresses:
    if not addresses_lib.is_valid(address):
      raise UserError(f'{name}={value} gives the address {address!r}: use '
                      'HOST:PORT, with a port from 1 to 65535.')
  twice = addresses_lib.duplicate(addresses)
  if twice:
    raise UserError(f'{name}={value} gives the address {twice} twice: give '
                    'each worker its own address.')
