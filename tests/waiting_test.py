"""Who is waited for is said while TensorFlow waits."""
import contextlib
import json
import re
import socket
import subprocess
import sys
import time

from launch import environment
from tests import processes
from tests import stub_workers


_WORKER = """
import sys
from resnet import waiting
with waiting.process(0, sys.argv[1:], 0.05):
  sys.stdin.read()
"""


@contextlib.contextmanager
def _worker(addresses):
  """A process that waits, until its standard input ends."""
  with subprocess.Popen(
      [sys.executable, '-c', _WORKER, *addresses], text=True,
      stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
    try:
      yield process
    finally:
      process.kill()


def test_those_that_do_not_listen_are_named():
  own, there, missing = environment.free_ports(3)
  addresses = [f'127.0.0.1:{own}', f'127.0.0.1:{there}',
               f'127.0.0.1:{missing}', f'[::1]:{missing}']
  with socket.create_server(('127.0.0.1', there)), _worker(addresses) as worker:
    said = [worker.stderr.readline() for _ in range(25)]
    worker.communicate(timeout=20)
  assert worker.returncode == 0
  for line in said:
    assert re.fullmatch(
        rf'waiting for worker 2 at 127.0.0.1:{missing}, worker 3 at '
        rf'\[::1\]:{missing} \([0-9]+ s\)\n', line)
  assert said[0].endswith(' (0 s)\n') and said[-1].endswith(' (1 s)\n')


def test_nobody_is_named_who_is_there():
  own, there = environment.free_ports(2)
  addresses = [f'127.0.0.1:{own}', f'127.0.0.1:{there}']
  with socket.create_server(('127.0.0.1', there)) as server:
    server.settimeout(20)
    with _worker(addresses) as worker:
      for _ in range(3):
        server.accept()[0].close()
      assert worker.communicate(timeout=20) == (None, '')


def test_it_does_not_outlive_a_killed_worker(monkeypatch):
  with stub_workers.marked(monkeypatch) as running:
    own, missing = environment.free_ports(2)
    with _worker([f'127.0.0.1:{own}', f'127.0.0.1:{missing}']) as worker:
      worker.stderr.readline()
      assert len(running()) == 2
      worker.kill()
      worker.wait()
      assert not stub_workers.left(running)


def test_a_worker_says_it_while_tensorflow_waits(tmp_path):
  """Which lets no thread of the process run."""
  own, missing = environment.free_ports(2)
  started = time.monotonic()
  result = processes.run(
      'tests.impatient', '--strategy=multi_worker_mirrored', '--start_secs=4',
      f'--workdir={tmp_path}/run', environment={'TF_CONFIG': json.dumps({
          'cluster': {'worker': [f'127.0.0.1:{own}', f'127.0.0.1:{missing}']},
          'task': {'type': 'worker', 'index': 0}})})
  assert result.code == 143 and time.monotonic() - started > 4
  *lines, end = result.err.splitlines()
  assert len(lines) > 3 and 'did not come together in 4 s: worker 1 at' in end
  for line in lines:
    assert line.startswith(f'waiting for worker 1 at 127.0.0.1:{missing} (')
