"""Which processes train together, and each mistake in one sentence."""
import json

import pytest

from configs.process.errors import UserError
from launch.cluster import resolver, tf_config


def _config(jobs, kind='worker', index=0):
  return json.dumps({'cluster': jobs, 'task': {'type': kind, 'index': index}})


@pytest.mark.parametrize('jobs, kind, index, addresses, rank', [
    ({'worker': ['a:1', 'b:1', 'c:1']}, 'worker', 2, ('a:1', 'b:1', 'c:1'), 2),
    ({'worker': ['a:1']}, 'worker', 0, ('a:1',), 0),
    ({'worker': ['b:1', 'c:2'], 'chief': ['a:1']}, 'chief', 0,
     ('a:1', 'b:1', 'c:2'), 0),
    ({'worker': ['b:1', 'c:2'], 'chief': ['a:1']}, 'worker', 1,
     ('a:1', 'b:1', 'c:2'), 2),
    ({'worker': ['[::1]:80', '10.0.0.2:65535']}, 'worker', 1,
     ('[::1]:80', '10.0.0.2:65535'), 1),
])
def test_ranks_in_tf_config(jobs, kind, index, addresses, rank):
  text = _config(jobs, kind, index)
  assert tf_config.read(text) == (addresses, rank)
  found = resolver.from_environment({'TF_CONFIG': text})
  assert found == resolver.Cluster(addresses, rank)
  assert found.address == addresses[rank]


_TWO = {'worker': ['a:1', 'b:1']}


@pytest.mark.parametrize('text, words', [
    ('', 'is not JSON'),
    ('{"cluster": ', 'is not JSON'),
    ('[]', "has no object 'cluster'"),
    ('{"cluster": {}}', "has no object 'task'"),
    ('{"cluster": ["a:1"], "task": {}}', "has no object 'cluster'"),
    (_config({}), 'has an empty cluster'),
    (_config({'worker': []}), 'has an empty cluster'),
    (_config({'worker': 'a:1'}), "has 'a:1' as its worker: use a list of"),
    (_config({'worker': ['a']}), "has ['a'] as its worker"),
    (_config({'worker': [':1']}), "has [':1'] as its worker"),
    (_config({'worker': ['a:0']}), "has ['a:0'] as its worker"),
    (_config({'worker': ['a:65536']}), 'as its worker'),
    (_config({'worker': ['a:' + '9' * 5000]}), 'as its worker'),
    (_config({'worker': ['a:²']}), "has ['a:²'] as its worker"),
    (_config({'worker': [1]}), 'has [1] as its worker'),
    (_config({'worker': ['a:1', 'b:1', 'a:1']}), 'has the address a:1 twice'),
    (_config({'worker': ['a:1'], 'chief': ['a:1']}),
     'has the address a:1 twice'),
    (_config({'worker': ['a:1'], 'chief': ['b:1', 'c:1']}),
     'has 2 tasks of type chief: use one'),
    (_config({**_TWO, 'evaluator': ['e:1']}),
     'has tasks of type evaluator in its cluster: list only chief and worker'),
    (_config({**_TWO, 'ps': ['e:1']}), 'has tasks of type ps'),
    (_config(_TWO, 'chief'),
     "has the task type 'chief', which is not in its cluster: use worker."),
    (_config(_TWO, ['worker']), "has the task type ['worker'], which is not"),
    (_config(_TWO, 'worker', 2),
     'has the task index 2, which is out of range for worker: use 0 to 1.'),
    (_config(_TWO, 'worker', -1), 'has the task index -1'),
    (_config(_TWO, 'worker', '0'), "has the task index '0': use a whole"),
    (_config(_TWO, 'worker', True), 'has the task index True'),
    (_config(_TWO, 'worker', None), 'has the task index None'),
])
def test_mistakes_in_tf_config(text, words):
  with pytest.raises(UserError) as raised:
    tf_config.read(text)
  assert str(raised.value).startswith('TF_CONFIG ')
  assert words in str(raised.value) and str(raised.value).endswith('.')


# As Vertex AI sets it for a job of two worker pools.
_VERTEX = {
    'cluster': {
        'chief': ['cmle-training-workerpool0-7d2c4b1f08-0:2222'],
        'worker': ['cmle-training-workerpool1-7d2c4b1f08-0:2222',
                   'cmle-training-workerpool1-7d2c4b1f08-1:2222']},
    'environment': 'cloud',
    'task': {'type': 'worker', 'index': 1, 'cloud': 'c9a4c1f0-tp', 'trial': ''},
    'job': '{"worker_pool_specs": [{"replica_count": 1}]}'}
_POD = {'KUBERNETES_SERVICE_HOST': '10.96.0.1', 'HOSTNAME': 'resnet-1-x8f2c'}
_KUBERNETES = {**_POD, 'RESNET_WORKER_HOST_PATTERN': 'r-{index}.r:2222',
               'RESNET_NUM_WORKERS': '2', 'JOB_COMPLETION_INDEX': '1'}
