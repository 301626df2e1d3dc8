"""The Kubernetes objects of a training job, as plain dicts and lists.

  for an_object in of_kind('job', training) + tensorboard(training): ...

Workers train together or not at all: when one is lost, the others notice within
about 10 s and exit with 143. What happens then depends on the exit code of each
pod (see configs/process/command_line.py):

  2, 64, 78   the job fails at once
  143         the pod restarts, and this is not counted; the same holds for pods
              that Kubernetes itself removes (condition DisruptionTarget)
  others      the pod restarts, and this counts as a failure: also 1, with which
              trainers end here in place of 143 if no checkpoint was saved since
              they started (configs/process/progress.py)
"""
from collections.abc import Sequence

from configs.process import command_line
from launch.cluster import contract
from launch.kubernetes import pods

KINDS = ('job', 'jobset', 'tfjob')
_CONTAINER = 'trainer'
_PORT_NAME = 'grpc'


def of_kind(kind: str, training: pods.Training) -> list[pods.Object]:
  """Returns the objects that train; kind is one of KINDS."""
  objects = {'job': _indexed_job, 'jobset': _jobset, 'tfjob': _tfjob}
  return [_network_policy(training), *objects[kind](training)]


def longest_name(kind: str, name: str, workers: int) -> str:
  """Returns the longest name that Kubernetes derives from the name of a job."""
  last = workers - 1
  return {
      'job': f'{name}-{last}',
      # Kubernetes appends random characters to the names of these pods.
      'jobset': f'{name}-worker-0-{last}-xxxxx',
      'tfjob': f'{name}-worker-{last}'}[kind]


def tensorboard(training: pods.Training) -> list[pods.Object]:
  """Returns the objects that show the run, within the cluster only."""
  name = tensorboard_name(training.name)
  metadata = pods.metadata(training, 'tensorboard', name)
  selector = pods.labels(training, 'tensorboard')
  return [
      {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': metadata,
       'spec': {'replicas': 1, 'selector': {'matchLabels': selector},
                'template': pods.tensorboard(training)}},
      {'apiVersion': 'v1', 'kind': 'Service', 'metadata': metadata,
       'spec': {'type': 'ClusterIP', 'selector': selector, 'ports': [
           {'name': 'http', 'port': pods.TENSORBOARD_PORT,
            'targetPort': 'http'}]}}]


def tensorboard_name(name: str) -> str:
  """Returns the name of TensorBoard's objects, for a job of some name."""
  return f'{name}-tensorboard'


def _network_policy(training):
  """Lets only the workers connect to each other, on all ports, as NCCL needs.

  TensorFlow's servers authenticate nobody and execute what they receive. The
  cluster's network plugin enforces the policy; some plugins do not.
  """
  workers = {'matchLabels': pods.labels(training, 'worker')}
  return {
      'apiVersion': 'networking.k8s.io/v1', 'kind': 'NetworkPolicy',
      'metadata': pods.metadata(training, 'worker'),
      'spec': {'podSelector': workers, 'policyTypes': ['Ingress'],
               'ingress': [{'from': [{'podSelector': workers}]}]}}


def _indexed_job(training):
  """Returns a Service that names the pods and a Job that replaces lost ones."""
  metadata = pods.metadata(training, 'worker')
  service = {
      'apiVersion': 'v1', 'kind': 'Service', 'metadata': metadata,
      'spec': {
          'clusterIP': 'None',
          'publishNotReadyAddresses': True,  # They wait for each other.
          'selector': pods.labels(training, 'worker'),
          'ports': [{'name': _PORT_NAME, 'port': contract.WORKER_PORT}]}}
  template = _template(training, f'{training.name}-{{index}}')
  template['spec']['subdomain'] = training.name
  job = {
      'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': metadata,
      'spec': _job_spec(
          training, template,
          # Kubernetes counts pods, and all of them may fail at once.
          backoff_limit=training.max_restarts * training.workers,
          rules=[_on_exit('FailJob', command_line.ALL_PERMANENT),
                 _on_disruption('Ignore'),
                 _on_exit('Ignore', [command_line.START_AGAIN])])}
  return [service, job]


