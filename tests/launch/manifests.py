"""Checks that Kubernetes accepts the objects of a training job and that they do
what was intended.

  assert not list(problems(objects))

Uses the published schemas (tests/resnet/published.py). The rest is from the
documentation, because no schema holds it: enumerations, quantities, and names
and numbers that must agree.
"""
import json
import re

from tests.launch import pods, published

_ENUMS = {
    'completionMode': {'Indexed'},
    'podReplacementPolicy': {'Failed'},
    'podFailurePolicy.rules.action': {'FailJob', 'Ignore', 'Count'},
    'onExitCodes.operator': {'In', 'NotIn'},
    'onPodConditions.status': {'True', 'False', 'Unknown'},
    'onPodConditions.type': {'DisruptionTarget'},
    'template.spec.restartPolicy': {'Never'},
    'Worker.restartPolicy': {'ExitCode'},
    'cleanPodPolicy': {'Running'},
    'successPolicy': {'AllWorkers'},
    'restartStrategy': {'BlockingRecreate'},  # Or old pods would join.
    'failurePolicy.rules.action': {
        'FailJobSet', 'RestartJobSet', 'RestartJobSetAndIgnoreMaxRestarts'},
    'onJobFailureReasons': {
        'PodFailurePolicy', 'BackoffLimitExceeded', 'DeadlineExceeded',
        'MaxFailedIndexesExceeded', 'FailedIndexes'},
    'emptyDir.medium': {'Memory'},
    'policyTypes': {'Ingress'},
    'seccompProfile.type': {'RuntimeDefault'},
    'fsGroupChangePolicy': {'OnRootMismatch'},
    'tolerations.operator': {'Exists', 'Equal'},
    'tolerations.effect': {'NoSchedule', 'PreferNoSchedule', 'NoExecute'},
}
_QUANTITY = re.compile(  # From the API reference; only positive numbers.
    r'(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?')
_MESSAGES = {  # Those of a failed Job, as its controller writes them.
    True: 'Container trainer for pod default/r50-0 failed with exit code {} '
          'matching FailJob rule at index {}',
    False: 'Pod default/r50-0 has condition DisruptionTarget matching FailJob '
           'rule at index {1}'}


def problems(objects):
  """Yields sentences that say what is wrong with a list of parsed objects."""
  for check in (_enums, _quantities, _names, _pods, _workers, _outcomes,
                _network, _tensorboard):
    yield from check(objects)
  for one in objects:
    yield from published.problems(json.dumps(one))


def template(one):
  """Returns the PodTemplateSpec of an object that starts pods, or None."""
  spec = one['spec']
  if one['kind'] == 'JobSet':
    spec = spec['replicatedJobs'][0]['template']['spec']
  elif one['kind'] == 'TFJob':
    spec = spec['tfReplicaSpecs']['Worker']
  return spec.get('template')


def job_spec(one):
  """Returns the spec of a Job, or of the Job in a JobSet; None for others."""
  if one['kind'] == 'JobSet':
    return one['spec']['replicatedJobs'][0]['template']['spec']
  return one['spec'] if one['kind'] == 'Job' else None


def trainer(objects):
  """Returns the object that starts the workers."""
  found, = [one for one in objects if one['kind'] in ('Job', 'JobSet', 'TFJob')]
  return found


def _walk(value, path=()):
  """Yields (names of the fields, value) for all texts and numbers."""
  if isinstance(value, dict):
    for name, inner in value.items():
      yield from _walk(inner, (*path, name))
  elif isinstance(value, list):
    for inner in value:
      yield from _walk(inner, path)
  else:
    yield path, value


def _enums(objects):
  for path, value in _walk(objects):
    for field, allowed in _ENUMS.items():
      names = tuple(field.split('.'))
      if path[-len(names):] == names and value not in allowed:
        yield f'{field} is {value}'


def _quantities(objects):
  for path, value in _walk(objects):
    if {'requests', 'limits', 'sizeLimit'} & set(path) and not (
        _QUANTITY.fullmatch(value) and re.search('[1-9]', value)):
      yield f'{".".join(path)} is {value!r}, not a quantity'


def _names(objects):
  one = trainer(objects)
  job, workers = one['metadata']['name'], count(one)
  longest = {'Job': f'{job}-{workers - 1}',
             # JobSet's checks include what Kubernetes appends to pods' names.
             'JobSet': f'{job}-worker-0-{workers - 1}-abcde',
             'TFJob': f'{job}-worker-{workers - 1}'}
  for name in (longest[one['kind']], *(x['metadata']['name'] for x in objects)):
    if not re.fullmatch('[a-z]([-a-z0-9]*[a-z0-9])?', name) or len(name) > 63:
      yield f'{name} is not a host name'
  for other in objects:  # They are deleted by label.
    if other['metadata']['labels']['app.kubernetes.io/instance'] != job:
      yield f'The {other["kind"]} lacks the label of the job'


