"""Flags that say where the workers are, if the environment does not."""
import os

from absl import flags

from launch.cluster import resolver


def define(flag_values=flags.FLAGS):
  """Defines them; `get` reads them once they are parsed."""
  flags.DEFINE_list('worker_addresses', [], 'HOST:PORT of each worker in rank '
                    'order; none: as TF_CONFIG, Slurm, Kubernetes, SageMaker '
                    'or SkyPilot say in the environment.', flag_values)
  flags.DEFINE_integer('worker_rank', None, 'Number of this worker among '
                       '--worker_addresses; none: as mpirun says.',
                       flag_values=flag_values)
  flags.DEFINE_integer('worker_port', 0, 'Port of workers whose platform '
                       '(Slurm, SageMaker, SkyPilot) gives hosts alone; the '
                       'next worker of a host has the next. 0: by a rule.',
                       lower_bound=0, upper_bound=65535,
                       flag_values=flag_values)


def get(values=flags.FLAGS):
  """The cluster.Cluster that they ask for; UserError if there is none."""
  return resolver.from_environment(
      os.environ, values.worker_addresses, values.worker_rank,
      values.worker_port)
