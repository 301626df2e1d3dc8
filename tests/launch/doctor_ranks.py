"""Ranks of launch.doctor as processes, with stubs for their surveys."""
import asyncio
import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

from launch.cluster import resolver
from launch.doctor import reports
from launch.local import worker_environment
from tests.launch import doctor_samples

_ROOT = pathlib.Path(__file__).parents[2]


# A rank whose survey is a stub. 'silent_secs': until others count as gone;
# 'unknown': a host name that it cannot resolve; 'read_only': no file can be
# created.
_RANK = """
import json, signal, socket, sys, tempfile
from launch.cluster import resolver
from launch.doctor import __main__ as doctor
from launch.doctor import rendezvous, workdir
given = json.loads(sys.argv[1])
rendezvous.SILENT_SECS = given['silent_secs']
workdir.SEEN_WITHIN_SECS = 0.5
getaddrinfo = socket.getaddrinfo
def resolve(host, *args, **kwargs):
  if host == given['unknown']:
    raise socket.gaierror(-2, 'Name or service not known')
  return getaddrinfo(host, *args, **kwargs)
socket.getaddrinfo = resolve
if given['read_only']:
  def refuse(**_):
    raise OSError(30, 'Read-only file system')
  tempfile.TemporaryFile = refuse
signal.signal(signal.SIGINT, signal.default_int_handler)  # Even if in "... &".
print('ready', flush=True)
sys.stdin.readline()
sys.exit(doctor.examine(
    resolver.Cluster(tuple(given['addresses']), given['rank']),
    given['survey'], given['wait_secs']))
"""


def prints(folder, **fields):
  """Returns a command that prints a survey with some fields of its own."""
  fields = {**doctor_samples.SURVEY, 'workdir': os.fspath(folder), **fields}
  return [sys.executable, '-ISc', 'import sys; print(sys.argv[1])',
          json.dumps(fields)]


HANGS = [sys.executable, '-ISc',
         'import time; print("waits", flush=True); time.sleep(60)']


def start(addresses, words, only=None, *, wait_secs=20, silent_secs=5,
          unknown=('',) * 3, read_only=None, begin=True):
  """Starts processes of ranks.

  Args:
    addresses: of all ranks.
    words: the survey command of each rank.
    only: ranks to start; None: all.
    wait_secs: as for doctor.examine, from the moment when the ranks begin.
    silent_secs: until silent ranks count as gone.
    unknown: for each rank, a host name that it cannot resolve.
    read_only: a rank that cannot create files; None: there is none.
    begin: whether they begin now, together; otherwise let_begin lets them.

  Returns:
    The processes.
  """
  ranks = range(len(addresses)) if only is None else only
  started = [subprocess.Popen(
      [sys.executable, '-c', _RANK, json.dumps({
          'addresses': addresses, 'rank': rank, 'survey': words[rank],
          'wait_secs': wait_secs, 'silent_secs': silent_secs,
          'unknown': unknown[rank], 'read_only': rank == read_only})],
      cwd=_ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
      stderr=subprocess.PIPE) for rank in ranks]
  if begin:
    let_begin(started)
  return started


def let_begin(started):
  """Lets all processes of `start` begin at the same moment."""
  for process in started:
    assert process.stdout.readline() == 'ready\n'
  for process in started:
    process.stdin.write('\n')
    process.stdin.flush()


def finish(process):
  """Waits for a process; returns (exit code, lines of stdout, of stderr)."""
  out, err = process.communicate(timeout=60)
  return process.returncode, out.splitlines(), err.splitlines()


def examine(*args, **how):
  """Starts ranks, as `start` does; returns what `finish` returns for each."""
  return [finish(process) for process in start(*args, **how)]


def free_addresses(count, host='127.0.0.1'):
  return [f'{host}:{port}' for port in worker_environment.free_ports(count)]


def cluster_of(addresses, rank):
  return resolver.Cluster(tuple(addresses), rank)


def port(address):
  return int(address.rpartition(':')[2])


def cells(line):
  return re.split('  +', line)


@contextlib.contextmanager
def ended(process):
  """Kills a rank at the end of the block."""
  try:
    yield
  finally:
    process.kill()
    process.communicate()


async def until(condition):
  while not condition():  # The caller has a time-out.
    await asyncio.sleep(0.02)


def wait_until(condition):
  end = time.monotonic() + 20
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.05)


def ask(addresses, rank, line=None):
  """Returns what a rank answers a caller, or a line; b'' if nothing."""
  host, _, port = addresses[rank].rpartition(':')
  line = line or reports.encode(reports.Message('x'))
  try:
    with socket.create_connection((host, int(port)), timeout=20) as caller:
      caller.sendall(line)
      caller.shutdown(socket.SHUT_WR)
      return caller.makefile('rb').read()
  except OSError:
    return b''


def has_ipv6():
  try:
    socket.create_server(('::1', 0), family=socket.AF_INET6).close()
  except OSError:
    return False
  return True
