"""Environments that describe a cluster wrongly.

The doctor reads them as the trainer does, and without TensorFlow.
"""
import json

import pytest

_DOCTOR = ('launch.doctor.__main__', '--', '--strategy=multi_worker_mirrored')
_TWO = {'worker': ['a:1', 'b:1']}


def _tf_config(jobs, kind='worker', index=0):
  return json.dumps({'cluster': jobs, 'task': {'type': kind, 'index': index}})


@pytest.mark.parametrize('text, words', [
    ('{"cluster": ', 'TF_CONFIG is not JSON'),
    ('[]', "has no object 'cluster'"),
    ('null', "has no object 'cluster'"),
    ('5', "has no object 'cluster'"),
    ('{"cluster": {}}', "has no object 'task'"),
    ('{"cluster": [1], "task": {}}', "has no object 'cluster'"),
    ('[' * 100_000, 'TF_CONFIG is nested too deeply: set it as in'),
    ('{"a":' * 20_000, 'TF_CONFIG is nested too deeply'),
    ('9' * 100_000, 'TF_CONFIG is not JSON'),
    ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": '
     f'{"9" * 5000}}}}}', 'TF_CONFIG is not JSON'),
    ('\udcff', 'TF_CONFIG is not JSON'),
    (_tf_config({}), 'has an empty cluster'),
    (_tf_config({'worker': 'a:1'}), 'use a list of "host:port"'),
    (_tf_config({'worker': {'0': 'a:1'}}), 'use a list of "host:port"'),
    (_tf_config({'worker': [1]}), 'use a list of "host:port"'),
    (_tf_config({'worker': ['a']}), 'use a list of "host:port"'),
    (_tf_config({'worker': ['a:0']}), 'use a list of "host:port"'),
    (_tf_config({'worker': ['a:65536']}), 'use a list of "host:port"'),
    (_tf_config({'worker': ['a:²']}), "has ['a:²'] as its worker"),
    (_tf_config({'worker': ['a:٣']}), "has ['a:٣'] as its worker"),
    (_tf_config({'worker': ['a:+1']}), "has ['a:+1'] as its worker"),
    (_tf_config({'worker': ['a:' + '9' * 5000]}), 'use a list of'),
    (_tf_config({'worker': ['a..b:1', 'c:1']}), "has ['a..b:1', 'c:1'] as"),
    (_tf_config({'worker': ['.:1']}), "has ['.:1'] as its worker"),
    (_tf_config({'worker': ['a b:1']}), "has ['a b:1'] as its worker"),
    (_tf_config({'worker': ['a\nb:1']}), 'as its worker'),
    (_tf_config({'worker': ['http://a:1']}), 'as its worker'),
    (_tf_config({'worker': ['x' * 64 + ':1']}), 'use a list of "host:port"'),
    (_tf_config({'worker': ['x.' * 127 + ':1']}), 'use a list of "host:port"'),
    (_tf_config({'worker': ['é.example:1']}), 'as its worker'),
    (_tf_config({'worker': ['fe80::1:2222']}), 'as its worker'),
    (_tf_config({'worker': ['[fe80::g]:2222']}), 'as its worker'),
    (_tf_config({'worker': ['a:1', 'a:1']}), 'has the address a:1 twice'),
    (_tf_config({**_TWO, 'ps': ['c:1']}), 'has tasks of type ps'),
    (_tf_config({**_TWO, 'evaluator': []}), 'has tasks of type evaluator'),
    (_tf_config(_TWO, 'chief'), "has the task type 'chief', which is not"),
    (_tf_config(_TWO, ['worker']), "has the task type ['worker'], which is"),
    (_tf_config(_TWO, {}), 'has the task type {}, which is not'),
    (_tf_config(_TWO, None), 'has the task type None, which is not'),
    (_tf_config(_TWO, 'worker', 2), 'has the task index 2, which is out of'),
    (_tf_config(_TWO, 'worker', -1), 'has the task index -1'),
    (_tf_config(_TWO, 'worker', 0.0), 'has the task index 0.0: use a whole'),
    (_tf_config(_TWO, 'worker', 1e300), 'use a whole number'),
    (_tf_config(_TWO, 'worker', '0'), "has the task index '0'"),
    (_tf_config(_TWO, 'worker', True), 'has the task index True'),
    (_tf_config(_TWO, 'worker', [0]), 'has the task index [0]'),
    (_tf_config(_TWO, 'worker', float('nan')), 'has the task index nan'),
], ids=range(47))
def test_tf_config(refused, text, words):
  assert words in refused(*_DOCTOR, environ={'TF_CONFIG': text})


