"""Runs one command, of which nothing outlives whoever started this program.

  python -IS watcher.py PATH ARGUMENT...

Standard input is a pipe, held open by the launcher alone: each byte is the
number of a signal for the command, and its end (the launcher has ended, be it
by `kill -9`) kills the command. When the command ends, so do all processes
that it has started, whatever group or session they have moved to. Then this
one ends as the command did: the same exit code, or the same signal.

Linux alone. Run as a file, not as a module, and without `site`: it starts in
some 50 ms, and needs none of what the command needs.
"""
import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1  # linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36


def main(command):
  """Runs the command to its end, and ends this process."""
  prctl = ctypes.CDLL(None).prctl
  # Processes that lose their parent become children of this one, not of init.
  prctl(_PR_SET_CHILD_SUBREAPER, 1)
  # A signal to all processes of a job is the command's to answer. (exec takes
  # handlers away; what is ignored it leaves ignored.)
  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda *_: None)
  own = os.getpid()
  child = os.fork()
  if not child:
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != own:  # It has ended in between.
      os._exit(1)
    _execute(command)
  threading.Thread(target=_obey, args=(child,), daemon=True).start()
  ended = None
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
  """Passes signals on until whoever gives them is gone; then kills."""
  while number := os.read(sys.stdin.fileno(), 1):
    _send(child, number[0])
  _send(child, signal.SIGKILL)


def _send(process, number):
  with contextlib.suppress(ProcessLookupError):
    os.kill(process, number)


def _kill_children():
  """Kills those left, with those whom they leave to this process."""
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
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # It has had its own.
    with contextlib.suppress(OSError):  # SIGKILL cannot be set.
      signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
  os._exit(code)


if __name__ == '__main__':
  main(sys.argv[1:])
