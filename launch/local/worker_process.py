"""One worker process of an attempt, and how it ended."""
from collections.abc import Mapping, Sequence
import contextlib
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from launch.cluster import contract
from launch.local import output

WATCHER = pathlib.Path(__file__).with_name('watcher.py')


class Exit(NamedTuple):
  """How a worker ended."""
  rank: int
  code: int  # Exit code; minus the signal's number if a signal killed it.
  secs: float  # Since the start of the attempt.
  forced: bool = False  # The launcher made it end; the user had not asked to.
  port_taken: bool = False  # It said, soon after its start, that its port was.

  def __str__(self) -> str:
    verb = 'was killed' if self.code < 0 else 'ended'
    return (f'worker {self.rank} {verb} {manner(self.code)} after '
            f'{self.secs:.0f} s')


class Worker:
  """A worker under its watcher, and two threads that wait for it."""

  def __init__(self, rank: int, command: Sequence[str],
               environment: Mapping[str, str], log: pathlib.Path,
               console: output.Console, events: queue.SimpleQueue):
    """Starts the worker.

    Args:
      rank: its number.
      command: words; the first is a path.
      environment: {name: value}, added to the environment of this process.
      log: path of the file that receives all that it prints.
      console: shows its lines.
      events: receives (rank, code, time.monotonic()) when it ends.

    Raises:
      OSError: the log cannot be written, or the process cannot be started.
    """
    self.rank = rank
    file = open(log, 'wb', buffering=0)  # The reader closes it.
    self._watcher = subprocess.Popen(
        [sys.executable, '-IS', WATCHER, *command], bufsize=0,
        env={**os.environ, **environment}, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    assert self._watcher.stdin and self._watcher.stdout
    self._signals = self._watcher.stdin
    self.output = output.Reader(
        rank, self._watcher.stdout, file, console,
        notice=contract.PORT_IN_USE.encode())
    threading.Thread(target=self._wait, args=(events,), daemon=True).start()

  def send(self, number: int) -> None:
    """Sends the worker a signal, if it still runs."""
    with contextlib.suppress(BrokenPipeError):
      self._signals.write(bytes([number]))

  def kill_group(self) -> None:
    """Kills the watcher too, which otherwise does the killing."""
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self._watcher.pid, signal.SIGKILL)

  def _wait(self, events):
    os.waitid(os.P_PID, self._watcher.pid, os.WEXITED | os.WNOWAIT)
    now = time.monotonic()
    # The watcher alone may have been killed. No other group gets its number
    # before it is reaped.
    self.kill_group()
    events.put((self.rank, self._watcher.wait(), now))


def manner(code: int) -> str:
  """Returns 'with exit code 1', or 'by SIGKILL' for -9."""
  if code >= 0:
    return f'with exit code {code}'
  try:
    return f'by {signal.Signals(-code).name}'
  except ValueError:  # A real-time signal.
    return f'by signal {-code}'