_STEP = {'SLURM_JOB_ID': '7', 'SLURM_STEP_NODELIST': 'n[1-2]',
         'SLURM_STEP_TASKS_PER_NODE': '1(x2)', 'SLURM_PROCID': '0',
         'SLURM_NODEID': '0', 'SLURM_LOCALID': '0'}
_LARGE = '9' * 5000


@pytest.mark.parametrize('name, value, words', [
    ('STEP_NODELIST', 'n[1-999999999]', 'SLURM_STEP_NODELIST=n[1-999999999] '
     'describes 999999999, but a group has 1 to 65536 workers: launch with'),
    ('STEP_NODELIST', 'n[1-2],m[1-65536]', 'describes 65538, but'),
    ('STEP_NODELIST', 'n[1-999]m[1-999]', 'describes 998001, but'),
    ('STEP_NODELIST', 'r' + '[1-9]' * 20, 'describes 12157665459056928801,'),
    ('STEP_NODELIST', f'n[1-{_LARGE}]', '9 ... 9'),
    ('STEP_NODELIST', f'n[{"0" * 20}1-2]', 'cannot be parsed at'),
    ('STEP_NODELIST', 'n[5-3]', "cannot be parsed at '5-3'"),
    ('STEP_NODELIST', 'n[²]', "cannot be parsed at '²'"),
    ('STEP_NODELIST', 'n[٣-٤]', "cannot be parsed at '٣-٤'"),
    ('STEP_NODELIST', 'n[1-', "cannot be parsed at 'n[1-'"),
    ('STEP_NODELIST', 'n]', "cannot be parsed at 'n]'"),
    ('STEP_NODELIST', 'n[]', "cannot be parsed at 'n[]'"),
    ('STEP_NODELIST', ',', "cannot be parsed at ''"),
    ('STEP_NODELIST', '[' * 100_000, "[[': give the workers' addresses with"),
    ('STEP_NODELIST', 'n,' * 60_000 + 'n', 'lists 60001'),
    ('STEP_NODELIST', 'a..b,c', "gives the address 'a..b:"),
    ('STEP_NODELIST', 'n1,n1', 'twice: give each worker its own'),
    ('STEP_NODELIST', '', 'SLURM_STEP_NODELIST is not set'),
    ('STEP_TASKS_PER_NODE', '1(x99999999999)', 'SLURM_STEP_TASKS_PER_NODE=1'
     '(x99999999999) describes 99999999999, but a group has 1 to 65536'),
    ('STEP_TASKS_PER_NODE', '65537', 'describes 65537, but a group has'),
    ('STEP_TASKS_PER_NODE', '99999999(x99999999)', 'but a group has'),
    ('STEP_TASKS_PER_NODE', _LARGE, "99': launch with srun --distribution"),
    ('STEP_TASKS_PER_NODE', f'1(x{_LARGE})', "99)': launch with srun"),
    ('STEP_TASKS_PER_NODE', '0', "=0 cannot be parsed at '0'"),
    ('STEP_TASKS_PER_NODE', '1(x0)', "cannot be parsed at '1(x0)'"),
    ('STEP_TASKS_PER_NODE', '²', "cannot be parsed at '²'"),
    ('STEP_TASKS_PER_NODE', '-1', "cannot be parsed at '-1'"),
    ('STEP_TASKS_PER_NODE', '1(x3)', 'describes 3 nodes, but'),
    ('STEP_TASKS_PER_NODE', ' ', 'SLURM_STEP_TASKS_PER_NODE is not set'),
    ('STEP_RESV_PORTS', '1-999999999', 'describes 999999999, but a group'),
    ('STEP_RESV_PORTS', '5-1', "cannot be parsed at '5-1'"),
    ('STEP_RESV_PORTS', '0', "gives the address 'n1:0'"),
    ('STEP_RESV_PORTS', '65536', "gives the address 'n1:65536'"),
    ('JOB_ID', _LARGE, 'is not a whole number of at most'),
    ('JOB_ID', '-1', 'SLURM_JOB_ID=-1 is not a whole number'),
    ('PROCID', '²', 'SLURM_PROCID=² is not a whole number'),
    ('PROCID', '2', 'SLURM_PROCID=2 is not less than 2'),
    ('PROCID', _LARGE, 'is not a whole number of at most'),
    ('NODEID', '1', 'Slurm placed task 0 at position 0 of node 1'),
    ('LOCALID', '1e0', 'SLURM_LOCALID=1e0 is not a whole number'),
    ('DISTRIBUTION', 'cyclic', 'Slurm placed task 0'),
], ids=lambda value: value[:24])
def test_slurm(refused, name, value, words):
  layout = {'SLURM_NODEID': '1'} if name == 'DISTRIBUTION' else {}
  assert words in refused(*_DOCTOR, environ={
      **_STEP, **layout, f'SLURM_{name}': value})


