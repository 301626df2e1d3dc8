"""Runs one command, and makes sure that no process of it outlives its starter.

  python -IS watcher.py PATH ARGUMENT...

Standard input is a pipe that only the starter, a launcher, holds open. Each
byte is the number of a signal for the command. The end of the input means that
the launcher has ended, perhaps by `kill -9`, and kills the command. When the
command ends, so do all processes that it started, whatever group or session
they have moved to. Then the watcher ends as the command did: with the same exit
code, or by the same signal.

Works on Linux only. It runs as a file, not as a module, and without `site`: it
starts within some 50 ms and needs nothing that the command needs.
"""
from collections.abc import Sequence
import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1  # linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36


def main(command: Sequence[str]) -> None:
  """Runs the command to its end, and ends this process."""
  prctl = ctypes.CDLL(None).prctl
  # Orphans become children of this process, not of init.
  prctl(_PR_SET_CHILD_SUBREAPER, 1)
  # The command answers a signal that is sent to all processes of a job; the
  # watcher must survive it. (exec resets handlers, but signals that are ignored
  # would stay ignored in the command.)
  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda *_: None)
  own = os.getpid()
  child = os.fork()
  if not child:
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != own:  # The watcher has ended in between.
      os._exit(1)
    _execute(command)
  threading.Thread(target=_obey, args=(child,), daemon=True).start()
  ended, status = os.wait()
  while ended != child:
    ended, status = os.wait()
  _kill_children()
  _end_like(os.waitstatus_to_exitcode(status))


def _execute(command):
  os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
  for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them.
    signal.signal(number, signal.SIG_DFL)
  os.execv(command[0], command)


def _obey(child):
  """Passes signals on until the launcher is gone; then kills the command."""
  while number := os.read(sys.stdin.fileno(), 1):
    _send(child, number[0])
  _send(child, signal.SIGKILL)


def _send(process, number):
  with contextlib.suppress(ProcessLookupError):
    os.kill(process, number)


def _kill_children():
  """Kills the remaining children, and those that become children meanwhile."""
  while children := _children():
    for child in children:
      _send(child, signal.SIGKILL)
    os.wait()


def _children():
  found = []
  for name in filter(str.isdigit, os.listdir('/proc')):
    with contextlib.suppress(OSError):
      with open(f'/proc/{name}/stat', 'rb') as stat:
        # 'pid (any name) state parent ...', proc(5).
        parent = int(stat.read().rpartition(b')')[2].split()[1])
      if parent == os.getpid():
        found.append(int(name))
  return found


def _end_like(code):
  if code < 0:
    # The command has written its core file; the watcher must not add one.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # SIGKILL has no handler to set.
      signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
  os._exit(code)


if __name__ == '__main__':
  main(sys.argv[1:])
