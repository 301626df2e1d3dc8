"""The checks of manifests find each fault that is put into one."""
import pytest

from tests.launch import kubernetes_command as command
from tests.launch import manifests

_DELETE = object()
_POD = 'spec.template.spec'
_CONTAINER = f'{_POD}.containers.0'
_SET = 'spec.replicatedJobs.0.template.spec'
_TF = 'spec.tfReplicaSpecs.Worker'
_MUTATIONS = [  # Kind, path, another value, words of the problem.
    ('Job', 'spec.completionMode', 'Index', 'completionMode is Index'),
    ('Job', 'spec.podFailurePolicy.rules.1.action', 'Ignor', 'action is Ignor'),
    ('Job', 'spec.podFailurePolicy.rules.0.onExitCodes.operator', 'in',
     'operator is in'),
    ('Job', f'{_POD}.restartPolicy', 'OnFailure', 'restartPolicy is OnFailure'),
    ('Job', 'spec.backoffLimit', '3', 'of Kubernetes 1.29'),
    ('Job', 'spec.podReplacementPolicy', 'TerminatingOrFailed',
     'podReplacementPolicy is'),
    ('Job', 'spec.backofLimit', 3, 'of Kubernetes 1.37'),
    ('Job', 'spec.completions', 3, 'The numbers of workers differ'),
    ('Job', 'spec.parallelism', 3, 'The numbers of workers differ'),
    ('Job', f'{_CONTAINER}.env.7.value', '5', 'The numbers of workers differ'),
    ('Job', f'{_CONTAINER}.env.8', _DELETE,
     'not have the addresses that they look for'),
    ('Job', f'{_CONTAINER}.env.8.value', 'r50-{index}.r5:2222',
     'not have the addresses that they look for'),
    ('Job', f'{_CONTAINER}.ports.0.containerPort', 2223,
     'not have the addresses that they look for'),
    ('Job', f'{_CONTAINER}.name', 'worker', 'Kubernetes refuses the rule'),
    ('Job', 'spec.podFailurePolicy.rules.0.onExitCodes.values', [2, 78, 64],
     'Kubernetes refuses the rule'),
    ('Job', 'spec.podFailurePolicy.rules.2.onExitCodes.values', [0, 143],
     'Kubernetes refuses the rule'),
    ('Job', 'spec.podFailurePolicy.rules.0.onExitCodes.values', [2, 64],
     'Exit code 78: Count'),
    ('Job', 'spec.podFailurePolicy.rules.1', _DELETE,
     'Exit code 137 of a disruption: Count'),
    ('Job', 'spec.podFailurePolicy.rules.2', _DELETE, 'Exit code 143: Count'),
    ('Job', f'{_POD}.volumes.1', _DELETE, 'mount exactly its volumes'),
    ('Job', f'{_POD}.volumes.2.emptyDir', {}, 'no shared memory at /dev/shm'),
    ('Job', f'{_CONTAINER}.volumeMounts.0.mountPath', '/run', 'is not kept'),
    ('Job', f'{_CONTAINER}.volumeMounts.0.readOnly', True, 'is not kept'),
    ('Job', f'{_POD}.volumes.0.persistentVolumeClaim.readOnly', True,
     '/runs/r50 is not kept'),
    ('Job', f'{_CONTAINER}.env.3.value', '/tmp/cache', 'cache is not kept'),
    ('Job', f'{_CONTAINER}.env.0.value', '/', 'trainer cannot write to /'),
    ('Deployment', f'{_CONTAINER}.env.0.value', '/runs',
     'tensorboard cannot write to /runs'),
    ('Job', f'{_CONTAINER}.securityContext.readOnlyRootFilesystem', False,
     'trainer may write to its image'),
    ('Job', f'{_POD}.shareProcessNamespace', False, 'trainer is process 1'),
    ('Job', f'{_CONTAINER}.resources.limits.memory', '64GB', 'not a quantity'),
    ('Job', f'{_CONTAINER}.resources.requests.cpu', '0', 'not a quantity'),
    ('Job', f'{_POD}.securityContext.runAsNonRoot', False, 'may run as root'),
    ('Job', f'{_CONTAINER}.securityContext.privileged', True, 'rights that'),
    ('Job', f'{_POD}.automountServiceAccountToken', True, 'rights that'),
    ('Job', 'metadata.name', 'r' * 62, 'is not a host name'),
    ('Job', 'metadata.name', 'R50', 'is not a host name'),
    ('Service', 'spec.clusterIP', '10.0.0.1', 'No Service names the pods'),
    ('Service', 'spec.publishNotReadyAddresses', False, 'No Service names'),
    ('Service', 'spec.selector', {'app': 'r50'}, 'No Service names the pods'),
    ('Service', 'spec.ports.0.port', 2223, 'No Service names the pods'),
    ('Service', 'metadata.name', 'r51', 'No Service names the pods'),
    ('Service', 'metadata.labels', {'app.kubernetes.io/instance': 'r51'},
     'lacks the label of the job'),
    ('NetworkPolicy', 'spec.ingress.0.from', _DELETE, 'Others may connect to'),
    ('NetworkPolicy', 'spec.ingress', [], 'or the workers may not'),
    ('NetworkPolicy', 'spec.podSelector', {'matchLabels': {}},
     'does not guard the workers'),
    ('NetworkPolicy', 'spec.policyTypes', ['ingress'], 'policyTypes is'),
    ('Deployment', 'spec.selector.matchLabels', {'a': 'b'}, 'by its labels'),
    ('Deployment', f'{_CONTAINER}.ports.0.name', 'web', 'on another port'),
    ('Deployment', f'{_CONTAINER}.volumeMounts.0.readOnly', False, 'may write'),
    ('JobSet', 'spec.failurePolicy.rules.1.action', 'Restart', 'rules.action'),
    ('JobSet', 'spec.failurePolicy.rules.0', _DELETE,
     'Exit code 2: RestartJobSetAndIgnoreMaxRestarts'),
    ('JobSet', 'spec.failurePolicy.rules.1', _DELETE,
     'Exit code 143: RestartJobSet'),
    ('JobSet', 'spec.failurePolicy.rules.0.onJobFailureMessagePatterns',
     ['exit code 2'], 'Exit code 64: RestartJobSetAndIgnore'),
    ('JobSet', 'spec.failurePolicy.restartStrategy', 'Blocking',
     'restartStrategy is Blocking'),
    ('JobSet', 'spec.failurePolicy.rules.1.name', 'start again',
     'refuses the name start again'),
    ('JobSet', 'spec.failurePolicy.maxRestart', 1, 'does not hold all of it'),
    ('JobSet', 'spec.failurePolicy.maxRestarts', '1', 'The model of JobSet:'),
    ('JobSet', f'{_SET}.backoffLimit', 1, 'starts pods itself'),
    ('JobSet', f'{_SET}.template.spec.restartPolicy', 'OnFailure',
     'restartPolicy is OnFailure'),
    ('JobSet', 'spec.network.subdomain', 'workers', 'not have the addresses'),
    ('JobSet', 'spec.network.enableDNSHostnames', False, 'does not name its'),
    ('JobSet', 'metadata.name', 'r' * 47, 'is not a host name'),
    ('TFJob', f'{_TF}.restartPolicy', 'Exit', 'restartPolicy is Exit'),
    ('TFJob', f'{_TF}.template.spec.containers.0.name', 'trainer',
     'does not know the container or the port'),
    ('TFJob', 'spec.successPolicy', '', 'successPolicy is'),
    ('TFJob', 'spec.runPolicy.cleanPodsPolicy', 'All', 'does not hold all'),
]


@pytest.mark.parametrize('kind, path, value, words', _MUTATIONS)
def test_a_fault_in_a_manifest_is_found(kind, path, value, words):
  flag = kind.lower() if kind in ('JobSet', 'TFJob') else 'job'
  objects = command.objects(f'--kind={flag}')
  inner = next(one for one in objects if one['kind'] == kind)
  *names, last = [int(name) if name.isdigit() else name
                  for name in path.split('.')]
  for name in names:
    inner = inner[name]
  if value is _DELETE:
    del inner[last]
  else:
    inner[last] = value
  found = []
  for problem in manifests.problems(objects):
    if words in problem:
      return
    found.append(problem)
  pytest.fail(f'Only {found}')
