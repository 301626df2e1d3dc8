"""The batch script, run by bash among stand-ins for Slurm's commands."""
import os
import pathlib
import subprocess
from typing import NamedTuple

import pytest

from launch.slurm import script

# Each worker prints what it is given, and ends as the test says.
_WORKER = ('bash', '-c', 'printf "<%s>" "$@"; exit $ENDS', 'worker')
_FAKES = {
    'srun': """
while [ "$1" != bash ]; do echo "$1" >> srun_options; shift; done
rank=0 code=$SRUN_CODE
for ends in $ENDINGS; do
  if [ $ends != lost ]; then
    SLURM_PROCID=$rank ENDS=$ends "$@"
    [ $? -le $code ] || code=$ends
  fi
  rank=$((rank + 1))
done
exit $code""",
    'squeue': 'echo "squeue $*" >> asked; echo $STATE; [ -n "$STATE" ]',
    'scontrol': 'echo "scontrol $*" >> asked; exit $REFUSES',
    'sinfo': 'printf "$NODES"',
    'sleep': 'echo "slept $1" >> asked'}


class _Ended(NamedTuple):
  code: int
  out: str
  asked: list  # Of Slurm.
  folder: pathlib.Path

  @property
  def restarts(self):
    """(failures, short starts) that are noted for the next start, or None."""
    path = self.folder / 'logs/r-7.restarts'
    return path.exists() and tuple(map(int, path.read_text().split())) or None


def _job(folder, **changes):
  return script.Job(**{
      'name': 'r', 'nodes': 2, 'tasks_per_node': 1, 'gpus_per_node': 0,
      'command': _WORKER, 'workdir': '/runs/r', 'log_dir': f'{folder}/logs',
      'grace_secs': 9, 'max_restarts': 1, **changes})


