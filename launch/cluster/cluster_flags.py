"""Flags that say where the workers are, if the environment does not."""
import os

from absl import flags

from launch.cluster import resolver


def define(flag_values: flags.FlagValues = flags.FLAGS) -> None:
  """Defines the flags; `get` reads them once they are parsed."""
  flags.DEFINE_list(
      'worker_addresses', [], 'HOST:PORT of each worker, in rank order. '
      'Default: as described in the environment by TF_CONFIG, Slurm, '
      'Kubernetes, SageMaker or SkyPilot.', flag_values)
  flags.DEFINE_integer(
      'worker_rank', None, 'Rank of this worker in --worker_addresses. '
      'Default: the rank that mpirun gave it.', flag_values=flag_values)
  flags.DEFINE_integer(
      'worker_port', 0, 'Port of the first worker on each host, for platforms '
      'that name hosts without ports (Slurm, SageMaker, SkyPilot). The next '
      'worker on that host gets the next port. 0: chosen automatically.',
      lower_bound=0, upper_bound=65535, flag_values=flag_values)


def get(values: flags.FlagValues = flags.FLAGS) -> resolver.Cluster:
  """Returns the cluster that the parsed flags and the environment describe.

  Raises:
    resolver.NoCluster: they describe none.
    UserError: they are wrong.
  """
  return resolver.from_environment(
      os.environ, values.worker_addresses, values.worker_rank,
      values.worker_port)
