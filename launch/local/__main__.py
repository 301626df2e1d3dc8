"""Trains in several processes on this machine.

  python -m launch.local --workers=2 -- --config=cifar10_resnet20 --workdir=RUN

What stands after -- is for `python -m resnet.train`, which each worker runs
with --strategy=multi_worker_mirrored. All of them end together, and start
again together when one is lost; nothing of them outlives the launcher.

SIGTERM, SIGINT, SIGUSR1 and SIGHUP are passed on once, for the workers to save
and end; a second SIGINT (Ctrl-C) kills. Exit codes: 0 done; 2 an error of the
user's, in one sentence; 143 stopped, saved: the same command goes on; 130
killed by the second SIGINT; anything else a failure, as the worker's that was
its root cause (1 if that ended by a signal).
"""
import os
import pathlib
import shlex
import sys
import time

from absl import flags

from configs.process import command_line
from configs.process.errors import UserError
from launch import trainer_command
from launch.local import (
  attempt,
  output,
  restarts,
  signals,
  supervisor,
  worker_environment,
)


def parse(argv):
  """Defines and reads the flags; returns the trainer's, which follow --."""
  limits, times = restarts.Limits(), attempt.Times()
  flags.DEFINE_integer('workers', None, 'Worker processes.', lower_bound=1)
  flags.DEFINE_integer('devices_per_worker', 0, 'GPUs for each worker; 0: the '
                       'CPU.', lower_bound=0)
  flags.DEFINE_integer('max_restarts', limits.failures, 'Failures after which '
                       'the workers are started again. Exit code 143 (a worker '
                       'saved and asks for it) is not counted.', lower_bound=0)
  flags.DEFINE_float('grace_seconds', times.grace_secs, 'Seconds for workers '
                     'that are told to end, to save.', lower_bound=0)
  # absl has a flag of this name for logs of its own, which are not used here.
  flags.DEFINE_string('log_dir', None, 'Folder of the logs, attempt_N/'
                      'worker_N.log; none: runs/logs/<time>.',
                      allow_override=True)
  flags.DEFINE_string('tee', 'all', 'Workers whose lines are shown here: all, '
                      'or ranks such as 0,2.')
  flags.DEFINE_string('module', trainer_command.MODULE, 'The Python module '
                      'that each worker runs.')
  flags.DEFINE_bool('dry_run', False, 'Print what each worker would run, and '
                    'end.')
  return trainer_command.parse(argv)


def main(trainer_flags):
  """Runs the launcher; returns its exit code."""
  values = flags.FLAGS
  if values.workers is None:
    raise UserError('--workers is missing: say how many processes to start.')
  shown = _ranks(values.tee, values.workers)
  trainer_command.check_module(values.module)
  gpus = worker_environment.visible_gpus(os.environ)
  worker_environment.check_devices(values.workers, values.devices_per_worker, gpus)
  job = supervisor.Job(
      trainer_command.words((sys.executable,), values.module, trainer_flags),
      values.workers, values.devices_per_worker, gpus, pathlib.Path(
          values.log_dir or f'runs/logs/{time.strftime("%Y%m%d-%H%M%S")}'))
  if values.dry_run:
    _print_commands(job)
    return command_line.DONE
  if gpus and not values.devices_per_worker:
    command_line.warn(f'{len(gpus)} GPUs stay idle: --devices_per_worker=0.')
  return supervisor.run(
      job, restarts.Limits(failures=values.max_restarts),
      attempt.Times(grace_secs=values.grace_seconds), output.Console(shown),
      signals.stop_events())


def _ranks(tee, workers):
  """The ranks that --tee names."""
  if tee == 'all':
    return range(workers)
  words = [word for word in tee.split(',') if word]
  if not all(word.isdecimal() and int(word) < workers for word in words):
    raise UserError(f'--tee={tee} is not all, or ranks from 0 to {workers - 1} '
                    'with commas between them.')
  return [int(word) for word in words]


def _print_commands(job):
  """Prints a shell command for each worker."""
  # Always the same ones, which a real start does not take.
  ports = range(worker_environment.FIRST_PORT, worker_environment.FIRST_PORT + job.workers)
  for rank, variables in enumerate(worker_environment.of_workers(
      ports, job.devices_per_worker, job.gpus, os.environ)):
    print(f'# worker {rank}')
    for name, value in variables.items():
      print(f'{name}={shlex.quote(value)} \\')
    print(shlex.join(job.command))


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
