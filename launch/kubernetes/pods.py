"""The pods of a training job: what they run, and what they may use.

  template = worker('trainer', 'grpc', variables, training)

Everything is a PodTemplateSpec of the Kubernetes API, or a part of one, as
plain dicts and lists.
"""
from collections.abc import Mapping, Sequence
import math
from typing import Any, NamedTuple

from configs.process import progress, python_module
from launch import trainer_command
from launch.cluster import contract

TENSORBOARD_PORT = 6006
_PYTHON = ('python',)  # The image's.
_SHARED_MEMORY = '1Gi'  # For NCCL; counts towards the pod's memory.
_SCRATCH = '/tmp'  # The only folder of an image that every user can write to.
# What pods mount in addition to the claims.
MOUNTS: tuple[str, ...] = (_SCRATCH, '/dev/shm')

Object = dict[str, Any]  # Of the Kubernetes API.


class Volume(NamedTuple):
  """A PersistentVolumeClaim, and where pods mount it."""
  name: str
  claim: str
  mount: str
  read_only: bool = False


class Training(NamedTuple):
  """A training job, checked."""
  name: str
  image: str
  workers: int
  gpus_per_worker: int
  cpus: str  # A quantity for each worker, as is `memory`.
  memory: str
  workdir: str  # In the first of the volumes.
  volumes: tuple[Volume, ...]
  node_selector: dict[str, str]
  user: int
  max_restarts: int
  grace_secs: int
  trainer_flags: tuple[str, ...]


def labels(training: Training, component: str) -> dict[str, str]:
  """Returns the labels of a component's pods: 'worker' or 'tensorboard'."""
  return {'app.kubernetes.io/name': 'resnet-trainer',
          'app.kubernetes.io/instance': training.name,
          'app.kubernetes.io/component': component}


def metadata(training: Training, component: str,
             name: str | None = None) -> Object:
  """Returns the metadata of a component's object.

  Args:
    training: the job.
    component: as in `labels`.
    name: of the object; None: the job's name.
  """
  return {'name': name or training.name,
          'labels': labels(training, component)}


def worker(container_name: str, port_name: str, variables: Mapping[str, str],
           training: Training) -> Object:
  """Returns the pods that train.

  Args:
    container_name: name of the only container.
    port_name: name of TensorFlow's port.
    variables: {name: text} to add to the environment of all workers.
    training: the job.

  Returns:
    A PodTemplateSpec without restartPolicy and subdomain.
  """
  spec = _pod(training, training.volumes)
  if training.gpus_per_worker:
    spec['tolerations'] = [{'key': 'nvidia.com/gpu', 'operator': 'Exists',
                            'effect': 'NoSchedule'}]
  if training.node_selector:
    spec['nodeSelector'] = dict(training.node_selector)
  spec['terminationGracePeriodSeconds'] = training.grace_secs
  spec['containers'] = [_worker_container(
      container_name, port_name, variables, training)]
  spec['volumes'].append({'name': 'shm', 'emptyDir': {
      'medium': 'Memory', 'sizeLimit': _SHARED_MEMORY}})
  return {'metadata': {'labels': labels(training, 'worker')}, 'spec': spec}


def _worker_container(name, port_name, variables, training):
  """Returns the container of a pod that trains; arguments as of `worker`."""
  command = trainer_command.words(
      _PYTHON, trainer_command.MODULE, training.trainer_flags)
  limits = {'memory': training.memory}
  if training.gpus_per_worker:
    limits['nvidia.com/gpu'] = str(training.gpus_per_worker)
  container = _container(name, command, training, training.volumes)
  container['env'] = [
      {'name': name, 'value': value}
      for name, value in {**_variables(training), **variables}.items()]
  container['ports'] = _ports(port_name, contract.WORKER_PORT)
  # No limit of CPU: it would stall the input pipeline for part of every 0.1 s.
  container['resources'] = {
      'requests': {'cpu': training.cpus, 'memory': training.memory},
      'limits': limits}
  container['volumeMounts'].append({'name': 'shm', 'mountPath': '/dev/shm'})
  return container


def _variables(training):
  """Returns the environment that all workers share, {name: text}."""
  # The same on every node, however many CPUs it has.
  threads = str(math.ceil(_number(training.cpus)))
  return {
      'HOME': _SCRATCH,
      'PYTHONUNBUFFERED': '1',
      progress.VARIABLE: '1',  # Kubernetes sees nothing but exit codes.
      # Next to the runs, so that a restarted worker need not compile again.
      'XDG_CACHE_HOME': f'{training.volumes[0].mount}/.cache',
      **dict.fromkeys(contract.THREAD_VARIABLES, threads)}


def _number(cpus):
  return int(cpus[:-1]) / 1000 if cpus.endswith('m') else float(cpus)


def tensorboard(training: Training) -> Object:
  """Returns the PodTemplateSpec of a pod that shows the run, read-only."""
  runs = training.volumes[0]
  command = (*python_module.command('tensorboard.main', _PYTHON),
             f'--logdir={training.workdir}', '--bind_all',
             f'--port={TENSORBOARD_PORT}')
  container = _container('tensorboard', command, training,
                         [runs._replace(read_only=True)])
  container['env'] = [{'name': 'HOME', 'value': _SCRATCH}]
  container['ports'] = _ports('http', TENSORBOARD_PORT)
  container['resources'] = {
      'requests': {'cpu': '500m', 'memory': '2Gi'}, 'limits': {'memory': '2Gi'}}
  spec = _pod(training, [runs])
  spec['containers'] = [container]
  return {'metadata': {'labels': labels(training, 'tensorboard')},
          'spec': spec}


def _pod(training: Training, volumes: Sequence[Volume]) -> Object:
  """Returns the spec that all pods share.

  It meets the Pod Security Standard `restricted`.
  """
  return {
      'automountServiceAccountToken': False,  # Pods never call Kubernetes.
      'enableServiceLinks': False,
      # Makes Kubernetes' own process number 1. Linux delivers only handled
      # signals to process 1: a worker that still waits for the others would
      # not stop.
      'shareProcessNamespace': True,
      'securityContext': {
          'runAsNonRoot': True, 'runAsUser': training.user,
          'runAsGroup': training.user, 'fsGroup': training.user,
          # Avoids changing the group of all files in a volume at each start.
          'fsGroupChangePolicy': 'OnRootMismatch',
          'seccompProfile': {'type': 'RuntimeDefault'}},
      'volumes': [
          *({'name': volume.name, 'persistentVolumeClaim': {
              'claimName': volume.claim, 'readOnly': volume.read_only}}
            for volume in volumes),
          {'name': 'tmp', 'emptyDir': {}}]}


def _container(name: str, command: Sequence[str], training: Training,
               volumes: Sequence[Volume]) -> Object:
  return {
      'name': name,
      'image': training.image,
      # Kubernetes replaces $(NAME) by a variable, and $$ by $.
      'command': [word.replace('$', '$$') for word in command],
      'securityContext': {'allowPrivilegeEscalation': False,
                          'capabilities': {'drop': ['ALL']},
                          'readOnlyRootFilesystem': True},
      'volumeMounts': [
          *({'name': volume.name, 'mountPath': volume.mount,
             'readOnly': volume.read_only} for volume in volumes),
          {'name': 'tmp', 'mountPath': _SCRATCH}]}


def _ports(name, number):
  return [{'name': name, 'containerPort': number, 'protocol': 'TCP'}]
