"""Runs a group of workers on this machine, again and again until it is done."""
import os
import pathlib
import queue
from typing import NamedTuple

from configs.process import command_line
from configs.process.errors import UserError
from launch.local import attempt, restarts, worker_environment


class Job(NamedTuple):
  """What is started."""
  command: tuple  # Words, the same for all workers; the first is a path.
  workers: int
  devices_per_worker: int  # GPUs; 0: the CPU.
  gpus: list  # Names of those that may be used.
  log_dir: pathlib.Path


def run(job, limits, times, console, events):
  """Runs a job to its end.

  Args:
    job: Job.
    limits: restarts.Limits.
    times: group.Times.
    console: output.Console.
    events: queue.SimpleQueue for numbers of signals.

  Returns:
    The exit code of the launcher.

  Raises:
    UserError: the logs cannot be written, or no process be started.
  """
  policy = restarts.Restarts(limits)
  restart_count = 0
  while True:
    folder = _new_folder(job.log_dir)
    console.say(f'starting {_count(job.workers, "worker")} on '
                f'{_devices(job)} (logs: {folder})')
    try:
      environments = worker_environment.of_workers(
          worker_environment.free_ports(job.workers), job.devices_per_worker, job.gpus,
          os.environ, restart_count)
      outcome, last_lines = attempt.run(
          job.command, environments, folder, console, events, times)
    except OSError as error:
      raise UserError(f'Workers cannot be started ({error}): start fewer of '
                      'them.') from error
    verdict = policy.after(outcome)
    cause = verdict.cause
    if cause:
      _show_cause(cause, attempt.log_of(folder, cause.rank),
                  last_lines[cause.rank], console)
    if verdict.code is not None:
      end = f': {cause} ({attempt.log_of(folder, cause.rank)})' if cause else ''
      console.say(f'{verdict.sentence}{end}')
      return verdict.code
    console.say(verdict.sentence)
    if _stop_comes(events, verdict.wait_secs):
      console.say('stopped before the next start')
      return command_line.START_AGAIN
    restart_count += 1


def _new_folder(log_dir):
  """Makes the folder of an attempt; those that are there are kept."""
  try:
    log_dir.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
      folder = log_dir / f'attempt_{number}'
      try:
        folder.mkdir()
        return folder
      except FileExistsError:
        number += 1
  except OSError as error:
    raise UserError(f'--log_dir={log_dir} cannot be written ({error.strerror}):'
                    ' name a folder that you may write.') from error


def _show_cause(cause, log, last_lines, console):
  hung = ', as it still ran when others had ended' if cause.forced else ''
  end = f'the end of {log}:' if last_lines else f'it printed nothing ({log})'
  console.say(f'root cause: {cause}{hung}; {end}')
  for line in last_lines:
    console.say(f'  | {line}')


def _devices(job):
  if not job.devices_per_worker:
    return 'the CPU'
  return f'{_count(job.devices_per_worker, "GPU")} each'


def _count(number, noun):
  return f'{number} {noun}{"s" * (number != 1)}'


def _stop_comes(events, secs):
  """Waits; returns at once if the user wants to stop."""
  try:
    events.get(timeout=secs)
    return True
  except queue.Empty:
    return False