def _pods(objects):
  for pod in filter(None, map(template, objects)):
    spec = pod['spec']
    container, = spec['containers']
    user, rights = spec['securityContext'], container['securityContext']
    if not (user['runAsNonRoot'] and user['runAsUser'] and user['runAsGroup']):
      yield f'{container["name"]} may run as root'
    if (rights['allowPrivilegeEscalation']
        or rights['capabilities'] != {'drop': ['ALL']}
        or rights.get('privileged') or spec.get('hostNetwork')
        or spec['automountServiceAccountToken'] or spec['enableServiceLinks']):
      yield f'{container["name"]} has rights that it does not need'
    if not spec['shareProcessNamespace']:
      yield f'{container["name"]} is process 1, which ignores signals'
    if not rights['readOnlyRootFilesystem']:
      yield f'{container["name"]} may write to its image'
    home, = (each['value'] for each in container['env']
             if each['name'] == 'HOME')
    if home not in _writable(spec, container):
      yield f'{container["name"]} cannot write to {home}'
    mounted = {mount['name'] for mount in container['volumeMounts']}
    if mounted != {volume['name'] for volume in spec['volumes']}:
      yield f'{container["name"]} does not mount exactly its volumes'
    requests, limits = (container['resources'][name]
                        for name in ('requests', 'limits'))
    if requests['memory'] != limits['memory']:
      yield f'{container["name"]} may use more memory than it requests'


def _writable(spec, container):
  """Returns the paths of the volumes that a container may write to."""
  claims = {each['name'] for each in spec['volumes']
            if each.get('persistentVolumeClaim', {}).get('readOnly')}
  return [mount['mountPath'] for mount in container['volumeMounts']
          if not mount.get('readOnly') and mount['name'] not in claims]


def count(one):
  """Returns the number of workers that an object starts."""
  return (one['spec']['tfReplicaSpecs']['Worker']['replicas']
          if one['kind'] == 'TFJob' else job_spec(one)['completions'])


def _workers(objects):
  """Yields what the workers' pods lack that TensorFlow needs."""
  one = trainer(objects)
  name, spec = one['metadata']['name'], template(one)['spec']
  container, = spec['containers']
  variables = {each['name']: each['value'] for each in container['env']}
  port, = container['ports']
  volumes = {each['name']: each for each in spec['volumes']}
  mounts = {each['mountPath']: {**volumes.get(each['name'], {}), **each}
            for each in container['volumeMounts']}
  if 'medium' not in mounts.get('/dev/shm', {}).get('emptyDir', {}):
    yield 'There is no shared memory at /dev/shm'
  workdir, = (word.partition('=')[2] for word in container['command']
              if word.startswith('--workdir='))
  kept = [path for path in _writable(spec, container)
          if 'persistentVolumeClaim' in mounts[path]]
  for folder in (workdir, variables.get('XDG_CACHE_HOME')):
    if not any(f'{folder}/'.startswith(f'{path}/') for path in kept):
      yield f'{folder} is not kept'
  if one['kind'] == 'TFJob':
    if (container['name'], port['name']) != ('tensorflow', 'tfjob-port'):
      yield 'The operator does not know the container or the port'
    return
  hosts = {'Job': f'{name}-{{index}}', 'JobSet': f'{name}-worker-0-{{index}}'}
  subdomain = (spec['subdomain'] if one['kind'] == 'Job'
               else one['spec']['network']['subdomain'])
  if variables.get('RESNET_WORKER_HOST_PATTERN') != (
      f'{hosts[one["kind"]]}.{subdomain}:{port["containerPort"]}'):
    yield 'The workers do not have the addresses that they look for'
  job = job_spec(one)
  if not (str(job['completions']) == str(job['parallelism'])
          == variables.get('RESNET_NUM_WORKERS')):
    yield 'The numbers of workers differ'