_SAGEMAKER = {'SM_HOSTS': '["algo-1","algo-2"]', 'SM_CURRENT_HOST': 'algo-2',
              'SM_NETWORK_INTERFACE_NAME': 'eth0', 'SM_NUM_GPUS': '8'}
_SKYPILOT = {'SKYPILOT_NODE_RANK': '1', 'SKYPILOT_NUM_NODES': '2',
             'SKYPILOT_NODE_IPS': '10.128.0.3\n10.128.0.7',
             'SKYPILOT_NUM_GPUS_PER_NODE': '8'}
_OPEN_MPI = {'OMPI_COMM_WORLD_RANK': '2', 'OMPI_COMM_WORLD_SIZE': '3',
             'OMPI_COMM_WORLD_LOCAL_RANK': '0',
             'OMPI_COMM_WORLD_LOCAL_SIZE': '1'}
_STEP = {'SLURM_JOB_ID': '1', 'SLURM_STEP_NODELIST': 'n[1-2]',
         'SLURM_STEP_TASKS_PER_NODE': '1(x2)', 'SLURM_PROCID': '1',
         'SLURM_NODEID': '1', 'SLURM_LOCALID': '0'}


@pytest.mark.parametrize('environ, addresses, rank', [
    ({'TF_CONFIG': json.dumps(_VERTEX)},
     ('cmle-training-workerpool0-7d2c4b1f08-0:2222',
      'cmle-training-workerpool1-7d2c4b1f08-0:2222',
      'cmle-training-workerpool1-7d2c4b1f08-1:2222'), 2),
    (_STEP, ('n1:20016', 'n2:20016'), 1),
    (_KUBERNETES, ('r-0.r:2222', 'r-1.r:2222'), 1),
    (_SAGEMAKER, ('algo-1:2222', 'algo-2:2222'), 1),
    (_SKYPILOT, ('10.128.0.3:2222', '10.128.0.7:2222'), 1),
])
def test_workers_of_platforms(environ, addresses, rank):
  found = resolver.from_environment(environ)
  assert (found.addresses, found.rank) == (addresses, rank)


@pytest.mark.parametrize('environ', [_STEP, _SAGEMAKER, _SKYPILOT])
def test_a_port_given_by_the_user(environ):
  found = resolver.from_environment(environ, port=99)
  assert [a.rpartition(':')[2] for a in found.addresses] == ['99', '99']


@pytest.mark.parametrize('late, environ', [
    (True, _KUBERNETES), (True, _SAGEMAKER), (False, _SKYPILOT), (False, _STEP),
    (True, {**_POD, 'TF_CONFIG': json.dumps(_VERTEX)}),
    (True, {**_POD, **_STEP}),
    (True, {name: value for name, value in _KUBERNETES.items()
            if name not in _POD}),
    (False, {'TF_CONFIG': json.dumps(_VERTEX)})])
def test_names_that_come_late(late, environ):
  assert resolver.from_environment(environ).names_come_late is late


def test_names_of_flags_come_late_in_a_pod():
  for environ in ({}, _POD):
    found = resolver.from_environment(environ, ['a:1', 'b:1'], 0)
    assert found == resolver.Cluster(('a:1', 'b:1'), 0, bool(environ))


def test_the_first_platform_in_order_counts():
  """All are set; then the first is removed, and so on."""
  environ = {'TF_CONFIG': _config({'worker': ['tf:1']}), **_STEP, **_KUBERNETES,
             **_SAGEMAKER, **_SKYPILOT}
  found = resolver.from_environment(environ, ['flag:1'], 0)
  assert found.address == 'flag:1'
  for sign, address in [
      ('TF_CONFIG', 'tf:1'), ('SLURM_STEP_NODELIST', 'n2:20016'),
      ('RESNET_WORKER_HOST_PATTERN', 'r-1.r:2222'), ('SM_HOSTS', 'algo-2:2222'),
      ('SKYPILOT_NODE_IPS', '10.128.0.7:2222')]:
    assert resolver.from_environment(environ).address == address
    del environ[sign]
  with pytest.raises(resolver.NoCluster, match='No worker addresses'):
    resolver.from_environment(environ)


def test_open_mpi_gives_the_rank():
  """For two processes on host a and one on b."""
  found = resolver.from_environment(_OPEN_MPI, ['a:1', 'a:2', 'b:1'])
  assert found == resolver.Cluster(('a:1', 'a:2', 'b:1'), 2)


def _refusal(environ, *given):
  with pytest.raises(UserError) as raised:
    resolver.from_environment(environ, *given)
  text = str(raised.value)
  assert text.endswith('.') and '\n' not in text
  return text


@pytest.mark.parametrize('environ', [{}, {'TF_CONFIG': ''},
                                     {'SLURM_JOB_ID': '1'}])
def test_an_environment_that_describes_no_cluster(environ):
  text = _refusal(environ)
  for name in ('--worker_addresses', 'TF_CONFIG', 'SLURM_STEP_NODELIST',
               'RESNET_WORKER_HOST_PATTERN', 'SM_HOSTS', 'SKYPILOT_NODE_IPS',
               'srun', 'launch.local', '--strategy=mirrored'):
    assert name in text


