"""The batch script of a training job on Slurm.

  text = render(Job(nodes=4, gpus_per_node=8, command=(...), ...))

A job that ends too early puts itself back into the queue, under its number,
unless the exit code of a worker (configs/process/command_line.py) says that it would
not help, or too many of its starts have failed. Workers that have saved, or
have lost a peer, end with 143, which is no failure. A user's scancel is never
undone.
"""
import os
import shlex
from typing import NamedTuple

from configs.process import command_line

_SHORT_SECS = 60  # Workers alone take half of that until their first step.
_SHORT_ATTEMPTS = 5

_START = r"""
say() { echo "[launch] $(date +%FT%T) $*"; }
stop() { say "$2"; rm -f "$run.restarts"; exit "$1"; }
patiently() {  # Slurm's controller may be away, or not know yet.
  for _ in {1..6}; do "$@" && return; sleep 10; done
  return 1
}
a_node_is_silent() {
  sinfo --noheader --nodes="$SLURM_JOB_NODELIST" --format=%t |
      grep --quiet '[*]\|down'
}
say "start ${SLURM_RESTART_COUNT:-0} on $SLURM_JOB_NODELIST"
# Of the shell that has submitted the job: it would count before Slurm's own.
unset TF_CONFIG
export PYTHONUNBUFFERED=1
if [ -n "${SLURM_CPUS_PER_TASK-}" ]; then  # srun does not take it from the job.
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi
"""

_REST = r"""
failures=0 short=0
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -f "$run.restarts" ]; then
  read -r failures short < "$run.restarts"
fi
codes=$run.codes.${SLURM_RESTART_COUNT:-0}
rm -rf "$run".codes.*  # Of a start that was killed.
mkdir -p "$codes" || stop 1 'the folder of logs cannot be written'

trap '' TERM CONT USR1  # Slurm gives its signals to the workers as well.
# srun ends with the highest exit code, which may hide the one that tells.
worker='trap : TERM CONT USR1; codes=$1; shift; "$@"; code=$?
echo $code > "$codes/$SLURM_PROCID"; exit $code'
began=$SECONDS
srun "${srun_options[@]}" bash -c "$worker" worker "$codes" "${command[@]}"
code=$?
secs=$((SECONDS - began))

never_again='' failure='' cause='' lost=''
for ((rank = 0; rank < tasks; rank++)); do
  one=none
  [ ! -f "$codes/$rank" ] || read -r one < "$codes/$rank"
  case $one in
    0 | "$start_again") ;;
    none) lost=${lost:-$rank} ;;
    *)
      case $permanent in *" $one "*) never_again=${never_again:-$one} ;; esac
      [ -n "$failure" ] ||
          failure=$one cause="worker $rank ended with exit code $one" ;;
  esac
done
rm -rf "$codes"
[ $code != 0 ] || stop 0 'all workers are done'
[ -z "$never_again" ] || stop "$never_again" \
    "not started again, as exit code $never_again means that it would not help"
uncounted="exit code $start_again asks for it"
if [ -z "$failure" ] && [ -n "$lost" ]; then
  if patiently a_node_is_silent; then
    uncounted='a node does not answer'
  else
    failure=1 cause="worker $lost had to be killed"
  fi
elif [ -z "$failure" ] && [ $code != "$start_again" ]; then
  failure=$code cause="srun ended with exit code $code"
fi
state=$(patiently squeue --noheader --jobs="$job" --format=%T)
if [ "$state" != RUNNING ]; then  # By scancel, above all: let it be.
  say "left to Slurm, where the job is ${state:-unknown}" \
      '(cancelled, requeued or out of time)'
  exit $code
fi

[ -z "$failure" ] || failures=$((failures + 1))
[ $failures -le "$max_restarts" ] || stop "$failure" \
    "not started again, as $max_restarts restarts are used up: $cause"
if [ $secs -lt "$short_secs" ]; then short=$((short + 1)); else short=0; fi
[ $short -lt "$short_attempts" ] || stop 1 \
    "not started again, as $short starts in a row ended within $short_secs s"
echo "$failures $short" > "$run.restarts" ||
    stop 1 'not started again, as the folder of logs cannot be written'
if [ -n "$failure" ]; then
  say "starting again ($failures of $max_restarts restarts): $cause"
else
  say "starting again (not counted: $uncounted)"
fi
patiently scontrol requeue "$job" ||
    stop $code 'not started again, as Slurm does not requeue the job'
trap - TERM
sleep 60  # Slurm ends this shell.
exit $code
"""


