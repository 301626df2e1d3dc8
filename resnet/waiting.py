"""Which workers are still waited for, said by a process of its own.

TensorFlow holds Python's global lock while it waits for the others, so no
thread of the worker could speak. Standard library alone: that process does not
import the package, which takes seconds.

  with process(rank=0, addresses=['host0:2222', 'host1:2222'], every_secs=10):
    ...  # "waiting for worker 1 at host1:2222 (10 s)"
"""
import contextlib
import select
import signal
import socket
import subprocess
import sys
import time


@contextlib.contextmanager
def process(rank, addresses, every_secs):
  """Has it said every few seconds, as long as the block lasts.

  Args:
    rank: that of this worker.
    addresses: of all workers, 'host:port', in rank order.
    every_secs: float.
  """
  with subprocess.Popen(
      [sys.executable, '-IS', '-c', 'import runpy; runpy.run_path('
       f'{__file__!r})["_say"]({rank}, {list(addresses)}, {every_secs})'],
      stdin=subprocess.PIPE) as saying:
    try:
      yield
    finally:
      saying.kill()


def _say(rank, addresses, every_secs):
  """What the process does until the worker, which holds its input, ends."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told to it as well.
  started = time.monotonic()
  while not select.select([sys.stdin], [], [], every_secs)[0]:
    missing = silent(addresses, rank)
    waited = time.monotonic() - started
    if missing:
      print(f'waiting for {named(missing, addresses)} ({waited:.0f} s)',
            file=sys.stderr, flush=True)


def silent(addresses, rank):
  """The workers other than `rank` that nobody can connect to: a list."""
  return [worker for worker, address in enumerate(addresses)
          if worker != rank and not _listens(address)]


def named(workers, addresses):
  """The workers with their addresses, for a sentence."""
  return ', '.join(f'worker {worker} at {addresses[worker]}'
                   for worker in workers)


def _listens(address):
  host, _, port = address.rpartition(':')
  try:
    socket.create_connection((host.strip('[]'), int(port)), timeout=2).close()
  except OSError:
    return False
  return True