def _jobset(training):
  """Returns a JobSet of one Job that fails with its first pod and is replaced.
  """
  # All that JobSet knows of a failed Job is its message.
  codes = '|'.join(map(str, command_line.ALL_PERMANENT))
  job = _job_spec(
      training, _template(training, f'{training.name}-worker-0-{{index}}'),
      backoff_limit=0,
      rules=[_on_exit('FailJob', command_line.ALL_PERMANENT),
             _on_disruption('FailJob'),
             _on_exit('FailJob', [command_line.START_AGAIN])])
  return [{
      'apiVersion': 'jobset.x-k8s.io/v1alpha2', 'kind': 'JobSet',
      'metadata': pods.metadata(training, 'worker'),
      'spec': {
          'network': {'enableDNSHostnames': True, 'subdomain': training.name,
                      'publishNotReadyAddresses': True},
          'failurePolicy': {
              'maxRestarts': training.max_restarts,
              'restartStrategy': 'BlockingRecreate',
              'rules': [
                  {'name': 'permanent', 'action': 'FailJobSet',
                   'onJobFailureReasons': ['PodFailurePolicy'],
                   'onJobFailureMessagePatterns': [
                       f'exit code ({codes}) matching']},
                  {'name': 'startAgain',
                   'action': 'RestartJobSetAndIgnoreMaxRestarts',
                   'onJobFailureReasons': ['PodFailurePolicy']}]},
          'replicatedJobs': [{
              'name': 'worker', 'replicas': 1,
              'template': {
                  'metadata': {'labels': pods.labels(training, 'worker')},
                  'spec': job}}]}}]


def _tfjob(training):
  """Returns a TFJob, whose operator names the pods and sets TF_CONFIG.

  The operator treats every exit code below 128 as permanent.
  """
  # It requires these names.
  template = pods.worker('tensorflow', 'tfjob-port', {}, training)
  return [{
      'apiVersion': 'kubeflow.org/v1', 'kind': 'TFJob',
      'metadata': pods.metadata(training, 'worker'),
      'spec': {
          'runPolicy': {
              'backoffLimit': training.max_restarts * training.workers,
              'cleanPodPolicy': 'Running'},
          'successPolicy': 'AllWorkers',
          'tfReplicaSpecs': {'Worker': {
              'replicas': training.workers, 'restartPolicy': 'ExitCode',
              'template': template}}}}]


def _template(training: pods.Training, hostname: str) -> pods.Object:
  """Returns the pods of an Indexed Job, whose workers find each other by DNS.

  Args:
    training: the job.
    hostname: that of each pod, with '{index}' for its number.
  """
  address = f'{hostname}.{training.name}:{contract.WORKER_PORT}'
  template = pods.worker(_CONTAINER, _PORT_NAME, {
      'RESNET_NUM_WORKERS': str(training.workers),
      'RESNET_WORKER_HOST_PATTERN': address}, training)
  template['spec']['restartPolicy'] = 'Never'
  return template


def _job_spec(training: pods.Training, template: pods.Object, *,
              backoff_limit: int, rules: Sequence[pods.Object]) -> pods.Object:
  return {
      'completionMode': 'Indexed',
      'completions': training.workers,
      'parallelism': training.workers,
      'backoffLimit': backoff_limit,
      # Waits until the old pod is gone: two of one index would both join.
      'podReplacementPolicy': 'Failed',
      'podFailurePolicy': {'rules': rules},
      'template': template}


def _on_exit(action, codes):
  return {'action': action, 'onExitCodes': {
      'containerName': _CONTAINER, 'operator': 'In', 'values': list(codes)}}


def _on_disruption(action):
  return {'action': action, 'onPodConditions': [
      {'type': 'DisruptionTarget', 'status': 'True'}]}