def _run(folder, endings, changes=(), noted=None, secs=None, **environ):
  """Runs the script to its end.

  Args:
    folder: pathlib.Path.
    endings: exit codes of the workers, or lost: '0 143'.
    changes: {field of the Job: value}.
    noted: (failures, short starts) of earlier starts; None: it is the first.
    secs: that the workers take by the script's clock.
    environ: for the stand-ins.

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
  if noted:
    (folder / 'logs/r-7.restarts').write_text('{} {}\n'.format(*noted))
    (folder / 'logs/r-7.codes.0').mkdir()  # As if that one was killed.
  done = subprocess.run(
      ['bash'], input=text, text=True, check=False, timeout=60, cwd=folder,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={
          'PATH': f'{folder}/bin:{os.environ["PATH"]}', 'ENDINGS': endings,
          'SRUN_CODE': '0', 'STATE': 'RUNNING', 'REFUSES': '0', 'NODES': 'mix',
          'SLURM_JOB_ID': '7', 'SLURM_JOB_NODELIST': 'n[1-2]',
          **({'SLURM_RESTART_COUNT': '1'} if noted else {}), **environ})
  asked = folder / 'asked'
  return _Ended(done.returncode, done.stdout,
                asked.read_text().splitlines() if asked.exists() else [],
                folder)


_REQUEUED = ['squeue --noheader --jobs=7 --format=%T', 'scontrol requeue 7',
             'slept 60']


def test_a_job_that_is_done(tmp_path):
  ended = _run(tmp_path, '0 0', noted=(1, 2))
  assert (ended.code, ended.asked, ended.restarts) == (0, [], None)
  assert ended.out.endswith('all workers are done\n')
  assert not list((tmp_path / 'logs').iterdir())


@pytest.mark.parametrize('endings, noted, secs, then, words', [
    # The second number: starts in a row that were shorter than 60 s.
    ('143 143', None, 60, (0, 0), '(not counted: exit code 143 asks for it)'),
    ('143 143', None, 59, (0, 1), '(not counted: exit code 143 asks for it)'),
    ('0 143', (1, 3), 59, (1, 4), '(not counted: exit code 143 asks for it)'),
    ('143 0', (1, 4), 60, (1, 0), '(not counted: exit code 143 asks for it)'),
    ('1 143', None, 99, (1, 0),
     '(1 of 1 restarts): worker 0 ended with exit code 1'),
    ('143 137', None, 99, (1, 0), ': worker 1 ended with exit code 137'),
    ('9 8', None, 99, (1, 0), ': worker 0 ended with exit code 9'),
])
def test_starts_again(tmp_path, endings, noted, secs, then, words):
  ended = _run(tmp_path, endings, noted=noted, secs=secs)
  assert ended.asked == _REQUEUED and ended.restarts == then
  assert 'starting again (' in ended.out and words in ended.out
  assert not list((tmp_path / 'logs').glob('*.codes*'))


@pytest.mark.parametrize('code', [2, 64, 78])
def test_permanent_errors(tmp_path, code):
  """Also of one worker alone, whose peers end with a higher code."""
  ended = _run(tmp_path, f'143 {code}')
  assert (ended.code, ended.asked, ended.restarts) == (code, [], None)
  assert f'not started again, as exit code {code} means' in ended.out


@pytest.mark.parametrize('endings, noted, secs, code, words', [
    ('143 9', (1, 0), 99, 9, 'as 1 restarts are used up: worker 1 ended with'),
    ('143 143', (0, 4), 59, 1, 'as 5 starts in a row ended within 60 s'),
    ('9 143', (0, 4), 59, 1, 'as 5 starts in a row ended within 60 s'),
])
def test_budgets_that_are_used_up(
    tmp_path, endings, noted, secs, code, words):
  ended = _run(tmp_path, endings, noted=noted, secs=secs)
  assert (ended.code, ended.restarts) == (code, None)
  assert words in ended.out and 'scontrol requeue 7' not in ended.asked


def test_counts_of_another_job_of_that_number_do_not_count(tmp_path):
  ended = _run(tmp_path, '9 143', noted=(1, 4), SLURM_RESTART_COUNT='0')
  assert ended.restarts == (1, 1)


@pytest.mark.parametrize('state, shown', [
    ('COMPLETING', 'COMPLETING'), ('CANCELLED', 'CANCELLED'), ('', 'unknown')])
def test_a_job_that_is_cancelled_stays_so(tmp_path, state, shown):
  ended = _run(tmp_path, '143 143', STATE=state)
  assert ended.code == 143 and 'scontrol requeue 7' not in ended.asked
  assert f'left to Slurm, where the job is {shown}' in ended.out
  # A controller that does not answer is asked again.
  assert ended.asked.count('slept 10') == (0 if state else 6)


@pytest.mark.parametrize('nodes, words', [
    ('mix\\nmix*\\n', '(not counted: a node does not answer)'),
    ('down\\nmix\\n', '(not counted: a node does not answer)'),
    ('mix\\nidle\\n', '(1 of 1 restarts): worker 1 had to be killed')])
def test_a_worker_without_exit_code(tmp_path, nodes, words):
  ended = _run(tmp_path, '143 lost', NODES=nodes, SRUN_CODE='137')
  assert ended.asked[-3:] == _REQUEUED
  assert f'starting again {words}' in ended.out


def test_srun_that_fails_by_itself(tmp_path):
  ended = _run(tmp_path, '0 0', SRUN_CODE='5')
  assert ended.restarts[0] == 1
  assert '(1 of 1 restarts): srun ended with exit code 5' in ended.out


def test_slurm_that_does_not_requeue(tmp_path):
  ended = _run(tmp_path, '143 143', REFUSES='1')
  assert ended.code == 143 and ended.restarts is None
  assert ended.asked.count('scontrol requeue 7') == 6
  assert 'not started again, as Slurm does not requeue the job' in ended.out


def test_workers_have_their_words_as_they_are(tmp_path):
  words = ("it's", 'a  b', '$HOME', '`id`', '"', '\\', '*', '', '#1', 'x\ny',
           '--config.a=(1, 2)', 'é')
  ended = _run(tmp_path, '0 0', {'command': (*_WORKER, *words)})
  assert ended.out.count(''.join(f'<{word}>' for word in words)) == 2


def test_a_seed_is_that_of_the_array_task(tmp_path):
  ended = _run(tmp_path, '0 9', {'seeds': 3, 'workdir': "/it's/a b"},
               SLURM_ARRAY_JOB_ID='5', SLURM_ARRAY_TASK_ID='2')
  assert "<--workdir=/it's/a b/seed_2><--config.seed=2>" in ended.out
  assert (tmp_path / 'logs/r-5_2.restarts').exists()
  # Not by SLURM_JOB_ID, which for one of the tasks means all of them.
  assert ended.asked == ['squeue --noheader --jobs=5_2 --format=%T',
                         'scontrol requeue 5_2', 'slept 60']


def test_environment_of_workers(tmp_path):
  """What a shell that submits has set does not reach them."""
  shows = ('bash', '-c', 'echo "[${TF_CONFIG-none} $SRUN_CPUS_PER_TASK '
           '$PYTHONUNBUFFERED $MINE]"; exit $ENDS')
  ended = _run(tmp_path, '0 0', {'command': shows, 'prologue': 'export MINE=x'},
               TF_CONFIG='{}', SLURM_CPUS_PER_TASK='6')
  assert ended.out.count('[none 6 1 x]') == 2
  (tmp_path / 'other').mkdir()
  shows = _run(tmp_path / 'other', '0', {'command': (
      'bash', '-c', 'echo "[${SRUN_CPUS_PER_TASK-none}]"')})
  assert '[none]' in shows.out


def test_a_prologue_that_fails(tmp_path):
  ended = _run(tmp_path, '0 0', {'prologue': 'echo here\nfalse\necho there'})
  assert ended.code == 1 and not (tmp_path / 'srun_options').exists()
  assert 'here' in ended.out and 'there' not in ended.out


def test_logs_that_cannot_be_written(tmp_path):
  ended = _run(tmp_path, '0 0', {'log_dir': '/proc/none'})
  assert ended.code == 1 and 'the folder of logs cannot be written' in ended.out
  assert not (tmp_path / 'srun_options').exists()


def test_options_of_srun(tmp_path):
  _run(tmp_path, '0 0', {'nodes': 3, 'tasks_per_node': 2, 'gpus_per_node': 4})
  assert (tmp_path / 'srun_options').read_text().split() == [
      '--nodes=3', '--ntasks=6', '--ntasks-per-node=2', '--gpus-per-task=2',
      '--distribution=block', '--export=ALL', '--label', '--kill-on-bad-exit=0',
      '--wait=9']


def test_options_of_sbatch(tmp_path):
  text = script.render(_job(
      tmp_path, log_dir="/a b/it's 100%", gpus_per_node=8, time='1-0', seeds=2,
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
