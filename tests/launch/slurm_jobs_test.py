"""Jobs on a real Slurm cluster: nodes in namespaces of this machine.

Most jobs run a stub trainer. All are submitted at once, and each test waits for
its own, because everything that Slurm does takes seconds.
"""
import collections
import json
import os
import pathlib
import re
import sys
import time
from typing import NamedTuple
import warnings

import numpy as np
import pytest
import tensorflow as tf

from launch.cluster import slurm_step
from tests.launch import slurm_cluster

pytestmark = pytest.mark.slow
_ROOT = pathlib.Path(__file__).parents[2]
_TINY = (
    '--config.model.width=4', '--config.global_batch=16',
    '--config.train_epochs=0', '--config.train_steps=8',
    '--config.schedule.warmup_epochs=0.05', '--steps_per_call=1',
    '--config.eval_batch=100', '--log_every_steps=2', '--eval_every_steps=4',
    '--save_every_steps=2', '--save_every_secs=0', '--start_secs=120')
_STUB, _INJURED = 'tests.launch.slurm_stub', 'tests.launch.slurm_injured'


class _Job(NamedTuple):
  number: str
  out: str  # What launch.slurm printed.
  folder: pathlib.Path

  @property
  def workdir(self):
    return self.folder / 'run'

  @property
  def log(self):
    return ''.join(
        path.read_text() for path in self.folder.glob('logs/*.log'))

  def notes(self, start=0, workdir=None):
    """Returns what the stubs noted in a start, in rank order."""
    paths = (workdir or self.workdir).glob(f'{start}_*.json')
    found = sorted((json.loads(path.read_text()) for path in paths),
                   key=lambda note: note['rank'])
    assert [note['rank'] for note in found] == list(range(len(found)))
    return found

  def count(self, start=0):
    return len(list(self.workdir.glob(f'{start}_*.json')))


class _Slurm:
  """The cluster, and how jobs are submitted to it."""

  def __init__(self, cluster, folder):
    self.cluster, self._folder = cluster, folder

  def launch(self, name, *flags, plan='*.*=0', module=_STUB,
             trainer_flags=(), check=True, **environ):
    """Returns (subprocess.CompletedProcess of launch.slurm, folder)."""
    folder = self._folder / name
    folder.mkdir()
    done = self.cluster.run(
        sys.executable, '-m', 'launch.slurm', f'--module={module}',
        f'--log_dir={folder}/logs', '--max_restarts=1', '--nodes=2', *flags,
        '--', f'--workdir={folder}/run',
        *([f'--plan={plan}'] if module == _STUB else []),
        *trainer_flags, cwd=_ROOT, check=check, **environ)
    return done, folder

  def submit(self, name, *flags, **more):
    done, folder = self.launch(name, *flags, **more)
    return _Job(done.stdout.split()[2], done.stdout, folder)

  def end(self, job, state='COMPLETED', starts=1, secs=120):
    """Waits until a job ends, and checks how often it had started by then."""
    ended = self.cluster.wait_for(job.number, 'COMPLETED', 'FAILED',
                                  'CANCELLED', 'TIMEOUT', secs=secs)
    details = self.cluster.details(job.number)
    assert ended == state, (details, job.log)
    assert int(details['Restarts']) == starts - 1, job.log
    return details

  def wait_until(self, condition, secs=60):
    deadline = time.monotonic() + secs
    while not condition():
      assert time.monotonic() < deadline, condition
      time.sleep(0.1)


@pytest.fixture(name='slurm', scope='session')
def _slurm(tmp_path_factory):
  reason = slurm_cluster.why_not()
  if reason:
    reason = f'NO JOB WAS RUN ON SLURM: {reason}'
    warnings.warn(reason, stacklevel=1)
    pytest.skip(reason)
  folder = tmp_path_factory.mktemp('slurm')
  with slurm_cluster.running(folder / 'cluster') as cluster:
    yield _Slurm(cluster, folder)


