"""Workers as platforms other than Slurm describe them in the environment.

Each function: ({name: text}, port) -> (('host:port', ...) in rank order, rank);
the port counts where the platform names none. UserError if variables are
missing or wrong.
"""
import json

from configs.process.errors import UserError
from launch.cluster import read_environ

KUBERNETES_SIGN = 'RESNET_WORKER_HOST_PATTERN'
SAGEMAKER_SIGN = 'SM_HOSTS'
SKYPILOT_SIGN = 'SKYPILOT_NODE_IPS'
# Of TensorFlow's examples. Each worker has a machine or pod of its own here.
_PORT = 2222


def kubernetes(environ, _):
  """Pods of an Indexed Job; the pattern 'resnet-{index}.resnet:2222'."""
  pattern = environ[KUBERNETES_SIGN]
  if '{index}' not in pattern:
    raise UserError(f'{KUBERNETES_SIGN}={pattern} has no {{index}}: give it as '
                    'in resnet-{index}.resnet:2222.')
  remedy = "set it in the pod's template"
  count = read_environ.whole_number(environ, 'RESNET_NUM_WORKERS', remedy)
  if not count:
    raise UserError('RESNET_NUM_WORKERS=0: give 1 at least.')
  rank = read_environ.whole_number(
      environ, 'JOB_COMPLETION_INDEX',
      'start the pods by a Job with completionMode: Indexed', count)
  return tuple(pattern.replace('{index}', str(index))
               for index in range(count)), rank


def sagemaker(environ, port=0):
  """Hosts of a SageMaker training job, as its training toolkit lists them."""
  text = environ[SAGEMAKER_SIGN]
  try:
    hosts = json.loads(text)
  except ValueError:
    hosts = None
  if not (isinstance(hosts, list) and hosts
          and all(isinstance(host, str) and host for host in hosts)):
    raise UserError(f'{SAGEMAKER_SIGN}={text} is not a JSON list of hosts: '
                    'give it as in ["algo-1", "algo-2"].')
  own = read_environ.text(environ, 'SM_CURRENT_HOST', f'name one of {text}')
  if own not in hosts:
    raise UserError(f'SM_CURRENT_HOST={own} is not in {SAGEMAKER_SIGN}={text}: '
                    'name one of them.')
  return _at_port(hosts, port), hosts.index(own)


def skypilot(environ, port=0):
  """Nodes of a SkyPilot task: their IPs, one a line."""
  remedy = 'SkyPilot sets it for the commands of run: in a task'
  hosts = read_environ.text(environ, SKYPILOT_SIGN, remedy).split()
  rank = read_environ.whole_number(
      environ, 'SKYPILOT_NODE_RANK', remedy, len(hosts))
  return _at_port(hosts, port), rank


def _at_port(hosts, port):
  return tuple(f'{host}:{port or _PORT}' for host in hosts)
