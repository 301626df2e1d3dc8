"""Supervises a group of workers: runs it again and again until it is done."""
from collections.abc import Sequence
import os
import pathlib
import queue
from typing import NamedTuple

from configs.process import command_line, progress
from configs.process.errors import UserError
from launch.local import (
  attempt,
  output,
  restarts,
  worker_environment,
  worker_process,
)


class Job(NamedTuple):
  """What is started."""
  command: tuple[str, ...]  # The same for all workers; starts with a path.
  variables: dict[str, str]  # Added to the environment of all workers.
  workers: int
  gpus_per_worker: int  # 0: the CPU.
  gpus: list[str]  # Names of those that may be used.
  log_dir: pathlib.Path
  workdir: str  # The run folder, in which checkpoints are looked for.
  network: str = ''  # What to say about the workers' network, once.


def run(job: Job, limits: restarts.Limits, times: attempt.Times,
        console: output.Console, events: queue.SimpleQueue) -> int:
  """Runs a job to its end.

  Args:
    job: what to start.
    limits: how often to restart it.
    times: how long to wait for workers.
    console: shows what the workers print, and what happens.
    events: receives the numbers of the user's signals.

  Returns:
    The exit code of the launcher.

  Raises:
    UserError: the logs cannot be written, or a process cannot be started.
  """
  policy = restarts.Restarts(limits)
  restart_count = 0
  while True:
    folder = _new_folder(job.log_dir)
    console.say(f'starting {_count(job.workers, "worker")} on '
                f'{_devices(job)} (logs: {folder})')
    if job.network and not restart_count:
      console.say(job.network)
    saved = progress.saved(job.workdir)
    try:
      ports = worker_environment.free_ports(job.workers)
      outcome, last_lines = attempt.run(
          job.command, environments(job, ports, restart_count), folder,
          console, events, times)
    except OSError as error:
      raise UserError(
          f'The {_count(job.workers, "worker")} could not be started '
          f'({error}): give fewer --workers, or fix what the error names.'
      ) from error
    verdict = policy.after(outcome._replace(
        saved=not progress.saved(job.workdir) <= saved))
    end = _show_cause(verdict.cause, folder, last_lines, console)
    if verdict.code is not None:
      console.say(f'{verdict.sentence}{end}')
      return verdict.code
    console.say(verdict.sentence)
    if _stop_comes(events, verdict.wait_secs):
      console.say('stopped before the restart')
      return command_line.START_AGAIN
    restart_count += 1


def environments(job: Job, ports: Sequence[int],
                 restart_count: int = 0) -> list[dict[str, str]]:
  """Returns the variables that each worker has in addition to the user's.

  Args:
    job: what is started.
    ports: one for each worker.
    restart_count: attempts before this one.

  Returns:
    {name: value} for each worker, in rank order; names in alphabetical order.
  """
  return [dict(sorted({**job.variables, **own}.items()))
          for own in worker_environment.of_workers(
              ports, job.gpus_per_worker, job.gpus, os.environ, restart_count)]


def _new_folder(log_dir):
  """Makes the folder of an attempt; never one that exists."""
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
    raise UserError(f'--log_dir={log_dir} is not writable ({error.strerror}): '
                    'give a folder that you can write to.') from error


def _show_cause(cause: worker_process.Exit | None, folder, last_lines, console):
  """Shows why an attempt ended.

  Returns:
    The same, short, to append to a sentence; '' without a cause.
  """
  if not cause:
    return ''
  log, lines = attempt.log_of(folder, cause.rank), last_lines[cause.rank]
  hung = (' (the launcher stopped it, because it still ran when others had '
          'ended)' if cause.forced else '')
  what = f'last lines of {log}:' if lines else f'it printed nothing ({log})'
  console.say(f'root cause: {cause}{hung}; {what}')
  for line in lines:
    console.say(f'  | {line}')
  return f': {cause} ({log})'


def _devices(job):
  if not job.gpus_per_worker:
    return 'the CPU'
  return f'{_count(job.gpus_per_worker, "GPU")} each'


def _count(number, noun):
  return f'{number} {noun}{"s" * (number != 1)}'


def _stop_comes(events, secs):
  """Waits; returns early, with True, if the user wants to stop."""
  try:
    events.get(timeout=secs)
    return True
  except queue.Empty:
    return False