@pytest.mark.parametrize('addresses, rank, words', [
    ([], 0, '--worker_rank=0 needs --worker_addresses'),
    (['a:1', 'b:1'], None, '=a:1,b:1 needs --worker_rank: give the rank of '
     'this worker, 0 to 1.'),
    (['a:1', 'b:1'], 2, '--worker_rank=2 is out of range for 2'),
    (['a:1', 'b:1'], -1, '--worker_rank=-1 is out of range for 2'),
    (['a:1', 'b'], 0, "=a:1,b gives the address 'b': use HOST:PORT"),
    (['a:1', 'a:1'], 0, 'gives the address a:1 twice'),
])
def test_flags_that_are_wrong(addresses, rank, words):
  assert words in _refusal({}, addresses, rank)


@pytest.mark.parametrize('changes, words', [
    ({'OMPI_COMM_WORLD_SIZE': '4'},
     'has 3 addresses, but mpirun started 4 processes'),
    ({'OMPI_COMM_WORLD_SIZE': ''}, 'OMPI_COMM_WORLD_SIZE is not set'),
    ({'OMPI_COMM_WORLD_RANK': '3'},
     'OMPI_COMM_WORLD_RANK=3 is not less than 3'),
    ({'OMPI_COMM_WORLD_RANK': '-1'}, 'OMPI_COMM_WORLD_RANK=-1 is not a whole'),
    # By node, as --map-by node has it: the third process is on a again.
    ({'OMPI_COMM_WORLD_LOCAL_RANK': '1'}, 'mpirun made process 2 number 1 '
     'on its host, but according to --worker_addresses it is number 0 on b'),
])
def test_open_mpi_that_disagrees(changes, words):
  assert words in _refusal({**_OPEN_MPI, **changes}, ['a:1', 'a:2', 'b:1'])


@pytest.mark.parametrize('environ', [{}, _STEP])  # mpirun starts by srun.
def test_open_mpi_needs_addresses(environ):
  assert _refusal({**_OPEN_MPI, **environ}).startswith(
      'OMPI_COMM_WORLD_RANK is set, but Open MPI does not say where its '
      'processes are: give --worker_addresses')


@pytest.mark.parametrize('environ, changes, words', [
    (_KUBERNETES, {'RESNET_WORKER_HOST_PATTERN': 'r:2222'},
     'RESNET_WORKER_HOST_PATTERN=r:2222 does not contain {index}'),
    (_KUBERNETES, {'RESNET_WORKER_HOST_PATTERN': 'r-{index}'},
     "RESNET_WORKER_HOST_PATTERN=r-{index} gives the address 'r-0'"),
    (_KUBERNETES, {'RESNET_NUM_WORKERS': ''}, 'RESNET_NUM_WORKERS is not set'),
    (_KUBERNETES, {'RESNET_NUM_WORKERS': 'two'},
     'RESNET_NUM_WORKERS=two is not a whole number'),
    (_KUBERNETES, {'RESNET_NUM_WORKERS': '0'}, 'set it to 1 or more'),
    (_KUBERNETES, {'JOB_COMPLETION_INDEX': ''},
     'JOB_COMPLETION_INDEX is not set: create the pods with a Job that has '
     'completionMode: Indexed'),
    (_KUBERNETES, {'JOB_COMPLETION_INDEX': '2'},
     'JOB_COMPLETION_INDEX=2 is not less than 2, the number of workers'),
    (_SAGEMAKER, {'SM_HOSTS': 'algo-1'}, 'is not a JSON list of hosts'),
    (_SAGEMAKER, {'SM_HOSTS': '[]'}, 'is not a JSON list of hosts'),
    (_SAGEMAKER, {'SM_HOSTS': '{"a": 1}'}, 'is not a JSON list of hosts'),
    (_SAGEMAKER, {'SM_HOSTS': '["a", 1]'}, 'is not a JSON list of hosts'),
    (_SAGEMAKER, {'SM_CURRENT_HOST': ''}, 'SM_CURRENT_HOST is not set'),
    (_SAGEMAKER, {'SM_CURRENT_HOST': 'algo-3'},
     'SM_CURRENT_HOST=algo-3 is not in SM_HOSTS=["algo-1","algo-2"]'),
    (_SAGEMAKER, {'SM_HOSTS': '["algo-2","algo-2"]'},
     'gives the address algo-2:2222 twice'),
    (_SKYPILOT, {'SKYPILOT_NODE_IPS': '\n'}, 'SKYPILOT_NODE_IPS is not set'),
    (_SKYPILOT, {'SKYPILOT_NODE_RANK': ''}, 'SKYPILOT_NODE_RANK is not set'),
    (_SKYPILOT, {'SKYPILOT_NODE_RANK': '2'},
     'SKYPILOT_NODE_RANK=2 is not less than 2'),
    (_STEP, {'SLURM_PROCID': ''}, 'SLURM_PROCID is not set: launch with srun'),
])
def test_platforms_that_are_wrong(environ, changes, words):
  assert words in _refusal({**environ, **changes})
