"""A Slurm step's tasks: addresses in Slurm's order, or one sentence."""
import json
import pathlib

import pytest

from configs.process.errors import UserError
from launch.cluster import resolver, slurm_step

# From Slurm 22.05.8 with MpiParams=ports=21000-21999 in its slurm.conf.
_RECORDED = json.loads(
    pathlib.Path(__file__).with_name('slurm_environments.json').read_text())


def _environ(nodes, tasks, procid=0, nodeid=0, localid=0, **others):
  return {'SLURM_JOB_ID': '7', 'SLURM_STEP_NODELIST': nodes,
          'SLURM_STEP_TASKS_PER_NODE': tasks, 'SLURM_PROCID': f'{procid}',
          'SLURM_NODEID': f'{nodeid}', 'SLURM_LOCALID': f'{localid}', **others}


# Ports of job 7: 20000 + 7 * 16.
@pytest.mark.parametrize('nodes, tasks, addresses', [
    ('n1', '1', 'n1:20112'),
    ('n1', '2', 'n1:20112 n1:20113'),
    ('n[9-10]', '1(x2)', 'n9:20112 n10:20112'),
    ('n[1-3]', '2(x2),1',
     'n1:20112 n1:20113 n2:20112 n2:20113 n3:20112'),
    ('n[1-2]', '1,3', 'n1:20112 n2:20112 n2:20113 n2:20114'),
    ('gpu[007-009,12],login-a', '1(x5)',
     'gpu007:20112 gpu008:20112 gpu009:20112 gpu12:20112 login-a:20112'),
    ('a[09-10]', '1(x2)', 'a09:20112 a10:20112'),
    ('r[1-2]n[1,3]x', '1(x4)',
     'r1n1x:20112 r1n3x:20112 r2n1x:20112 r2n3x:20112'),
    ('b2,a1', '1(x2)', 'b2:20112 a1:20112'),
])
def test_addresses_keep_the_order_of_slurm(nodes, tasks, addresses):
  found, rank = slurm_step.tasks(_environ(nodes, tasks))
  assert (' '.join(found), rank) == (addresses, 0)


@pytest.mark.parametrize('job, port', [
    ('1', 20016), ('623', 29968), ('624', 20000), ('625', 20016),
    ('987654321', 23600)])
def test_jobs_have_ports_of_their_own(job, port):
  (address,), _ = slurm_step.tasks(_environ('n1', '1', SLURM_JOB_ID=job))
  assert address == f'n1:{port}'


def test_given_ports_come_before_reserved_ones():
  environ = _environ('n[1-2]', '2,1', 2, 1, 0,
                     SLURM_STEP_RESV_PORTS='21003,21007-21008')
  assert slurm_step.tasks(environ) == (
      ('n1:21003', 'n1:21007', 'n2:21003'), 2)
  assert slurm_step.tasks(environ, 65533)[0] == (
      'n1:65533', 'n1:65534', 'n2:65533')


@pytest.mark.parametrize('environ, words', [
    (_environ('n[1-2]', '2(x2)', 1, 1, 0),
     'Slurm placed task 1 at position 0 of node 1, but block by block it would '
     'be at position 1 of node 0: launch with srun --distribution=block'),
    (_environ('n[1-2]', '2(x2)', 2, 0, 1), 'task 2 at position 1 of node 0'),
    (_environ('n[1-2]', '2(x2)', 2, 1, 1), 'task 2 at position 1 of node 1'),
    (_environ('n[1-2]', '1(x2)', 2, 1, 0), 'SLURM_PROCID=2 is not less than 2'),
    (_environ('n[1-3]', '1(x2)'), 'describes 2 nodes, but SLURM_STEP_NODELIST='
     'n[1-3] lists 3'),
    (_environ('n1', '1x2'), "=1x2 cannot be parsed at '1x2'"),
    (_environ('n1', '2,'), "cannot be parsed at ''"),
    (_environ('n[1-', '1'), "=n[1- cannot be parsed at 'n[1-'"),
    (_environ('n1]', '1'), "cannot be parsed at 'n1]'"),
    (_environ('n[a-b]', '1'), "cannot be parsed at 'a-b': give the workers'"),
    (_environ('n1,,n2', '1'), "cannot be parsed at ''"),
    (_environ('n1', '1', SLURM_JOB_ID='x'), 'SLURM_JOB_ID=x is not a whole'),
    (_environ('n1', '1', SLURM_LOCALID=''), 'SLURM_LOCALID is not set'),
    (_environ('n1', '3', SLURM_STEP_RESV_PORTS='1-2'),
     'has 2 ports, but a node runs 3 tasks: give srun --resv-ports=3'),
    (_environ('n1', '1', SLURM_STEP_RESV_PORTS='?'),
     "SLURM_STEP_RESV_PORTS=? cannot be parsed at '?'"),
])
def test_a_wrong_environment_is_explained(environ, words):
  with pytest.raises(UserError) as raised:
    slurm_step.tasks(environ)
  assert words in str(raised.value) and str(raised.value).endswith('.')