# Flags of launch.slurm, and more arguments of `launch`. The slowest first.
_JOBS = {
    'killed training': (['--sbatch=--nodelist=n9,n10'], {
        'module': _INJURED, 'trainer_flags': _TINY,
        'RESNET_TEST_INJURY': 'kill'}),
    'requeued training': ([], {
        'module': _INJURED, 'trainer_flags': _TINY,
        'RESNET_TEST_INJURY': 'requeue'}),
    # Signaled as soon as Slurm looks, which it does twice a minute.
    'time limit': (['--time=1', '--grace_secs=59'],
                   {'plan': '0.*=wait,*.*=0'}),
    'lost node': (['--sbatch=--partition=fragile', '--grace_secs=5'],
                  {'plan': '0.0=after_go,0.1=wait,*.*=0'}),
    'short starts': (['--max_restarts=0'], {'plan': '*.*=saved'}),
    'no progress': ([], {'plan': '0.*=saved,*.*=143'}),
    'preempted': (['--sbatch=--partition=preempted', '--sbatch=--exclusive'],
                  {'plan': '0.*=wait,*.*=0'}),
    'killed worker': ([], {'plan': '0.1=kill,0.*=143,*.*=0'}),
    'crash loop': ([], {'plan': '*.0=143,*.1=9'}),
    'hung worker': (['--grace_secs=1', '--max_restarts=0'],
                    {'plan': '*.0=143,*.1=wait'}),
    'permanent': ([], {'plan': '*.0=143,*.1=2'}),
    'canceled': ([], {'plan': '*.*=wait'}),
    'one task a node': (['--gpus_per_worker=2', '--sbatch=--nodelist=n9,n10'],
                        {}),
    'two tasks a node': (['--gpus_per_worker=1', '--workers_per_node=2',
                          '--sbatch=--cpus-per-task=2'], {}),
    'seeds': (['--seeds=3'], {'plan': '0.0=9,*.*=0', 'trainer_flags': [
        "--note=it's $HOME"]}),
    "it's 100%j \"$HOME\" `id` #1": (
        ["--sbatch=--comment=it's \"$HOME\" `id` #1",
         '--prologue=export FROM_PROLOGUE="a  b"'], {}),
    'failing prologue': (['--prologue=false'], {}),
}


@pytest.fixture(name='jobs', scope='session')
def _jobs(slurm):
  return {name: slurm.submit(name, *flags, **more)
          for name, (flags, more) in _JOBS.items()}


@pytest.fixture(name='undisturbed', scope='session')
def _undisturbed(slurm, tmp_path_factory):
  """Returns the run folder of two workers that plain srun started."""
  workdir = tmp_path_factory.mktemp('undisturbed') / 'run'
  slurm.cluster.run(
      'srun', '--nodes=2', '--nodelist=n9,n10', sys.executable, '-m',
      'resnet.train', '--strategy=multi_worker_mirrored',
      f'--workdir={workdir}', *_TINY, cwd=_ROOT)
  return workdir


