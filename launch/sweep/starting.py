"""Starts the runs of a sweep, one after another, by a launcher.

Each is a process of its own under launch/local/watcher.py: nothing of it outlives
the sweep, and signals reach it once.
"""
import contextlib
import queue
import re
import signal
import subprocess
import sys
import threading
from typing import NamedTuple

from configs.process import command_line
from launch.local import worker_process


class Launcher(NamedTuple):
  """How runs are started."""
  module: str
  # Of a run, for its words before the trainer's; None: it takes no others.
  named: str | None
  prints: bool = False  # What it prints is what was asked for.
  whole: bool = False  # And is of use only if that of all runs is there.


LAUNCHERS = {
    'train': Launcher('resnet.train', None),
    'local': Launcher(
        'launch.local', '--log_dir={run.folder.parent}/logs/{run.name}'),
    'slurm': Launcher(
        'launch.slurm', '--log_dir={run.folder.parent}/logs', prints=True),
    'kubernetes': Launcher(
        'launch.kubernetes', '--name={run.label}', prints=True, whole=True),
}


class End(NamedTuple):
  """How the process of a run ended."""
  code: int  # Exit code; minus the signal's number if by a signal.
  printed: str  # If that is what was asked for.
  begun: bool  # Whether the run was trained, now or before.

  @property
  def state(self):
    """In words, for a run that was to be trained by the process."""
    if self.code in (command_line.DONE, command_line.START_AGAIN):
      return 'stopped' if self.code else 'done'
    return f'failed {worker_process.manner(self.code)}'

  @property
  def job(self):
    """The first number it printed, as text: of a job; None if there is none."""
    number = re.search(r'(?<![\w.=-])\d+(?![\w.=-])', self.printed)
    return number and number[0]


class Ended(NamedTuple):
  """How far a sweep came."""
  ends: dict  # {name: End} of the runs that were started.
  stop: int  # The signal that the user wanted it to end by, or 0.
  interrupted: bool  # By a second SIGINT.


def command(launcher, launcher_flags, run):
  """The words that start a run."""
  own = ()
  if launcher.named:
    own = (launcher.named.format(run=run), *launcher_flags, '--')
  return (sys.executable, '-m', launcher.module, *own, *run.flags)


def start(runs, launcher, launcher_flags, events, say):
  """Starts runs, each when the one before has ended.

  It ends early if the user wants it to, and after the first run if that cannot
  even begin because of what the user has to mend: nor could the others. After
  any that fails, if the launcher's output is of use only as a whole.

  Args:
    runs: list of sweep_runs.Run.
    launcher: Launcher.
    launcher_flags: words.
    events: queue.SimpleQueue that is given the numbers of signals.
    say: function that shows the user a text.

  Returns:
    Ended.
  """
  ends, stop, interrupts = {}, 0, 0
  for number, run in enumerate(runs, 1):
    if stop or (stop := _asked(events)):
      break
    say(f'{run.name} ({number} of {len(runs)}) in {run.folder}')
    code, printed, asked = _run(
        command(launcher, launcher_flags, run), launcher.prints, events)
    stop, interrupts = next(iter(asked), 0), asked.count(signal.SIGINT)
    ends[run.name] = end = End(code, printed, run.has_begun())
    hopeless = code in command_line.ALL_PERMANENT and not end.begun
    if (hopeless and number == 1) or (code and launcher.whole):
      break
  return Ended(ends, stop, interrupts > 1)


def exit_code(ended, everything_done):
  """Of the sweep: what starting the same command again is good for."""
  if ended.interrupted:
    return command_line.INTERRUPTED
  if ended.stop and not everything_done:
    return command_line.START_AGAIN
  codes = [end.code for end in ended.ends.values() if end.code]
  permanent = [code for code in codes if code in command_line.ALL_PERMANENT]
  again = [code for code in codes if code == command_line.START_AGAIN]
  failures = [max(code, 1) for code in codes if code not in permanent + again]
  return next(iter(failures + again + permanent), command_line.DONE)


def _asked(events):
  """A signal that came while nothing ran, or 0."""
  try:
    return events.get_nowait()
  except queue.Empty:
    return 0


def _run(words, prints, events):
  """Runs a command to its end.

  Returns:
    (exit code, what it printed, list of the signals that came).
  """
  process = subprocess.Popen(
      [sys.executable, '-IS', worker_process.WATCHER, *words], bufsize=0,
      stdin=subprocess.PIPE, stdout=subprocess.PIPE if prints else None,
      start_new_session=True)  # Ctrl-C is for the sweep alone to pass on.

  def wait():
    printed = process.stdout.read() if prints else b''
    events.put((process.wait(), printed.decode(errors='replace')))

  threading.Thread(target=wait, daemon=True).start()
  asked = []
  while isinstance(event := events.get(), int):
    asked.append(event)
    with contextlib.suppress(BrokenPipeError, ValueError):  # It has ended.
      if asked.count(signal.SIGINT) > 1:
        process.stdin.close()  # Kills it, and all that it has started.
      elif len(asked) == 1:
        process.stdin.write(bytes([event]))
  process.stdin.close()
  return *event, asked
