"""Runs processes that may hang or crash, for a limited time.

  processes.run(words, secs=60, environ=os.environ, log=folder / 'log',
                until=lambda: checkpoint.exists())
"""
from collections.abc import Callable, Mapping, Sequence
import contextlib
import os
import pathlib
import signal
import subprocess
import time

from configs.process.errors import printable
from resnet.tools.gpu.failures import Failed

_POLL_SECS = 0.05
_KILL_SECS = 15.0  # For processes that have been asked to end.
_AGAIN_SECS = 0.5  # Two signals in a row would be taken for one.


class TookTooLong(Failed):
  """A process was killed because its time was up."""


def run(words: Sequence[str], *, secs: float, environ: Mapping[str, str],
        log: pathlib.Path, until: Callable[[], object] | None = None,
        kill_with: Sequence[int] = (signal.SIGKILL,),
        own_group: bool = False) -> None:
  """Runs a process until it ends, or until enough has happened.

  Args:
    words: its command.
    secs: how long it may take.
    environ: all of its variables.
    log: path of the file for all that it prints; replaced.
    until: returns true once it may be ended; None: it ends by itself.
    kill_with: signals that end it, half a second apart.
    own_group: whether to kill all that it has started with it. Without it,
      the processes belong to the group of this one.

  Raises:
    TookTooLong: it was killed because its time was up.
    Failed: it ended before `until` was true, or with another code than 0.
  """
  with log.open('wb') as file:
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        env=environ, start_new_session=own_group)
  ends = time.monotonic() + secs
  try:
    while not _has_ended(process):
      if until and until():
        return
      if time.monotonic() > ends:
        raise TookTooLong(f'it took longer than {secs:.0f} s')
      time.sleep(_POLL_SECS)
  finally:
    _end(process, kill_with, own_group)
  if process.returncode or until and not until():
    raise Failed(f'{_manner(process.returncode)}: {last_line(log)}')


def _end(process, kill_with, own_group):
  """Ends a process if it still runs, and what is left of its group."""
  if own_group:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
  elif not _has_ended(process):
    for index, number in enumerate(kill_with):
      time.sleep(_AGAIN_SECS * bool(index))
      process.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(_KILL_SECS)
    process.kill()
  process.wait()


def _has_ended(process):
  """Returns whether a process has ended; its number stays taken."""
  return os.waitid(os.P_PID, process.pid,
                   os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _manner(code):
  if code < 0:
    return f'it was killed by {signal.Signals(-code).name}'
  return f'it ended with exit code {code}'


def last_line(log: pathlib.Path) -> str:
  """Returns the line of a log that tells most of an error, for a sentence."""
  lines = [line.strip() for line in tail(log).splitlines() if line.strip()]
  told = [line for line in lines if 'error: ' in line.lower()]
  text = (told or lines or ['it printed nothing'])[-1]
  return printable(text, 400).rstrip('.')


def tail(log: pathlib.Path, characters: int = 4000) -> str:
  """Returns the end of a log."""
  try:
    return log.read_text('utf-8', 'replace')[-characters:]
  except OSError:
    return ''
