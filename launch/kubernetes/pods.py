"""The pods of a training job: what they run, and what they may use.

  template = worker('trainer', 'grpc', variables, training)

All of this is what the Kubernetes API documents of a PodTemplateSpec, as plain
dicts and lists.
"""
import math
from typing import NamedTuple

from launch.local import worker_environment

PORT = 2222  # Of TensorFlow, on each worker; each pod has its own address.
TENSORBOARD_PORT = 6006
_SHARED_MEMORY = '1Gi'  # For NCCL; counts as memory of the pod.
_SCRATCH = '/tmp'  # The one folder of an image that every user may write to.
MOUNTS = (_SCRATCH, '/dev/shm')  # What pods have besides their claims.


class Volume(NamedTuple):
  """A PersistentVolumeClaim, and where pods see it."""
  name: str
  claim: str
  mount: str
  read_only: bool = False


class Training(NamedTuple):
  """What is asked for, checked."""
  name: str
  image: str
  workers: int
  gpus_per_worker: int
  cpus: str  # A quantity, for each worker, as is `memory`.
  memory: str
  workdir: str  # Within the first of the volumes.
  volumes: tuple
  node_selector: dict
  user: int
  max_restarts: int
  grace_seconds: int
  trainer_flags: tuple


def labels(training, component):
  """What selects the pods of one component, 'worker' or 'tensorboard'."""
  return {'app.kubernetes.io/name': 'resnet-trainer',
          'app.kubernetes.io/instance': training.name,
          'app.kubernetes.io/component': component}


def metadata(training, component, name=None):
  """Of an object of a component; its name is the training's unless given."""
  return {'name': name or training.name,
          'labels': labels(training, component)}


def worker(container_name, port_name, variables, training):
  """The pods that train.

  Args:
    container_name: of the only container.
    port_name: of TensorFlow's port.
    variables: {name: text} of its environment, besides those of all.
    training: Training.

  Returns:
    PodTemplateSpec, without restartPolicy and subdomain.
  """
  command = ('python', '-m', 'resnet.train',
             '--strategy=multi_worker_mirrored', *training.trainer_flags)
  limits = {'memory': training.memory}
  spec = _pod(training, training.volumes)
  if training.gpus_per_worker:
    limits['nvidia.com/gpu'] = str(training.gpus_per_worker)
    spec['tolerations'] = [{'key': 'nvidia.com/gpu', 'operator': 'Exists',
                            'effect': 'NoSchedule'}]
  if training.node_selector:
    spec['nodeSelector'] = dict(training.node_selector)
  spec['terminationGracePeriodSeconds'] = training.grace_seconds
  container = _container(container_name, command, training, training.volumes)
  container['env'] = [
      {'name': name, 'value': value}
      for name, value in {**_variables(training), **variables}.items()]
  container['ports'] = _ports(port_name, PORT)
  # A limit of CPU would stop the input pipeline for parts of each 0.1 s.
  container['resources'] = {
      'requests': {'cpu': training.cpus, 'memory': training.memory},
      'limits': limits}
  container['volumeMounts'].append({'name': 'shm', 'mountPath': '/dev/shm'})
  spec['containers'] = [container]
  spec['volumes'].append({'name': 'shm', 'emptyDir': {
      'medium': 'Memory', 'sizeLimit': _SHARED_MEMORY}})
  return {'metadata': {'labels': labels(training, 'worker')}, 'spec': spec}


def _variables(training):
  """{name: text} of the environment of every worker."""
  # As many on every node, whatever it has.
  threads = str(math.ceil(_number(training.cpus)))
  return {
      'HOME': _SCRATCH,
      'PYTHONUNBUFFERED': '1',
      # Kept with the runs: who is started again compiles nothing again.
      'XDG_CACHE_HOME': f'{training.volumes[0].mount}/.cache',
      **dict.fromkeys(worker_environment.THREADS, threads)}


def _number(cpus):
  return int(cpus[:-1]) / 1000 if cpus.endswith('m') else float(cpus)


def tensorboard(training):
  """PodTemplateSpec of the pod that shows the run; it cannot write to it."""
  runs = training.volumes[0]
  command = ('python', '-m', 'tensorboard.main',
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


def _pod(training, volumes):
  """What all pods have; meets the Pod Security Standard `restricted`."""
  return {
      'automountServiceAccountToken': False,  # They ask Kubernetes nothing.
      'enableServiceLinks': False,
      # Process 1 is then Kubernetes' own. Linux keeps signals that it does not
      # handle from process 1: one that still waits for others would not end.
      'shareProcessNamespace': True,
      'securityContext': {
          'runAsNonRoot': True, 'runAsUser': training.user,
          'runAsGroup': training.user, 'fsGroup': training.user,
          # Else all files of a volume change their group at each start.
          'fsGroupChangePolicy': 'OnRootMismatch',
          'seccompProfile': {'type': 'RuntimeDefault'}},
      'volumes': [
          *({'name': volume.name, 'persistentVolumeClaim': {
              'claimName': volume.claim, 'readOnly': volume.read_only}}
            for volume in volumes),
          {'name': 'tmp', 'emptyDir': {}}]}


def _container(name, command, training, volumes):
  return {
      'name': name,
      'image': training.image,
      # Kubernetes puts variables in for $(NAME), and $ for $$.
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
