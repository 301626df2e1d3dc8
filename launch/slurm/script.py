"""Renders the batch script of a training job on Slurm.

  text = render(Job(nodes=4, gpus_per_worker=8, command=(...), ...))

A job that ends too early puts itself back into the queue under its own number,
unless a worker's exit code (configs/process/command_line.py) says that a
restart would not help, or too many of its starts have failed. Workers that have
saved or lost a peer exit with 143, which counts as a failure only if there is
no new checkpoint. A user's scancel is never undone. What the job does is
job.sh.
"""
from collections.abc import Iterable
import os
import pathlib
import shlex
from typing import NamedTuple

from configs.process import command_line, progress

_BODY = pathlib.Path(__file__).with_name('job.sh')
_PROLOGUE_MARK = '# --prologue\n'
_SHORT_SECS = 60  # Workers alone take half of that until their first step.
_SHORT_ATTEMPTS = 5


class Job(NamedTuple):
  """What is submitted."""
  name: str  # Letters, digits, '.', '_' and '-'.
  nodes: int
  workers_per_node: int
  gpus_per_worker: int  # 0: on the CPU.
  command: tuple[str, ...]  # Words, the same for each worker.
  workdir: str  # The run folder, or the folder that holds one for each seed.
  log_dir: str  # Absolute path.
  grace_secs: int  # To save, from the first signal to SIGKILL.
  max_restarts: int  # After failures.
  time: str = ''  # Time limit; '': the partition's.
  seeds: int = 0  # Trains seeds 0, 1, ... in a job array; 0: one job.
  prologue: str = ''  # Shell commands that run before the workers start.
  options: tuple[str, ...] = ()  # More options of sbatch.
  code_folder: str = ''  # The project's, if Python does not find it by itself.
  module_folder: str = ''  # Of a trainer that is not the project's.

  @property
  def workers(self) -> int:
    """How many workers train together."""
    return self.nodes * self.workers_per_node


def render(job: Job) -> str:
  """Returns the text of the script; the same for the same Job."""
  lines = ['#!/bin/bash', *map(_directive, _options(job)), '']
  lines += [f'{name}={value}' for name, value in _variables(job).items()]
  prologue = f'set -e\n{job.prologue}\nset +e\n' if job.prologue else ''
  body = _BODY.read_text(encoding='utf-8')
  return '\n'.join(lines) + '\n\n' + body.replace(_PROLOGUE_MARK, prologue)


def log_of(job: Job, number: str) -> str:
  """Returns the shell word that names a job's log.

  Args:
    job: what was submitted.
    number: the job's, from Slurm.

  Returns:
    A quoted path; a pattern that matches the logs of all seeds if the job has
    seeds.
  """
  end = '_*.log' if job.seeds else '.log'
  return shlex.quote(f'{job.log_dir}/{job.name}-{number}') + end


def _options(job):
  """Returns the options of sbatch."""
  number = '%A_%a' if job.seeds else '%j'
  folder = job.log_dir.replace('%', '%%')  # To sbatch, % begins a pattern.
  gpus = job.workers_per_node * job.gpus_per_worker
  return [
      f'--job-name={job.name}',
      f'--nodes={job.nodes}',
      f'--ntasks-per-node={job.workers_per_node}',
      *([f'--gpus-per-node={gpus}'] if gpus else []),
      *([f'--time={job.time}'] if job.time else []),
      *([f'--array=0-{job.seeds - 1}'] if job.seeds else []),
      f'--signal=TERM@{job.grace_secs}',
      '--requeue',
      '--open-mode=append',
      f'--output={folder}/{job.name}-{number}.log',
      *job.options]


def _directive(option):
  """Returns the line that gives sbatch an option."""
  name, equals, value = option.partition('=')
  return f'#SBATCH {name}{equals}{shlex.quote(value) if equals else ""}'


def _variables(job):
  """Returns {name: shell word} of the variables that job.sh expects."""
  return {
      # SLURM_JOB_ID of an array's task may be the number of the whole array.
      'job': ('${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID' if job.seeds
              else '$SLURM_JOB_ID'),
      'run': shlex.quote(f'{job.log_dir}/{job.name}-') + '$job',
      'checkpoints': _workdir(job) + f'/{progress.FOLDER}',
      'tasks': job.workers,
      'max_restarts': job.max_restarts,
      'short_secs': _SHORT_SECS,
      'short_attempts': _SHORT_ATTEMPTS,
      'start_again': command_line.START_AGAIN,
      'permanent': f"' {' '.join(map(str, command_line.ALL_PERMANENT))} '",
      'code_folder': shlex.quote(job.code_folder),
      'module_folder': shlex.quote(job.module_folder),
      'srun_options': _array(_srun_options(job)),
      'command': _array(_command(job))}


def _srun_options(job):
  return [
      f'--nodes={job.nodes}',
      f'--ntasks={job.workers}',
      f'--ntasks-per-node={job.workers_per_node}',
      *([f'--gpus-per-task={job.gpus_per_worker}']
        if job.gpus_per_worker else []),
      '--distribution=block',
      '--export=ALL',
      '--label',
      # Workers end by themselves when one is lost; some are still saving then.
      '--kill-on-bad-exit=0',
      f'--wait={job.grace_secs}']


def _command(job):
  """Returns the words of a worker's command, quoted for the shell."""
  words = [shlex.quote(word) for word in job.command]
  if job.seeds:
    words += [f'--workdir={_workdir(job)}',
              '--config.seed="$SLURM_ARRAY_TASK_ID"']
  return words


def _workdir(job):
  """Returns the shell word that names the run folder."""
  if not job.seeds:
    return shlex.quote(job.workdir)
  seed = shlex.quote(os.path.join(job.workdir, 'seed_'))
  return f'{seed}"$SLURM_ARRAY_TASK_ID"'


def _array(words: Iterable[str]) -> str:
  return '(\n' + ''.join(f'    {word}\n' for word in words) + ')'
