"""Trains in several processes on this machine.

  python -m launch.local --workers=2 -- --config=cifar10_resnet20 --workdir=RUN

Each worker runs `python -m resnet.train --strategy=multi_worker_mirrored` with
the flags that follow " -- ". The workers start and end together: if one fails
or is lost, all of them are restarted. When the launcher ends, however it ends,
so does every process that it started.

Anyone who can connect to a worker's port controls that worker. Where the kernel
allows it, the workers therefore get a network of their own, which nobody else
can reach, and which reaches nothing else: see --private_network.

SIGTERM, SIGINT, SIGUSR1 and SIGHUP ask the workers to save and exit; a second
SIGINT (Ctrl-C) kills them. Exit codes: 0 done; 2 a user error, in one sentence;
143 stopped and saved: rerun the same command to continue; 130 killed by the
second SIGINT; anything else is a failure: the exit code of the worker that
caused it, or 1 if that worker was killed by a signal.
"""
from collections.abc import Sequence
import os
import pathlib
import shlex
import sys
import time

from absl import flags

from configs import loading
from configs.process import (
  command_line,
  flag_words,
  path_flags,
  paths,
  streams,
  whole_number,
)
from configs.process.errors import UserError
from launch import trainer_command
from launch.cluster import contract
from launch.local import (
  attempt,
  output,
  private_network,
  restarts,
  signals,
  supervisor,
  worker_environment,
)


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the trainer's, which follow --."""
  limits, times = restarts.Limits(), attempt.Times()
  flags.DEFINE_integer('workers', None, 'Number of worker processes.',
                       lower_bound=1, upper_bound=contract.MOST_WORKERS)
  flags.DEFINE_integer('gpus_per_worker', 0, 'GPUs for each worker. 0: train '
                       'on the CPU.', lower_bound=0,
                       upper_bound=contract.MOST_GPUS)
  flags.DEFINE_integer('max_restarts', limits.failures, 'How often the workers '
                       'are restarted after a failure. Exit code 143 (saved, '
                       'restart me) is a failure only if no checkpoint was '
                       'saved since the last start.', lower_bound=0)
  flags.DEFINE_float('grace_secs', times.grace_secs, 'Seconds that the workers '
                     'have to save and exit, once they are asked to.',
                     lower_bound=0)
  # absl has a flag of this name for its own logs, which are not used here.
  path_flags.define('log_dir', None, 'Folder for the logs, which are called '
                    'attempt_N/worker_N.log. Default: runs/logs/<time>.',
                    allow_override=True)
  flags.DEFINE_string('tee', 'all', 'Workers whose output is shown here: all, '
                      'or ranks separated by commas, such as 0,2.')
  flags.DEFINE_string('module', trainer_command.MODULE, 'The Python module '
                      'that each worker runs.')
  flags.DEFINE_enum('private_network', 'auto', ['auto', 'true', 'false'],
                    'Whether the workers have a network of their own, and no '
                    'other: neither can anyone connect to them, nor they to '
                    'anything (mounted file systems work). auto: where the '
                    'kernel allows it. false: the network of this machine, for '
                    'a --module that needs it.')
  flags.DEFINE_bool('dry_run', False, 'Only prints the command of each worker.')
  return trainer_command.parse(argv)


def main(trainer_flags: list[str]) -> int:
  """Runs the launcher; returns its exit code."""
  values = flags.FLAGS
  if values.workers is None:
    raise UserError('--workers is missing: give the number of processes to '
                    'start, for example --workers=2.')
  most = worker_environment.most_workers()
  if values.workers > most:
    raise UserError(
        f'--workers={values.workers} is too many for this machine: give at '
        f'most {most}.')
  shown = _ranks(values.tee, values.workers)
  trainer_command.check_module(values.module)
  gpus = worker_environment.visible_gpus(os.environ)
  worker_environment.check_gpus(values.workers, values.gpus_per_worker, gpus)
  job = supervisor.Job(
      trainer_command.words((sys.executable,), values.module, trainer_flags),
      trainer_command.variables(values.module, os.environ),
      values.workers, values.gpus_per_worker, gpus, pathlib.Path(
          values.log_dir or f'runs/logs/{time.strftime("%Y%m%d-%H%M%S")}'),
      _workdir(trainer_flags))
  if values.dry_run:
    _print_commands(job)
    return command_line.DONE
  streams.may_be_lost()  # What counts is in the run folder.
  if gpus and not values.gpus_per_worker:
    command_line.warn(f'The GPUs of this machine ({len(gpus)}) stay idle, '
                      'because --gpus_per_worker=0 trains on the CPU.')
  if values.private_network != 'false':
    job = job._replace(network=_enter_private_network(
        values.private_network == 'true', bool(values.gpus_per_worker)))
  return supervisor.run(
      job, restarts.Limits(failures=values.max_restarts),
      attempt.Times(grace_secs=values.grace_secs), output.Console(shown),
      signals.stop_events())


def _ranks(tee, workers) -> Sequence[int]:
  """Returns the ranks that --tee names."""
  if tee == 'all':
    return range(workers)
  ranks = [whole_number.parse(word, workers - 1)
           for word in tee.split(',') if word]
  if None in ranks:
    raise UserError(f'--tee={tee} does not name workers: give all, or ranks '
                    f'from 0 to {workers - 1} separated by commas.')
  return [rank for rank in ranks if rank is not None]


def _workdir(trainer_flags) -> str:
  """Returns the path of the run folder, as the trainer reads its flags."""
  workdir, others = flag_words.take('workdir', trainer_flags)
  if workdir is None:
    recipe, _ = flag_words.take('config', others)
    workdir = f'runs/{loading.run_name(recipe or loading.DEFAULT)}'
  return os.fspath(paths.local(workdir, '--workdir'))


def _enter_private_network(required: bool, gpus: bool) -> str:
  """Moves this process, which starts the workers, into a network of its own.

  Args:
    required: whether it is an error if that is not possible.
    gpus: whether the workers use GPUs.

  Returns:
    What to say about the network that the workers have.

  Raises:
    UserError: it is required but not possible, or fails halfway.
  """
  reason = private_network.why_not(gpus)
  if reason and required:
    raise UserError(
        f'--private_network=true is not possible here ({reason}): let the '
        'kernel create network namespaces for this user, or give '
        '--private_network=false on a network that you trust.')
  if reason:
    return (f'no private network here ({reason}): anyone who can connect to '
            "this machine's ports can control the workers")
  try:
    private_network.enter()
  except OSError as error:
    raise UserError(
        f'A private network could not be created ({error.strerror}): rerun '
        'the same command, or give --private_network=false.') from error
  return ('the workers have a network of their own, and no other '
          "(--private_network=false: this machine's)")


def _print_commands(job):
  """Prints the command of each worker, for a shell in this folder."""
  # Always the same ports, so that the text does not change from run to run.
  first = contract.FIRST_FREE_PORT
  for rank, variables in enumerate(supervisor.environments(
      job, range(first, first + job.workers))):
    print(f'# worker {rank}')
    for name, value in variables.items():
      print(f'{name}={shlex.quote(value)} \\')
    print(shlex.join(job.command))


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