def _state(workdir):
  reader = tf.train.load_checkpoint(os.fspath(workdir / 'checkpoints/ckpt-8'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name != 'identity'}


def test_the_launcher_prints_how_to_watch_and_to_stop_a_job(jobs):
  job = jobs['one task a node']
  assert job.out == (
      f'submitted job {job.number} (2 nodes, 2 workers)\n'
      f"log:         tail -F '{job.folder}/logs/run-{job.number}'.log\n"
      f"TensorBoard: tensorboard --logdir='{job.workdir}'\n"
      f'state:       squeue --jobs={job.number}\n'
      f'stop:        scancel {job.number}\n')


def test_a_task_owns_all_gpus_of_its_node(slurm, jobs):
  job = jobs['one task a node']
  slurm.end(job)
  notes = job.notes()
  assert [note['host'] for note in notes] == ['n9', 'n10']
  for note in notes:
    hosts = [one.rpartition(':')[0] for one in note['addresses']]
    assert hosts == ['n9', 'n10']
    assert note['environ']['CUDA_VISIBLE_DEVICES'] == '0,1'
    assert note['argv'][0] == '--strategy=multi_worker_mirrored'
  assert 'all workers are done' in job.log


def test_tasks_share_the_gpus_of_their_node(slurm, jobs):
  job = jobs['two tasks a node']
  slurm.end(job)
  notes = job.notes()
  first, second = notes[0]['host'], notes[2]['host']
  assert first != second
  assert [(note['host'], note['environ']['CUDA_VISIBLE_DEVICES'])
          for note in notes] == [(first, '0'), (first, '1'), (second, '0'),
                                 (second, '1')]
  for note in notes:
    assert note['environ']['SLURM_CPUS_PER_TASK'] == '2'
    addresses = note['addresses']
    assert addresses == notes[0]['addresses'] and len(set(addresses)) == 4
    assert [one.partition(':')[0] for one in addresses] == [
        first, first, second, second]


def test_nodes_may_have_different_numbers_of_tasks(slurm, tmp_path):
  slurm.cluster.run(
      'srun', '--nodes=3', '--ntasks=4', sys.executable, '-m',
      _STUB, f'--workdir={tmp_path}/run', cwd=_ROOT)
  notes = _Job('', '', tmp_path).notes()
  hosts = [one['host'] for one in notes]
  # Slurm chooses which node has two.
  assert sorted(collections.Counter(hosts).values()) == [1, 1, 2]
  for note in notes:
    assert note['addresses'] == notes[0]['addresses']
    assert [one.partition(':')[0] for one in note['addresses']] == hosts
  assert len(set(notes[0]['addresses'])) == 4


def test_a_cyclic_layout_is_refused_by_all_tasks(slurm, tmp_path):
  done = slurm.cluster.run(
      'srun', '--nodes=2', '--ntasks-per-node=2', '--distribution=cyclic',
      sys.executable, '-m', _STUB, f'--workdir={tmp_path}/run',
      cwd=_ROOT, check=False)
  assert done.returncode == 2
  sentence = ('error: Slurm placed the tasks with --distribution=cyclic: '
              'launch with srun --distribution=block.')
  assert done.stderr.count(sentence) == 4


def test_host_lists_are_read_as_slurm_reads_them(slurm):
  for text in ('n[8-11]', 'a[008-011],b', 'r[1-2]n[1,3-4]', 'n[1,1],m',
               'n9,n[10-12],n8', 'x[9-10]y[098-101]', 'a-1,a-[2-3]'):
    shown = slurm.cluster.run('scontrol', 'show', 'hostnames', text)
    assert slurm_step._hosts(text) == shown.stdout.split()


def test_a_time_limit_is_survived(slurm, jobs):
  job = jobs['time limit']
  slurm.wait_until(lambda: 'restarting (' in job.log, secs=90)
  slurm.cluster.start_soon(job.number)
  slurm.end(job, starts=2)
  assert len(list(job.workdir.glob('0_*.saved'))) == 2
  assert 'restarting (not counted: exit code 143 asks for a restart)' in job.log
  assert job.log.index('start 0 on') < job.log.index('start 1 on')
  assert len(job.notes(start=1)) == 2


def test_preemption_is_survived(slurm, jobs):
  job = jobs['preempted']
  slurm.wait_until(lambda: job.count() == 2)
  slurm.cluster.run(
      'sbatch', '--partition=urgent', '--nodes=2', '--exclusive',
      '--output=/dev/null', '--wrap=true')
  slurm.end(job, starts=2)
  assert len(list(job.workdir.glob('0_*.saved'))) == 2
  assert 'restarting (not counted' in job.log


def test_a_lost_node_is_survived(slurm, jobs):
  """Its peer reports the loss, and Slurm uses another node."""
  job = jobs['lost node']
  slurm.wait_until(lambda: job.count() == 2)
  lost = job.notes()[1]['host']
  with slurm.cluster.cut_off(lost):
    (job.workdir / 'go').touch()
    slurm.end(job, starts=2)
  hosts = [note['host'] for note in job.notes(start=1)]
  assert len(hosts) == 2 and lost not in hosts
  assert 'restarting (not counted: a node is not responding)' in job.log


def test_a_killed_worker_is_a_failure_though_its_peers_ask_for_a_restart(
    slurm, jobs):
  job = jobs['killed worker']
  slurm.end(job, starts=2)
  assert ('restarting (1 of 1 restarts): worker 1 ended with exit code 137'
          in job.log)
  assert not list(job.folder.glob('logs/*.restarts'))
  assert not list(job.folder.glob('logs/*.codes*'))


def test_a_crash_loop_stops_at_the_budget(slurm, jobs):
  job = jobs['crash loop']
  details = slurm.end(job, 'FAILED', starts=2)
  assert details['ExitCode'] == '9:0'
  assert ('not restarting (--max_restarts=1 is used up): worker 1 ended with '
          'exit code 9') in job.log


def test_a_worker_that_hangs_when_others_ended_is_a_failure(slurm, jobs):
  job = jobs['hung worker']
  slurm.end(job, 'FAILED')
  # The shell around it may live long enough to note how it ended.
  assert re.search(r'\(--max_restarts=0 is used up\): worker 1 (had to be '
                   r'killed|ended with exit code 137)\n', job.log)


def test_starts_that_only_ask_for_another_come_to_an_end(slurm, jobs):
  job = jobs['short starts']
  details = slurm.end(job, 'FAILED', starts=5)
  assert details['ExitCode'] == '1:0'
  assert 'not restarting (5 starts in a row ended within 60 s)' in job.log


def test_starts_that_ask_without_progress_are_failures(slurm, jobs):
  """The first one is not counted, and the budget is one restart."""
  job = jobs['no progress']
  details = slurm.end(job, 'FAILED', starts=3)
  assert details['ExitCode'] == '1:0'
  cause = (': exit code 143 without a new checkpoint in '
           f'{job.workdir}/checkpoints\n')
  assert 'restarting (not counted: exit code 143 asks for a' in job.log
  assert f'restarting (1 of 1 restarts){cause}' in job.log
  assert f'not restarting (--max_restarts=1 is used up){cause}' in job.log


def test_a_permanent_error_is_not_restarted(slurm, jobs):
  """Although its peers lose it and exit with a higher code."""
  job = jobs['permanent']
  details = slurm.end(job, 'FAILED')
  assert details['ExitCode'] == '2:0'
  assert ('not restarting (a restart would not help after exit code 2):'
          in job.log)


def test_scancel_is_not_undone(slurm, jobs):
  job = jobs['canceled']
  slurm.wait_until(lambda: job.count() == 2)
  slurm.cluster.run('scancel', job.number)
  slurm.end(job, 'CANCELLED')
  slurm.wait_until(lambda: 'leaving the job to Slurm, which reports' in job.log)
  assert len(list(job.workdir.glob('0_*.saved'))) == 2
  assert slurm.cluster.state(job.number) == 'CANCELLED'


def test_seeds_are_an_array_of_jobs_that_restart_by_themselves(slurm, jobs):
  job = jobs['seeds']
  slurm.cluster.wait_for(job.number, 'COMPLETED', 'FAILED')
  for seed in range(3):
    slurm.end(job._replace(number=f'{job.number}_{seed}'), starts=2)
    notes = job.notes(1, pathlib.Path(f'{job.workdir}/seed_{seed}'))
    for note in notes:
      assert f'--config.seed={seed}' in note['argv']
      assert "--note=it's $HOME" in note['argv']
    assert len(notes) == 2
    log = (job.folder / f'logs/run-{job.number}_{seed}.log').read_text()
    assert log.count('restarting (') == 1 and 'all workers are done' in log
  assert '2 nodes, 2 workers, 3 seeds' in job.out
  shown = job.out.splitlines()[1].removeprefix('log:         tail -F ')
  listed = slurm.cluster.run('bash', '-c', f'ls {shown}').stdout
  assert len(listed.splitlines()) == 3


def test_what_users_write_is_passed_on_unchanged(slurm, jobs):
  name = list(_JOBS)[-2]
  job = jobs[name]
  slurm.end(job)
  for note in job.notes():
    assert f'--workdir={job.folder}/run' in note['argv']
    assert note['environ']['FROM_PROLOGUE'] == 'a  b'
  shown = slurm.cluster.run(
      'squeue', '-ht', 'all', '-j', job.number, '-o', '%k').stdout
  assert shown == 'it\'s "$HOME" `id` #1\n'
  command = job.out.splitlines()[1].removeprefix('log:         tail -F ')
  assert 'all workers' in slurm.cluster.run('bash', '-c', f'cat {command}'
                                           ).stdout


def test_a_failing_prologue_ends_the_job(slurm, jobs):
  job = jobs['failing prologue']
  slurm.end(job, 'FAILED')
  assert not job.count()


def test_test_only_lets_slurm_check_a_job(slurm):
  done, folder = slurm.launch('checked', '--test_only')
  assert 'to start at' in done.stdout and 'using 2 processors' in done.stdout
  assert not list(folder.iterdir())


@pytest.mark.parametrize('flags', [[], ['--test_only']])
def test_what_slurm_rejects_is_quoted(slurm, flags):
  done, _ = slurm.launch(f'refused{len(flags)}', '--sbatch=--partition=none',
                         *flags, check=False)
  assert done.returncode == 2 and not done.stdout
  assert done.stderr.startswith(
      'error: sbatch rejected the job ("') and done.stderr.count('\n') == 1
  assert 'nvalid partition' in done.stderr and done.stderr.endswith('.\n')


def test_a_killed_worker_changes_no_bit(slurm, jobs, undisturbed):
  job = jobs['killed training']
  slurm.end(job, starts=2, secs=200)
  assert 'worker 1 ended with exit code 137' in job.log
  assert 'Lost worker 1 at n10:' in job.log
  _assert_same_bits(undisturbed, job.workdir)


def test_a_requeued_job_changes_no_bit(slurm, jobs, undisturbed):
  job = jobs['requeued training']
  slurm.end(job, starts=2, secs=200)
  _assert_same_bits(undisturbed, job.workdir)


def _assert_same_bits(one, other):
  expected, found = _state(one), _state(other)
  assert expected.keys() == found.keys() and len(found) > 60
  for name, value in expected.items():
    np.testing.assert_array_equal(found[name], value, err_msg=name)