_POD = {'RESNET_WORKER_HOST_PATTERN': 'r-{index}.r:2222',
        'RESNET_NUM_WORKERS': '2', 'JOB_COMPLETION_INDEX': '1'}


@pytest.mark.parametrize('name, value, words', [
    ('RESNET_NUM_WORKERS', '1000000000', 'RESNET_NUM_WORKERS=1000000000 '
     'describes 1000000000, but a group has 1 to 65536 workers: set it to'),
    ('RESNET_NUM_WORKERS', '0', 'set it to 1 or more in the pod template'),
    ('RESNET_NUM_WORKERS', _LARGE, 'is not a whole number of at most'),
    ('RESNET_NUM_WORKERS', '²', 'RESNET_NUM_WORKERS=² is not a whole number'),
    ('RESNET_NUM_WORKERS', '', 'RESNET_NUM_WORKERS is not set'),
    ('JOB_COMPLETION_INDEX', '2', 'JOB_COMPLETION_INDEX=2 is not less than 2'),
    ('JOB_COMPLETION_INDEX', '-1', 'is not a whole number'),
    ('JOB_COMPLETION_INDEX', _LARGE, 'is not a whole number'),
    ('RESNET_WORKER_HOST_PATTERN', 'r:2222', 'does not contain {index}'),
    ('RESNET_WORKER_HOST_PATTERN', '{index}', "gives the address '0'"),
    ('RESNET_WORKER_HOST_PATTERN', 'r-{index}..r:1', "address 'r-0..r:1'"),
    ('RESNET_WORKER_HOST_PATTERN', 'r:{index}', "gives the address 'r:0'"),
    ('RESNET_WORKER_HOST_PATTERN', '{index}' * 9000 + ':1', "0:1': use HOST:"),
], ids=lambda value: value[:24])
def test_kubernetes(refused, name, value, words):
  assert words in refused(*_DOCTOR, environ={**_POD, name: value})


_SAGEMAKER = {'SM_HOSTS': '["algo-1", "algo-2"]', 'SM_CURRENT_HOST': 'algo-2'}
_SKYPILOT = {'SKYPILOT_NODE_IPS': '10.0.0.1\n10.0.0.2',
             'SKYPILOT_NODE_RANK': '1'}


