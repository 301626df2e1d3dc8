"""The Kubernetes objects of a training job, as plain dicts and lists.

  for an_object in of_kind('job', training) + tensorboard(training): ...

Workers train together or not at all: when one is lost, the others notice it
within some 10 s and end with 143. What is done then, by the exit code of a pod
(see configs/process/command_line.py):

  2, 64, 78   the job fails at once
  143         started again, not counted; so are pods that Kubernetes itself
              takes away (condition DisruptionTarget)
  others      started again, and counted
"""
from configs.process import command_line
from launch.kubernetes import pods

KINDS = ('job', 'jobset', 'tfjob')
_CONTAINER = 'trainer'
_PORT_NAME = 'grpc'


def of_kind(kind, training):
  """List of the objects that train; kind: one of KINDS."""
  objects = {'job': _indexed_job, 'jobset': _jobset, 'tfjob': _tfjob}
  return [_network_policy(training), *objects[kind](training)]


def longest_name(kind, name, workers):
  """The longest of the names that Kubernetes makes of a job's name."""
  last = workers - 1
  return {
      'job': f'{name}-{last}',
      # With what it appends at random to names of pods.
      'jobset': f'{name}-worker-0-{last}-xxxxx',
      'tfjob': f'{name}-worker-{last}'}[kind]


def tensorboard(training):
  """List of the objects that show the run, within the cluster alone."""
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


def tensorboard_name(name):
  """Of the objects of TensorBoard; name: of the job."""
  return f'{name}-tensorboard'


def _network_policy(training):
  """Lets nobody but the workers connect to them, on any port, as NCCL needs.

  TensorFlow's servers ask nobody who they are, and do what they are told. A
  policy is kept by the network plugin of a cluster: some have none that does.
  """
  workers = {'matchLabels': pods.labels(training, 'worker')}
  return {
      'apiVersion': 'networking.k8s.io/v1', 'kind': 'NetworkPolicy',
      'metadata': pods.metadata(training, 'worker'),
      'spec': {'podSelector': workers, 'policyTypes': ['Ingress'],
               'ingress': [{'from': [{'podSelector': workers}]}]}}


def _indexed_job(training):
  """A Service that gives pods their names, and a Job that replaces lost pods.
  """
  metadata = pods.metadata(training, 'worker')
  service = {
      'apiVersion': 'v1', 'kind': 'Service', 'metadata': metadata,
      'spec': {
          'clusterIP': 'None',
          'publishNotReadyAddresses': True,  # They wait for each other.
          'selector': pods.labels(training, 'worker'),
          'ports': [{'name': _PORT_NAME, 'port': pods.PORT}]}}
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
  """One Job, which fails with its first pod and is then replaced as a whole."""
  # JobSet knows nothing but the message of the Job that failed.
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
  """Its operator names the pods and sets TF_CONFIG.

  It takes exit codes below 128 for permanent, all of them.
  """
  # It insists on these names.
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


def _template(training, hostname):
  """The pods of an Indexed Job, whose workers find each other by DNS.

  Args:
    training: Training.
    hostname: of each pod, with '{index}' for its number.
  """
  template = pods.worker(_CONTAINER, _PORT_NAME, {
      'RESNET_NUM_WORKERS': str(training.workers),
      'RESNET_WORKER_HOST_PATTERN': f'{hostname}.{training.name}:{pods.PORT}',
  }, training)
  template['spec']['restartPolicy'] = 'Never'
  return template


def _job_spec(training, template, *, backoff_limit, rules):
  return {
      'completionMode': 'Indexed',
      'completions': training.workers,
      'parallelism': training.workers,
      'backoffLimit': backoff_limit,
      # Not before the old pod is gone: two of one index would both join.
      'podReplacementPolicy': 'Failed',
      'podFailurePolicy': {'rules': rules},
      'template': template}


def _on_exit(action, codes):
  return {'action': action, 'onExitCodes': {
      'containerName': _CONTAINER, 'operator': 'In', 'values': list(codes)}}


def _on_disruption(action):
  return {'action': action, 'onPodConditions': [
      {'type': 'DisruptionTarget', 'status': 'True'}]}