def test_a_port_with_too_few_after_it_is_refused():
  with pytest.raises(UserError, match='=65534 leaves too few ports for the '
                     '3 tasks of a node: give at most 65533'):
    slurm_step.tasks(_environ('n1', '3'), 65534)


def _recorded(command):
  """Returns the environments of all tasks that a command started."""
  record, = [one for one in _RECORDED if one['command'].startswith(command)]
  return [{**record['all_tasks'], **task} for task in record['each_task']]


@pytest.mark.parametrize('command, addresses', [
    ('srun --nodes=2 --nodelist=n9,n10', 'n9:21001 n10:21001'),
    ('srun --nodes=3 --ntasks=4', 'n8:21003 n8:21004 n9:21003 n10:21003'),
    ('srun --nodes=2 --ntasks-per-node=2 --gpus-per-task=1',
     'n8:21009 n8:21010 n9:21009 n9:21010'),
    ('srun --ntasks=1', 'n8:21012'),
    # In a job array, on fewer nodes than the job has.
    ('srun --nodes=2 --ntasks=4', 'n8:21014 n8:21015 n9:21014 n9:21015'),
])
def test_recorded_steps_give_addresses_and_ranks(command, addresses):
  tasks = _recorded(command)
  found = [resolver.from_environment(environ) for environ in tasks]
  assert [one.rank for one in found] == list(range(len(tasks)))
  assert {' '.join(one.addresses) for one in found} == {addresses}


def test_a_recorded_step_without_reserved_ports_gets_ports_by_job_number():
  for environ in _recorded('srun --nodes=2 --nodelist=n9,n10'):
    del environ['SLURM_STEP_RESV_PORTS']  # Without MpiParams.
    found = resolver.from_environment(environ)
    assert found.addresses == ('n9:20016', 'n10:20016')


def test_a_recorded_cyclic_layout_is_refused():
  for environ in _recorded('srun --nodes=2 --ntasks-per-node=2 --dist'):
    with pytest.raises(UserError, match='=cyclic: launch with srun --distri'):
      slurm_step.tasks(environ)
    # Where the site makes it the default, tasks 1 and 2 of the 4 notice.
    del environ['SLURM_DISTRIBUTION']
    if environ['SLURM_PROCID'] in '12':
      with pytest.raises(UserError, match='block by block it would be at po'):
        slurm_step.tasks(environ)


def test_a_recorded_job_without_srun_is_refused():
  environ, = _recorded('(none')
  with pytest.raises(UserError, match=r'workers with srun \(in a Slurm job\)'):
    resolver.from_environment(environ)


@pytest.mark.parametrize('nodes, tasks, distribution', [
    ('n[1-2]', '1(x2)', 'cyclic'), ('n1', '4', 'cyclic'),
    ('n[1-2]', '2(x2)', 'block:cyclic')])  # Of cores, within a node.
def test_layouts_block_by_block_are_accepted(nodes, tasks, distribution):
  environ = _environ(nodes, tasks, SLURM_DISTRIBUTION=distribution)
  assert slurm_step.tasks(environ)[1] == 0
