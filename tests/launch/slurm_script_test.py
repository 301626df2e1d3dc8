"""The batch script, run by bash with stand-ins for Slurm's commands."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

from configs.process import python_module
from launch.slurm import script
from tests.launch import slurm_cluster

# Each worker prints its arguments, and ends as the test says.
_WORKER = ('bash', '-c', 'printf "<%s>" "$@"; exit $ENDS', 'worker')
_FAKES = {
    'srun': """
while [ "$1" != bash ]; do echo "$1" >> srun_options; shift; done
rank=0 code=$SRUN_CODE
for ends in $ENDINGS; do
  if [ $ends != lost ]; then
    [ -z "$NODE_GPUS" ] || export CUDA_VISIBLE_DEVICES=$(
        echo "$NODE_GPUS" | cut -d' ' -f$((rank % TASKS_PER_NODE + 1)))
    SLURM_PROCID=$rank ENDS=$ends "$@"
    [ $? -le $code ] || code=$ends
  fi
  rank=$((rank + 1))
done
if [ -n "$SAVES" ]; then touch "$SAVES_IN/$SAVES"; fi
exit $code""",
    'squeue': 'echo "squeue $*" >> asked; echo $STATE; [ -n "$STATE" ]',
    'scontrol': 'echo "scontrol $*" >> asked; exit $REFUSES',
    'sinfo': 'printf "$NODES"',
    'sleep': 'echo "slept $1" >> asked'}


class _Ended(NamedTuple):
  code: int
  out: str
  asked: list  # What Slurm's commands were called with.
  folder: pathlib.Path

  @property
  def restarts(self):
    """(failures, short starts) kept for the next start, or None."""
    path = self.folder / 'logs/r-7.restarts'
    return path.exists() and tuple(map(int, path.read_text().split())) or None


def _job(folder, **changes):
  return script.Job(**{
      'name': 'r', 'nodes': 2, 'workers_per_node': 1, 'gpus_per_worker': 0,
      'command': _WORKER, 'workdir': f'{folder}/r', 'log_dir': f'{folder}/logs',
      'grace_secs': 9, 'max_restarts': 1, **changes})


def _run(folder, endings, changes=(), noted=None, secs=None, **environ):
  """Runs the script to its end.

  It starts from the checkpoint of step 4, and saves that of step 8.

  Args:
    folder: pathlib.Path.
    endings: exit codes of the workers, or 'lost': '0 143'.
    changes: {field of the Job: value}.
    noted: (failures, short starts) of earlier starts; None: this is the first.
    secs: how long the workers take by the script's clock.
    environ: variables for the stand-ins.

  Returns:
    _Ended.
  """
  text = script.render(_job(folder, **dict(changes)))
  if secs is not None:
    text = text.replace('secs=$((SECONDS - began))', f'secs={secs}')
    assert f'secs={secs}' in text
  (folder / 'bin').mkdir()
  for name, code in _FAKES.items():
    path = folder / 'bin' / name
    path.write_text(f'#!/bin/bash\n{code}\n')
    path.chmod(0o755)
  (folder / 'logs').mkdir()
  checkpoints = folder / 'r/checkpoints'
  checkpoints.mkdir(parents=True)
  (checkpoints / 'ckpt-4.index').touch()
  if noted:
    (folder / 'logs/r-7.restarts').write_text('{} {}\n'.format(*noted))
    (folder / 'logs/r-7.codes.0').mkdir()  # As if that start had been killed.
  done = subprocess.run(
      ['bash'], input=text, text=True, check=False, timeout=60, cwd=folder,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={
          'PATH': f'{folder}/bin:{os.environ["PATH"]}', 'ENDINGS': endings,
          'SRUN_CODE': '0', 'STATE': 'RUNNING', 'REFUSES': '0', 'NODES': 'mix',
          'SLURM_JOB_ID': '7', 'SLURM_JOB_NODELIST': 'n[1-2]',
          'SAVES_IN': f'{checkpoints}', 'SAVES': 'ckpt-8.index',
          **({'SLURM_RESTART_COUNT': '1'} if noted else {}), **environ})
  asked = folder / 'asked'
  return _Ended(done.returncode, done.stdout,
                asked.read_text().splitlines() if asked.exists() else [],
                folder)


_REQUEUED = ['squeue --noheader --jobs=7 --format=%T', 'scontrol requeue 7',
             'slept 60']


def test_a_finished_job_leaves_no_files(tmp_path):
  ended = _run(tmp_path, '0 0', noted=(1, 2))
  assert (ended.code, ended.asked, ended.restarts) == (0, [], None)
  assert ended.out.endswith('all workers are done\n')
  assert not list((tmp_path / 'logs').iterdir())


_ASKED = '(not counted: exit code 143 asks for a restart)'


@pytest.mark.parametrize('endings, noted, secs, then, words', [
    # The second number counts starts in a row that were shorter than 60 s.
    ('143 143', None, 60, (0, 0), _ASKED),
    ('143 143', None, 59, (0, 1), _ASKED),
    ('0 143', (1, 3), 59, (1, 4), _ASKED),
    ('143 0', (1, 4), 60, (1, 0), _ASKED),
    ('1 143', None, 99, (1, 0),
     '(1 of 1 restarts): worker 0 ended with exit code 1'),
    ('143 137', None, 99, (1, 0), ': worker 1 ended with exit code 137'),
    ('9 8', None, 99, (1, 0), ': worker 0 ended with exit code 9'),
])
def test_a_job_restarts(tmp_path, endings, noted, secs, then, words):
  ended = _run(tmp_path, endings, noted=noted, secs=secs)
  assert ended.asked == _REQUEUED and ended.restarts == then
  assert 'restarting (' in ended.out and words in ended.out
  assert not list((tmp_path / 'logs').glob('*.codes*'))


@pytest.mark.parametrize('saves', [
    '', 'ckpt-4.index', 'ckpt-8.data-00000-of-00001', 'ckpt-8.index.corrupt'])
def test_143_without_a_new_checkpoint_is_a_failure(tmp_path, saves):
  cause = f'exit code 143 without a new checkpoint in {tmp_path}/r/checkpoints'
  ended = _run(tmp_path, '143 143', secs=99, SAVES=saves)
  assert ended.asked == _REQUEUED and ended.restarts == (1, 0)
  assert f'restarting (1 of 1 restarts): {cause}\n' in ended.out
  (tmp_path / 'next').mkdir()
  ended = _run(tmp_path / 'next', '143 0', noted=(1, 0), secs=99, SAVES=saves)
  assert (ended.code, ended.restarts) == (1, None)
  assert ('not restarting (--max_restarts=1 is used up): exit code 143 without '
          f'a new checkpoint in {tmp_path}/next/r/checkpoints\n') in ended.out


def test_checkpoints_of_a_seed_are_looked_for_in_its_folder(tmp_path):
  """Whatever characters its path has."""
  runs = tmp_path / "it's [a] b"
  job = {'seeds': 3, 'workdir': f'{runs}'}
  seed = {'SLURM_ARRAY_JOB_ID': '5', 'SLURM_ARRAY_TASK_ID': '2'}
  for number, expected in ((1, 'without a new checkpoint'), (2, _ASKED)):
    folder = tmp_path / f'{number}'
    folder.mkdir()
    (runs / f'seed_{number}/checkpoints').mkdir(parents=True)
    ended = _run(folder, '143 143', job, secs=99, **{
        **seed, 'SAVES_IN': f'{runs}/seed_{number}/checkpoints'})
    assert expected in ended.out


def test_the_first_start_need_not_find_a_folder(tmp_path):
  run = {'workdir': f'{tmp_path}/new'}
  assert 'without a new checkpoint' in _run(
      tmp_path, '143 143', run, SAVES='').out


@pytest.mark.parametrize('code', [2, 64, 78])
def test_a_permanent_error_is_not_restarted(tmp_path, code):
  """Not even that of one worker whose peers end with a higher code."""
  ended = _run(tmp_path, f'143 {code}')
  assert (ended.code, ended.asked, ended.restarts) == (code, [], None)
  assert ('not restarting (a restart would not help after exit code '
          f'{code}): fix the error above, then submit again\n') in ended.out


@pytest.mark.parametrize('endings, noted, secs, code, words', [
    ('143 9', (1, 0), 99, 9,
     'not restarting (--max_restarts=1 is used up): worker 1 ended with'),
    ('143 143', (0, 4), 59, 1,
     'not restarting (5 starts in a row ended within 60 s): fix'),
    ('9 143', (0, 4), 59, 1,
     'not restarting (5 starts in a row ended within 60 s): fix'),
])
def test_a_job_whose_budget_is_used_up_ends(
    tmp_path, endings, noted, secs, code, words):
  ended = _run(tmp_path, endings, noted=noted, secs=secs)
  assert (ended.code, ended.restarts) == (code, None)
  assert words in ended.out and 'scontrol requeue 7' not in ended.asked


def test_counts_of_an_earlier_job_with_that_number_are_ignored(tmp_path):
  ended = _run(tmp_path, '9 143', noted=(1, 4), SLURM_RESTART_COUNT='0')
  assert ended.restarts == (1, 1)


@pytest.mark.parametrize('state, shown', [
    ('COMPLETING', 'COMPLETING'), ('CANCELLED', 'CANCELLED'), ('', 'unknown')])
def test_a_canceled_job_is_not_requeued(tmp_path, state, shown):
  ended = _run(tmp_path, '143 143', STATE=state)
  assert ended.code == 143 and 'scontrol requeue 7' not in ended.asked
  assert (f'leaving the job to Slurm, which reports it as {shown} (canceled, '
          in ended.out)
  # A controller that does not answer is asked again.
  assert ended.asked.count('slept 10') == (0 if state else 6)


@pytest.mark.parametrize('nodes, words', [
    ('mix\\nmix*\\n', '(not counted: a node is not responding)'),
    ('down\\nmix\\n', '(not counted: a node is not responding)'),
    ('mix\\nidle\\n', '(1 of 1 restarts): worker 1 had to be killed')])
def test_a_worker_without_an_exit_code_is_lost_or_was_killed(
    tmp_path, nodes, words):
  ended = _run(tmp_path, '143 lost', NODES=nodes, SRUN_CODE='137')
  assert ended.asked[-3:] == _REQUEUED
  assert f'restarting {words}' in ended.out


def test_a_failure_of_srun_itself_is_a_failure(tmp_path):
  ended = _run(tmp_path, '0 0', SRUN_CODE='5')
  assert ended.restarts[0] == 1
  assert '(1 of 1 restarts): srun ended with exit code 5' in ended.out


def test_a_job_that_slurm_does_not_requeue_ends(tmp_path):
  ended = _run(tmp_path, '143 143', REFUSES='1')
  assert ended.code == 143 and ended.restarts is None
  assert ended.asked.count('scontrol requeue 7') == 6
  assert ('not restarting (Slurm refused to requeue the job): submit again to '
          'continue from the last checkpoint\n') in ended.out


def test_workers_get_their_words_unchanged(tmp_path):
  words = ("it's", 'a  b', '$HOME', '`id`', '"', '\\', '*', '', '#1', 'x\ny',
           '--config.a=(1, 2)', 'é')
  ended = _run(tmp_path, '0 0', {'command': (*_WORKER, *words)})
  assert ended.out.count(''.join(f'<{word}>' for word in words)) == 2


def test_the_seed_is_the_number_of_the_array_task(tmp_path):
  ended = _run(tmp_path, '0 9', {'seeds': 3, 'workdir': "/it's/a b"},
               SLURM_ARRAY_JOB_ID='5', SLURM_ARRAY_TASK_ID='2')
  assert "<--workdir=/it's/a b/seed_2><--config.seed=2>" in ended.out
  assert (tmp_path / 'logs/r-5_2.restarts').exists()
  # Not SLURM_JOB_ID, which for one of the tasks means all of them.
  assert ended.asked == ['squeue --noheader --jobs=5_2 --format=%T',
                         'scontrol requeue 5_2', 'slept 60']


def test_workers_get_the_environment_of_the_job(tmp_path):
  """Without the TF_CONFIG of the shell that submitted it."""
  shows = ('bash', '-c', 'echo "[${TF_CONFIG-none} $SRUN_CPUS_PER_TASK '
           '$PYTHONUNBUFFERED $MINE]"; exit $ENDS')
  ended = _run(tmp_path, '0 0', {'command': shows, 'prologue': 'export MINE=x'},
               TF_CONFIG='{}', SLURM_CPUS_PER_TASK='6')
  assert ended.out.count('[none 6 1 x]') == 2
  (tmp_path / 'other').mkdir()
  shows = _run(tmp_path / 'other', '0', {'command': (
      'bash', '-c', 'echo "[${SRUN_CPUS_PER_TASK-none}]"')})
  assert '[none]' in shows.out


def test_a_failing_prologue_ends_the_job(tmp_path):
  ended = _run(tmp_path, '0 0', {'prologue': 'echo here\nfalse\necho there'})
  assert ended.code == 1 and not (tmp_path / 'srun_options').exists()
  assert 'here' in ended.out and 'there' not in ended.out


def test_a_log_folder_that_is_not_writable_ends_the_job(tmp_path):
  ended = _run(tmp_path, '0 0', {'log_dir': '/proc/none'})
  assert ended.code == 1 and (
      'the log folder /proc/none is not writable: free' in ended.out)
  assert not (tmp_path / 'srun_options').exists()


def test_options_of_srun(tmp_path):
  _run(tmp_path, '0 0',
       {'nodes': 3, 'workers_per_node': 2, 'gpus_per_worker': 2})
  assert (tmp_path / 'srun_options').read_text().split() == [
      '--nodes=3', '--ntasks=6', '--ntasks-per-node=2', '--gpus-per-task=2',
      '--distribution=block', '--export=ALL', '--label', '--kill-on-bad-exit=0',
      '--wait=9']


def test_each_worker_has_its_own_gpus(tmp_path):
  """Those that srun gives it, not those of the batch script: all of the node's.

  As Slurm 22.05 numbers them without cgroups; with cgroups each worker sees 4
  that are called 0 to 3.
  """
  shows = ('bash', '-c', 'echo "[$SLURM_PROCID $CUDA_VISIBLE_DEVICES]"; '
           'exit $ENDS')
  ended = _run(
      tmp_path, '0 0 0 0', {
          'command': shows, 'workers_per_node': 2, 'gpus_per_worker': 4},
      CUDA_VISIBLE_DEVICES='0,1,2,3,4,5,6,7', TASKS_PER_NODE='2',
      NODE_GPUS='0,1,2,3 4,5,6,7')
  for rank, gpus in enumerate(['0,1,2,3', '4,5,6,7'] * 2):
    assert f'[{rank} {gpus}]\n' in ended.out


@pytest.mark.slow
def test_slurm_gives_each_worker_its_own_gpus(tmp_path, monkeypatch):
  """On real nodes of 8 GPUs: files that stand in for devices."""
  reason = slurm_cluster.why_not()
  if reason:
    pytest.skip(f'NO JOB WAS RUN ON SLURM: {reason}')
  monkeypatch.setattr(slurm_cluster, 'GPUS', 8)
  with slurm_cluster.running(tmp_path / 'cluster') as cluster:
    done = cluster.run(
        sys.executable, '-m', 'launch.slurm', '--nodes=2',
        '--workers_per_node=2', '--gpus_per_worker=4',
        '--module=tests.launch.slurm_stub', f'--log_dir={tmp_path}/logs', '--',
        f'--workdir={tmp_path}/run', cwd=python_module.ROOT)
    cluster.wait_for(done.stdout.split()[2], 'COMPLETED')
  notes = [json.loads(path.read_text())
           for path in sorted((tmp_path / 'run').glob('0_*.json'))]
  assert [(note['host'], note['environ']['CUDA_VISIBLE_DEVICES'])
          for note in notes] == [(node, gpus) for node in ('n8', 'n9')
                                 for gpus in ('0,1,2,3', '4,5,6,7')]


@pytest.mark.parametrize('workers_per_node, gpus_per_worker, of_node', [
    (2, 4, 8), (8, 1, 8), (1, 8, 8), (4, 2, 8)])
def test_a_step_asks_for_all_gpus_of_its_nodes(
    tmp_path, workers_per_node, gpus_per_worker, of_node):
  """Asked for less, Slurm would leave some unused; for more, it would wait."""
  text = script.render(_job(
      tmp_path, nodes=3, workers_per_node=workers_per_node,
      gpus_per_worker=gpus_per_worker))
  assert f'\n#SBATCH --gpus-per-node={of_node}\n' in text
  for option in (f'--gpus-per-task={gpus_per_worker}', '--nodes=3',
                 f'--ntasks={3 * workers_per_node}',
                 f'--ntasks-per-node={workers_per_node}'):
    assert f'\n    {option}\n' in text
  assert text.count('--gpu') == 2  # None of sbatch's for tasks, no --gpu-bind.
  assert 'CUDA_VISIBLE_DEVICES' not in text


def test_options_of_sbatch(tmp_path):
  text = script.render(_job(
      tmp_path, log_dir="/a b/it's 100%", gpus_per_worker=8, time='1-0',
      seeds=2,
      options=('--partition=gpu', "--comment=a 'b'", '--exclusive', '-p x')))
  lines = text.splitlines()
  assert lines[:15] == [
      '#!/bin/bash', '#SBATCH --job-name=r', '#SBATCH --nodes=2',
      '#SBATCH --ntasks-per-node=1', '#SBATCH --gpus-per-node=8',
      '#SBATCH --time=1-0', '#SBATCH --array=0-1', '#SBATCH --signal=TERM@9',
      '#SBATCH --requeue', '#SBATCH --open-mode=append',
      '#SBATCH --output=\'/a b/it\'"\'"\'s 100%%/r-%A_%a.log\'',
      '#SBATCH --partition=gpu', '#SBATCH --comment=\'a \'"\'"\'b\'"\'"\'\'',
      '#SBATCH --exclusive', '#SBATCH -p x']
  plain = script.render(_job(tmp_path))
  for absent in ('--gpus', '--time', '--array', 'set -e'):
    assert absent not in plain


@pytest.mark.parametrize('folders, given, found', [
    (('/code', ''), {}, '/code'),
    (('/code', ''), {'PYTHONPATH': '/a:/b'}, '/code:/a:/b'),
    (("/it's $HOME", '/mine'), {'PYTHONPATH': '/a'}, "/it's $HOME:/a:/mine"),
    (('/code', '/mine'), {}, '/code:/mine'),
    (('', ''), {'PYTHONPATH': '/a'}, '/a'),
    (('', ''), {}, 'none')])
def test_workers_search_for_the_code_first(tmp_path, folders, given, found):
  """Before what the job's PYTHONPATH names, whoever set that."""
  shows = ('bash', '-c', 'echo "[${PYTHONPATH-none}]"; exit $ENDS')
  job = {'command': shows, **dict(zip(('code_folder', 'module_folder'),
                                      folders))}
  assert f'[{found}]\n' in _run(tmp_path, '0', job, **given).out
  if given:
    (tmp_path / 'other').mkdir()
    job['prologue'] = f'export PYTHONPATH={given["PYTHONPATH"]}'
    assert f'[{found}]\n' in _run(tmp_path / 'other', '0', job).out


@pytest.mark.parametrize('changes', [None, {}, {
    'seeds': 2, 'time': '1-0', 'gpus_per_worker': 8, 'code_folder': '/a b',
    'module_folder': "/it's", 'options': ('--partition=gpu', '-p x'),
    'prologue': 'module load cuda\nexport A=b'}])
def test_shellcheck_finds_nothing(tmp_path, changes):
  """In job.sh as it is, and in scripts that are made of it."""
  if not shutil.which('shellcheck'):
    pytest.skip('shellcheck is not installed')
  path = pathlib.Path(script.__file__).with_name('job.sh')
  if changes is not None:
    path = tmp_path / 'script.sh'
    path.write_text(script.render(_job(
        tmp_path, command=(sys.executable, '-m', 'resnet.train'), **changes)))
  done = subprocess.run(['shellcheck', path], capture_output=True, text=True,
                        check=False)
  assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
