"""Workers as platforms other than Slurm describe them in the environment.

Each function takes ({name: text}, port) and returns (('host:port', ...) in rank
order, rank). The port is used where the platform names hosts without ports.
UserError is raised if variables are missing or wrong.
"""
from collections.abc import Mapping, Sequence
import json

from configs.process.errors import UserError
from launch.cluster import addresses, contract, read_environ

KUBERNETES_SIGN = 'RESNET_WORKER_HOST_PATTERN'
SAGEMAKER_SIGN = 'SM_HOSTS'
SKYPILOT_SIGN = 'SKYPILOT_NODE_IPS'

Workers = tuple[tuple[str, ...], int]  # Addresses and rank.


def kubernetes(environ: Mapping[str, str], _: int = 0) -> Workers:
  """Reads the pods of an Indexed Job.

  RESNET_WORKER_HOST_PATTERN is an address with {index} in it, such as
  'resnet-{index}.resnet:2222', so the port is not needed.
  """
  pattern = environ[KUBERNETES_SIGN]
  if '{index}' not in pattern:
    raise UserError(f'{KUBERNETES_SIGN}={pattern} does not contain {{index}}: '
                    'set it to an address such as resnet-{index}.resnet:2222.')
  remedy = 'set it in the pod template'
  count = read_environ.whole_number(environ, 'RESNET_NUM_WORKERS', remedy)
  read_environ.check_count(
      count, 'RESNET_NUM_WORKERS', environ['RESNET_NUM_WORKERS'],
      'set it to 1 or more in the pod template')
  rank = read_environ.whole_number(
      environ, 'JOB_COMPLETION_INDEX',
      'create the pods with a Job that has completionMode: Indexed', count)
  _check_example(pattern)
  return tuple(pattern.replace('{index}', str(index))
               for index in range(count)), rank


def _check_example(pattern):
  """Raises UserError for a pattern that gives no addresses, before all do."""
  example = pattern.replace('{index}', '0')
  if not addresses.is_valid(example):
    raise UserError(f'{KUBERNETES_SIGN}={pattern} gives the address '
                    f'{example!r}: use HOST:PORT, with a port from 1 to 65535.')


def sagemaker(environ: Mapping[str, str], port: int = 0) -> Workers:
  """Reads the hosts of a SageMaker training job, set by its toolkit."""
  text = environ[SAGEMAKER_SIGN]
  try:
    hosts = json.loads(text)
  except (ValueError, RecursionError):
    hosts = None
  if not (isinstance(hosts, list) and hosts
          and all(isinstance(host, str) and host for host in hosts)):
    raise UserError(f'{SAGEMAKER_SIGN}={text} is not a JSON list of hosts: set '
                    'it to a list such as ["algo-1", "algo-2"].')
  own = read_environ.text(
      environ, 'SM_CURRENT_HOST', f'set it to one of the hosts in {text}')
  if own not in hosts:
    raise UserError(f'SM_CURRENT_HOST={own} is not in {SAGEMAKER_SIGN}={text}: '
                    'set it to one of those hosts.')
  return _at_port(hosts, port), hosts.index(own)


def skypilot(environ: Mapping[str, str], port: int = 0) -> Workers:
  """Reads the nodes of a SkyPilot task: their IP addresses, one per line."""
  remedy = ('start the worker in the run section of a SkyPilot task, where '
            'SkyPilot sets it')
  hosts = read_environ.text(environ, SKYPILOT_SIGN, remedy).split()
  rank = read_environ.whole_number(
      environ, 'SKYPILOT_NODE_RANK', remedy, len(hosts))
  return _at_port(hosts, port), rank


def _at_port(hosts: Sequence[str], port: int) -> tuple[str, ...]:
  port = port or contract.WORKER_PORT
  return tuple(f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
               for host in hosts)  # IPv6 addresses contain colons.
