"""One worker process of a group, and how it ended."""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from launch.local import output

WATCHER = pathlib.Path(__file__).with_name('watcher.py')
# Said by TensorFlow and by the trainer alike.
_PORT_TAKEN = b'Could not start gRPC server'


class Exit(NamedTuple):
  """How a worker ended."""
  rank: int
  code: int  # Exit code; minus the signal's number if by a signal.
  secs: float  # Since the start of its group.
  forced: bool = False  # The launcher had told it to, unasked by the user.
  port_taken: bool = False  # It said at the start that its port was in use.

  def __str__(self):
    return (f'worker {self.rank} ended {manner(self.code)} after '
            f'{self.secs:.0f} s')


class Worker:
  """A worker under its watcher, and two threads that wait for it."""

  def __init__(self, rank, command, environment, log, console, events):
    """Starts it.

    Args:
      rank: its number.
      command: words; the first is a path.
      environment: {name: text}, added to that of this process.
      log: path of the file for all that it prints.
      console: output.Console.
      events: queue that is given (rank, code, time.monotonic()) at its end.

    Raises:
      OSError: the log cannot be written, or no process be started.
    """
    self.rank = rank
    log = open(log, 'wb', buffering=0)  # The reader closes it.
    self._watcher = subprocess.Popen(
        [sys.executable, '-IS', WATCHER, *command], bufsize=0,
        env={**os.environ, **environment}, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    self.output = output.Reader(
        rank, self._watcher.stdout, log, console, _PORT_TAKEN)
    threading.Thread(target=self._wait, args=(events,), daemon=True).start()

  def send(self, number):
    """Sends it a signal, if it is still there."""
    with contextlib.suppress(BrokenPipeError):
      self._watcher.stdin.write(bytes([number]))

  def kill_group(self):
    """Kills its watcher as well, which else would do the killing."""
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self._watcher.pid, signal.SIGKILL)

  def _wait(self, events):
    os.waitid(os.P_PID, self._watcher.pid, os.WEXITED | os.WNOWAIT)
    now = time.monotonic()
    # Somebody may have killed the watcher alone. No other group has its number
    # before it is reaped.
    self.kill_group()
    events.put((self.rank, self._watcher.wait(), now))


def manner(code):
  """'with exit code 1', or 'by SIGKILL' for -9."""
  if code >= 0:
    return f'with exit code {code}'
  try:
    return f'by {signal.Signals(-code).name}'
  except ValueError:  # A real-time signal.
    return f'by signal {-code}'