def _outcomes(objects):
  """Plays the project's exit codes through the rules."""
  one = trainer(objects)
  job = job_spec(one)
  if job is None:
    return
  container, = template(one)['spec']['containers']
  rules = job['podFailurePolicy']['rules']
  for rule in rules:
    exits = rule.get('onExitCodes')
    if exits and (exits['containerName'] != container['name']
                  or exits['values'] != sorted(set(exits['values']))
                  or not 0 < exits['values'][0] <= exits['values'][-1] < 256):
      yield f'Kubernetes refuses the rule {rule}'
  for rule in one['spec'].get('failurePolicy', {}).get('rules', ()):
    if not re.fullmatch('[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?', rule['name']):
      yield f'JobSet refuses the name {rule["name"]}'
  wanted = [((2, 64, 78), 'FailJob', 'FailJobSet'),
            ((143,), 'Ignore', 'RestartJobSetAndIgnoreMaxRestarts'),
            ((1, 3, 130, 134, 137, 139), 'Count', 'RestartJobSet')]
  for codes, by_job, by_jobset in wanted:
    for code in codes:
      yield from _outcome(one, rules, code, False, (by_job, by_jobset))
  for code in (0, 1, 137, 143):
    yield from _outcome(one, rules, code, True,
                        ('Ignore', 'RestartJobSetAndIgnoreMaxRestarts'))


def _outcome(one, rules, code, disrupted, wanted):
  done = pods.action(rules, code, disrupted)
  if one['kind'] == 'JobSet':
    if job_spec(one)['backoffLimit'] or done == 'Ignore':
      yield 'The Job of the JobSet starts pods itself'
    done = _jobset_action(
        one['spec']['failurePolicy']['rules'], rules, code, disrupted)
  if done not in wanted:
    yield f'Exit code {code}{" of a disruption" * disrupted}: {done}'


def _jobset_action(jobset_rules, rules, code, disrupted):
  """Returns what a JobSet does when the first of its pods fails."""
  index = next((index for index, rule in enumerate(rules)
                if pods.action([rule], code, disrupted) == 'FailJob'), None)
  reason = 'BackoffLimitExceeded' if index is None else 'PodFailurePolicy'
  message = '' if index is None else _MESSAGES[
      'onExitCodes' in rules[index]].format(code, index)
  for rule in jobset_rules:
    if reason in rule.get('onJobFailureReasons', [reason]) and any(
        re.search(pattern, message)
        for pattern in rule.get('onJobFailureMessagePatterns', ['']) or ['']):
      return rule['action']
  return 'RestartJobSet'


def _network(objects):
  """Checks the names of the workers and who may connect to them."""
  one = trainer(objects)
  pod = template(one)
  labels = pod['metadata']['labels']
  port = pod['spec']['containers'][0]['ports'][0]['containerPort']
  if one['kind'] == 'Job':
    services = [other['spec'] for other in objects if other['kind'] == 'Service'
                and other['metadata']['name'] == pod['spec']['subdomain']]
    if not any(spec['clusterIP'] == 'None' and spec['publishNotReadyAddresses']
               and spec['selector'].items() <= labels.items()
               and spec['ports'][0]['port'] == port for spec in services):
      yield 'No Service names the pods of the workers'
  if one['kind'] == 'JobSet' and not (
      one['spec']['network']['enableDNSHostnames']
      and one['spec']['network']['publishNotReadyAddresses']):
    yield 'The JobSet does not name its pods'
  policy, = (other['spec'] for other in objects
             if other['kind'] == 'NetworkPolicy')
  if policy['podSelector']['matchLabels'] != labels:
    yield 'The NetworkPolicy does not guard the workers'
  peers = [{'podSelector': {'matchLabels': labels}}]
  if policy['ingress'] != [{'from': peers}]:
    yield 'Others may connect to the workers, or the workers may not'


def _tensorboard(objects):
  shown = {one['kind']: one for one in objects
           if one['metadata']['name'].endswith('-tensorboard')}
  if not shown:
    return
  deployment, service = shown['Deployment']['spec'], shown['Service']['spec']
  pod = deployment['template']
  container, = pod['spec']['containers']
  labels = pod['metadata']['labels']
  if not deployment['selector']['matchLabels'] == service['selector'] == labels:
    yield 'TensorBoard is not found by its labels'
  if labels == template(trainer(objects))['metadata']['labels']:
    yield 'TensorBoard counts as a worker'
  port, = container['ports']
  own, = service['ports']
  if (own['targetPort'] != port['name'] or own['port'] != port['containerPort']
      or f'--port={own["port"]}' not in container['command']):
    yield 'TensorBoard listens on another port'
  if service['type'] != 'ClusterIP':
    yield 'TensorBoard can be reached from outside the cluster'
  if _writable(pod['spec'], container) != ['/tmp']:
    yield 'TensorBoard may write'
