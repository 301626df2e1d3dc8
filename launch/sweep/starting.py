"""Starts the runs of a sweep, one after another, with a launcher.

Each run is a process under launch/local/watcher.py, so that nothing of it
outlives the sweep and signals reach it once.
"""
from collections.abc import Callable, Sequence
import contextlib
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
from typing import NamedTuple

from configs.process import command_line, python_module
from launch.local import worker_process
from launch.sweep.grid import Run


class Launcher(NamedTuple):
  """How runs are started.

  `flag` is the launcher's flag that the sweep sets for each run, to `value`
  with {run} filled in; '' if the module is the trainer, without flags before
  the trainer's.
  """
  module: str
  flag: str = ''
  value: str = ''
  prints: bool = False  # Its output is what the user asked for.
  whole: bool = False  # That output is only useful for all runs together.


LAUNCHERS = {
    'train': Launcher('resnet.train'),
    'local': Launcher(
        'launch.local', 'log_dir', '{run.folder.parent}/logs/{run.name}'),
    'slurm': Launcher(
        'launch.slurm', 'log_dir', '{run.folder.parent}/logs', prints=True),
    'kubernetes': Launcher(
        'launch.kubernetes', 'name', '{run.label}', prints=True, whole=True),
}


class End(NamedTuple):
  """How the process of a run ended."""
  code: int  # Exit code; minus the signal's number if killed by a signal.
  printed: str  # Its output, if the user asked for that.
  started: bool  # Whether the run trained, in this process or an earlier one.

  @property
  def state(self) -> str:
    """What to say of a run that the process was to train."""
    if self.code == command_line.DONE:
      return 'done'
    if self.code == command_line.START_AGAIN:
      return 'stopped'
    verb = 'killed' if self.code < 0 else 'failed'
    return f'{verb} {worker_process.manner(self.code)}'

  @property
  def job(self) -> str | None:
    """The first number that was printed, the job's; None without one."""
    number = re.search(r'(?<![\w.=-])\d+(?![\w.=-])', self.printed)
    return number and number[0]


class Ended(NamedTuple):
  """How far a sweep came."""
  ends: dict[str, End]  # {name of a run that was started: its end}.
  stop: int  # The signal by which the user asked it to stop, or 0.
  interrupted: bool  # By a second SIGINT.


def command(launcher: Launcher, launcher_flags: Sequence[str],
            run: Run) -> tuple[str, ...]:
  """Returns the words that start a run, in python_module.environment."""
  own = ()
  if launcher.flag:
    value = launcher.value.format(run=run)
    own = (f'--{launcher.flag}={value}', *launcher_flags, '--')
  return (*python_module.command(launcher.module), *own, *run.flags)


def shell_command(launcher: Launcher, launcher_flags: Sequence[str],
                  run: Run) -> str:
  """Returns the line that starts a run in the shell that started the sweep."""
  variables = [f'{name}={shlex.quote(value)}' for name, value
               in python_module.variables(os.environ).items()]
  return ' '.join(
      [*variables, shlex.join(command(launcher, launcher_flags, run))])


def start(runs: Sequence[Run], launcher: Launcher,
          launcher_flags: Sequence[str], events: queue.SimpleQueue,
          say: Callable[[str], object]) -> Ended:
  """Starts runs, each when the one before has ended.

  Stops early when the user asks for it, and after the first run if a user error
  keeps that from training: the others would fail in the same way. Also after
  any run that fails, if the launcher's output is only useful as a whole.

  Args:
    runs: those to start.
    launcher: how to start them.
    launcher_flags: flags of the launcher itself.
    events: receives the numbers of signals to this process.
    say: shows the user a text.
  """
  ends, stop, interrupts = {}, 0, 0
  for number, run in enumerate(runs, 1):
    if stop or (stop := _signal_so_far(events)):
      break
    say(f'{run.name} ({number} of {len(runs)}) in {run.folder}')
    code, printed, received = _run_to_end(
        command(launcher, launcher_flags, run), launcher.prints, events)
    stop, interrupts = next(iter(received), 0), received.count(signal.SIGINT)
    ends[run.name] = end = End(code, printed, run.has_started())
    hopeless = code in command_line.ALL_PERMANENT and not end.started
    if (hopeless and number == 1) or (code and launcher.whole):
      break
  return Ended(ends, stop, interrupts > 1)


def exit_code(ended: Ended, everything_done: bool) -> int:
  """Returns the sweep's exit code: whether running it again would help."""
  if ended.interrupted:
    return command_line.INTERRUPTED
  if ended.stop and not everything_done:
    return command_line.START_AGAIN
  codes = [end.code for end in ended.ends.values() if end.code]
  permanent = [code for code in codes if code in command_line.ALL_PERMANENT]
  again = [code for code in codes if code == command_line.START_AGAIN]
  failures = [max(code, 1) for code in codes if code not in permanent + again]
  return next(iter(failures + again + permanent), command_line.DONE)


def _signal_so_far(events):
  """Returns a signal that came while nothing ran, or 0."""
  try:
    return events.get_nowait()
  except queue.Empty:
    return 0


def _run_to_end(words, prints, events):
  """Runs a command and passes the first signal on; a second SIGINT kills.

  Returns:
    (exit code, what it printed, list of the signals that came).
  """
  process = subprocess.Popen(
      [sys.executable, '-IS', worker_process.WATCHER, *words], bufsize=0,
      env=python_module.environment(os.environ), stdin=subprocess.PIPE,
      stdout=subprocess.PIPE if prints else None,
      start_new_session=True)  # Ctrl-C reaches the sweep alone.
  assert process.stdin is not None
  threading.Thread(
      target=_wait, args=(process, events), daemon=True).start()
  received = []
  while isinstance(event := events.get(), int):
    received.append(event)
    with contextlib.suppress(BrokenPipeError, ValueError):  # It has ended.
      if received.count(signal.SIGINT) > 1:
        process.stdin.close()  # Kills it and all that it has started.
      elif len(received) == 1:
        process.stdin.write(bytes([event]))
  process.stdin.close()
  return *event, received


def _wait(process, events):
  """Waits for the end of a process; reports its exit code and its output."""
  printed = process.stdout.read() if process.stdout else b''
  events.put((process.wait(), printed.decode(errors='replace')))