class Job(NamedTuple):
  """What is submitted."""
  name: str  # Of the job; letters, digits, '.', '_' and '-'.
  nodes: int
  tasks_per_node: int  # Workers.
  gpus_per_node: int  # 0: the CPU.
  command: tuple  # Words, the same for each worker.
  workdir: str  # Run folder, or the folder of one for each seed.
  log_dir: str  # Absolute path.
  grace_secs: int  # To save, from a signal to SIGKILL.
  max_restarts: int  # After failures.
  time: str = ''  # Time limit; '': the partition's.
  seeds: int = 0  # Jobs, one for each of the seeds 0, 1, ...; 0: one job.
  prologue: str = ''  # Shell commands before the workers start.
  options: tuple = ()  # Others of sbatch.


def render(job):
  """The text of the script; the same for the same Job."""
  lines = ['#!/bin/bash', *map(_directive, _options(job)), '']
  lines += [f'{name}={value}' for name, value in _variables(job).items()]
  prologue = f'\nset -e\n{job.prologue}\nset +e\n' if job.prologue else ''
  return '\n'.join(lines) + '\n' + _START + prologue + _REST


def log_of(job, number):
  """The log of the job that has a number; a shell pattern if it has seeds."""
  end = '_*.log' if job.seeds else '.log'
  return shlex.quote(f'{job.log_dir}/{job.name}-{number}') + end


def _options(job):
  """Options of sbatch."""
  number = '%A_%a' if job.seeds else '%j'
  # Percents stand for parts of names.
  folder = job.log_dir.replace('%', '%%')
  return [
      f'--job-name={job.name}',
      f'--nodes={job.nodes}',
      f'--ntasks-per-node={job.tasks_per_node}',
      *([f'--gpus-per-node={job.gpus_per_node}'] if job.gpus_per_node else []),
      *([f'--time={job.time}'] if job.time else []),
      *([f'--array=0-{job.seeds - 1}'] if job.seeds else []),
      f'--signal=TERM@{job.grace_secs}',
      '--requeue',
      '--open-mode=append',
      f'--output={folder}/{job.name}-{number}.log',
      *job.options]


def _directive(option):
  """A line for an option of sbatch."""
  name, equals, value = option.partition('=')
  return f'#SBATCH {name}{equals}{shlex.quote(value) if equals else ""}'


def _variables(job):
  """{name: shell word}."""
  return {
      # The number of an array's task may be that of the whole array.
      'job': ('${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID' if job.seeds
              else '$SLURM_JOB_ID'),
      'run': shlex.quote(f'{job.log_dir}/{job.name}-') + '$job',
      'tasks': job.nodes * job.tasks_per_node,
      'max_restarts': job.max_restarts,
      'short_secs': _SHORT_SECS,
      'short_attempts': _SHORT_ATTEMPTS,
      'start_again': command_line.START_AGAIN,
      'permanent': f"' {' '.join(map(str, command_line.ALL_PERMANENT))} '",
      'srun_options': _array(_srun_options(job)),
      'command': _array(_command(job))}


def _srun_options(job):
  return [
      f'--nodes={job.nodes}',
      f'--ntasks={job.nodes * job.tasks_per_node}',
      f'--ntasks-per-node={job.tasks_per_node}',
      *([f'--gpus-per-task={job.gpus_per_node // job.tasks_per_node}']
        if job.gpus_per_node else []),
      '--distribution=block',
      '--export=ALL',
      '--label',
      # Workers end by themselves when one is lost, and some still save.
      '--kill-on-bad-exit=0',
      f'--wait={job.grace_secs}']


def _command(job):
  """Shell words."""
  words = [shlex.quote(word) for word in job.command]
  if job.seeds:
    workdir = shlex.quote(f'--workdir={os.path.join(job.workdir, "seed_")}')
    words += [f'{workdir}$SLURM_ARRAY_TASK_ID',
              '--config.seed=$SLURM_ARRAY_TASK_ID']
  return words


def _array(words):
  return '(\n' + ''.join(f'    {word}\n' for word in words) + ')'