@pytest.mark.parametrize('environ, name, value, words', [
    (_SAGEMAKER, 'SM_HOSTS', '[' * 100_000, 'is not a JSON list of hosts'),
    (_SAGEMAKER, 'SM_HOSTS', 'algo-1', 'is not a JSON list of hosts'),
    (_SAGEMAKER, 'SM_HOSTS', '[]', 'is not a JSON list of hosts'),
    (_SAGEMAKER, 'SM_HOSTS', '"algo-2"', 'is not a JSON list of hosts'),
    (_SAGEMAKER, 'SM_HOSTS', '["algo-2", 5]', 'is not a JSON list of hosts'),
    (_SAGEMAKER, 'SM_HOSTS', '["a..b", "algo-2"]', "address 'a..b:2222'"),
    (_SAGEMAKER, 'SM_HOSTS', '["algo-2", "algo-2"]', 'algo-2:2222 twice'),
    (_SAGEMAKER, 'SM_CURRENT_HOST', 'algo-3', 'SM_CURRENT_HOST=algo-3 is not'),
    (_SAGEMAKER, 'SM_CURRENT_HOST', '', 'SM_CURRENT_HOST is not set'),
    (_SKYPILOT, 'SKYPILOT_NODE_IPS', '10.0.0.1 a..b', "address 'a..b:2222'"),
    (_SKYPILOT, 'SKYPILOT_NODE_IPS', '::1 ::g', "address '[::g]:2222'"),
    (_SKYPILOT, 'SKYPILOT_NODE_IPS', '\n', 'SKYPILOT_NODE_IPS is not set'),
    (_SKYPILOT, 'SKYPILOT_NODE_RANK', '2', '=2 is not less than 2'),
    (_SKYPILOT, 'SKYPILOT_NODE_RANK', '²', 'SKYPILOT_NODE_RANK=² is not a'),
    (_SKYPILOT, 'SKYPILOT_NODE_RANK', _LARGE, 'is not a whole number'),
], ids=range(15))
def test_other_platforms(refused, environ, name, value, words):
  assert words in refused(*_DOCTOR, environ={**environ, name: value})


_MPI = {'OMPI_COMM_WORLD_RANK': '1', 'OMPI_COMM_WORLD_SIZE': '2',
        'OMPI_COMM_WORLD_LOCAL_RANK': '0'}
_ADDRESSES = '--worker_addresses=a:1,b:1'


@pytest.mark.parametrize('flags, changes, words', [
    ([], {}, 'Open MPI does not say where its processes are'),
    ([_ADDRESSES], {'OMPI_COMM_WORLD_RANK': '2'}, '=2 is not less than 2'),
    ([_ADDRESSES], {'OMPI_COMM_WORLD_RANK': '²'}, '=² is not a whole number'),
    ([_ADDRESSES], {'OMPI_COMM_WORLD_SIZE': _LARGE}, 'is not a whole number'),
    ([_ADDRESSES], {'OMPI_COMM_WORLD_SIZE': '3'}, 'mpirun started 3'),
    ([_ADDRESSES], {'OMPI_COMM_WORLD_LOCAL_RANK': '1'}, 'mpirun made process'),
], ids=range(6))
def test_open_mpi(refused, flags, changes, words):
  assert words in refused(*_DOCTOR, *flags, environ={**_MPI, **changes})


@pytest.mark.parametrize('flags, words', [
    (['--worker_rank=0'], '--worker_rank=0 needs --worker_addresses'),
    ([_ADDRESSES], 'needs --worker_rank: give the rank of this worker, 0 to 1'),
    ([_ADDRESSES, '--worker_rank=2'], '--worker_rank=2 is out of range'),
    ([_ADDRESSES, '--worker_rank=-1'], '--worker_rank=-1 is out of range'),
    ([_ADDRESSES, '--worker_rank=²'], '--worker_rank=² is not allowed'),
    (['--worker_addresses=a..b:1', '--worker_rank=0'], "address 'a..b:1'"),
    (['--worker_addresses=a:1,', '--worker_rank=0'], "gives the address ''"),
    (['--worker_addresses=a:1,a:1', '--worker_rank=0'], 'a:1 twice'),
    (['--worker_addresses=[::1', '--worker_rank=0'], "address '[::1'"),
    (['--worker_addresses=a:1', '--worker_port=65536'], '--worker_port=65536'),
    (['--wait_secs=nan'], 'No worker addresses were found'),
], ids=lambda value: ' '.join(value) if isinstance(value, list) else '')
def test_flags(refused, flags, words):
  assert words in refused(*_DOCTOR, *flags)
