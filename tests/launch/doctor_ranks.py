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
from tests.launch import doctor_diagnosis_test

_ROOT = pathlib.Path(__file__).parents[2]


# A rank whose survey is a stub. 'silent_secs': until others count as gone;
# 'unknown': a host name that it cannot resolve; 'read_only': no new files.
_RANK = """
import json, signal, socket, sys, tempfile
from launch import cluster, doctor
from launch import doctor_peers as peers, doctor_workdir as workdir
given = json.loads(sys.argv[1])
peers.SILENT_SECS = given['silent_secs']
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
    cluster.Cluster(tuple(given['addresses']), given['rank']),
    given['survey'], given['seconds']))
"""


def prints(folder, **fields):
  """Words of a process that prints a survey with some fields of its own."""
  fields = {
      **doctor_diagnosis_test.SURVEY, 'workdir': os.fspath(folder), **fields}
  return [sys.executable, '-ISc', 'import sys; print(sys.argv[1])',
          json.dumps(fields)]


HANGS = [sys.executable, '-ISc',
         'import time; print("waits", flush=True); time.sleep(60)']


def start(addresses, words, only=None, *, seconds=20, silent_secs=5,
         unknown=('',) * 3, read_only=None, begin=True):
  """The processes of some ranks, all of them unless said otherwise.

  They begin together, at once or by let_begin: seconds count from then.
  """
  ranks = range(len(addresses)) if only is None else only
  started = [subprocess.Popen(
      [sys.executable, '-c', _RANK, json.dumps({
          'addresses': addresses, 'rank': rank, 'survey': words[rank],
          'seconds': seconds, 'silent_secs': silent_secs,
          'unknown': unknown[rank], 'read_only': rank == read_only})],
      cwd=_ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
      stderr=subprocess.PIPE) for rank in ranks]
  if begin:
    let_begin(started)
  return started


def let_begin(started):
  for process in started:
    assert process.stdout.readline() == 'ready\n'
  for process in started:
    process.stdin.write('\n')
    process.stdin.flush()


def finish(process):
  """(exit code, lines of stdout, lines of stderr)."""
  out, err = process.communicate(timeout=60)
  return process.returncode, out.splitlines(), err.splitlines()


def examine(*args, **how):
  """The ends of the ranks that start starts."""
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
  """Ends a rank with the block."""
  try:
    yield
  finally:
    process.kill()
    process.communicate()


async def until(condition):
  while not condition():  # Whoever awaits it has a time-out.
    await asyncio.sleep(0.02)


def wait_until(condition):
  end = time.monotonic() + 20
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.05)


def ask(addresses, rank, line=None):
  """What a rank answers to a caller, or to a line; b'' if nothing."""
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
