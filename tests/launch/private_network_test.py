"""Workers of python -m launch.local that nobody else can connect to."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from configs.process.errors import UserError
from launch.local import __main__ as launcher
from launch.local import private_network
from tests.launch import stub_workers

_ROOT = pathlib.Path(__file__).parents[2]
_REASON = private_network.why_not()
_possible = pytest.mark.skipif(
    bool(_REASON), reason=f'NO PRIVATE NETWORK WAS TRIED: {_REASON}')
# Each worker listens as TensorFlow does, on all interfaces.
_LISTENS = """
import socket
port = int(json.loads(os.environ['TF_CONFIG'])['cluster']['worker'][rank]
           .rpartition(':')[2])
server = socket.create_server(('', port))
if rank:
  first = json.loads(os.environ['TF_CONFIG'])['cluster']['worker'][0]
  while True:
    try:
      socket.create_connection(first.split(':')).close()
      break
    except ConnectionRefusedError:
      time.sleep(0.01)
print('listens', port, flush=True)
signal.signal(15, lambda *_: end(143))
while True:
  time.sleep(1)
"""


@contextlib.contextmanager
def _launched(folder, *flags, before=()):
  """Yields (ports of two workers, list that gets the launcher's lines)."""
  (folder / 'stub.py').write_text(stub_workers.PRELUDE + _LISTENS)
  process = subprocess.Popen(
      [*before, sys.executable, '-m', 'launch.local', '--workers=2',
       '--module=stub', f'--log_dir={folder}/logs', *flags],
      env={**os.environ, 'PYTHONPATH': f'{_ROOT}:{folder}'}, cwd=folder,
      text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
  timer = threading.Timer(60, process.kill)  # Nothing here may wait forever.
  timer.start()
  said = []
  try:
    yield [int(process.stdout.readline().split()[-1]) for _ in range(2)], said
    process.send_signal(signal.SIGTERM)
    said += process.communicate()[1].splitlines()
    assert process.returncode == 143
  finally:
    timer.cancel()
    process.kill()
    process.communicate()


def _hosts():
  """Yields addresses of this machine."""
  yield '127.0.0.1'
  with contextlib.suppress(socket.gaierror):
    yield socket.gethostbyname(socket.gethostname())


def _is_refused(host, port):
  try:
    socket.create_connection((host, port), timeout=2).close()
    return False
  except ConnectionRefusedError:
    return True


@_possible
def test_nobody_else_can_connect_to_a_worker(tmp_path):
  """The workers themselves can: one of them waits for the other."""
  with _launched(tmp_path) as (ports, said):
    assert all(_is_refused(host, port) for host in _hosts() for port in ports)
  assert said[1] == (
      '[launch] the workers have a network of their own, and no other '
      "(--private_network=false: this machine's)")


def test_on_request_workers_have_the_network_of_the_machine(tmp_path):
  with _launched(tmp_path, '--private_network=false') as (ports, said):
    assert not any(
        _is_refused(host, port) for host in _hosts() for port in ports)
  assert said and not any('network' in line for line in said)


_CANNOT = ('setpriv', '--bounding-set=-sys_admin')


@pytest.mark.skipif(os.geteuid() != 0, reason='Only root has capabilities.')
def test_where_the_kernel_allows_none_workers_start_as_before(tmp_path):
  """As for root in most containers."""
  with _launched(tmp_path, before=_CANNOT) as (ports, said):
    assert not _is_refused('127.0.0.1', ports[0])
  assert said[1] == (
      '[launch] no private network here (Operation not permitted): anyone who '
      "can connect to this machine's ports can control the workers")


@pytest.mark.skipif(os.geteuid() != 0, reason='Only root has capabilities.')
def test_where_the_kernel_allows_none_it_cannot_be_required(tmp_path):
  (tmp_path / 'stub.py').touch()
  done = subprocess.run(
      [*_CANNOT, sys.executable, '-m', 'launch.local', '--workers=2',
       '--module=stub', '--private_network=true'], cwd=tmp_path,
      env={**os.environ, 'PYTHONPATH': f'{_ROOT}'}, capture_output=True,
      text=True, check=False)
  assert (done.returncode, done.stdout, done.stderr) == (
      2, '', 'error: --private_network=true is not possible here (Operation '
      'not permitted): let the kernel create network namespaces for this user, '
      'or give --private_network=false on a network that you trust.\n')
  assert [path.name for path in tmp_path.iterdir()] == ['stub.py']


_AS_A_USER = """
import ctypes, encodings.idna, os, sys
sys.path[:0] = [{root!r}]
from launch.local import private_network
for group, mode in ((0, 0o600), (65533, 0o640)):
  os.chmod(os.open(f'{folder}/{{group}}', os.O_CREAT | os.O_WRONLY), mode)
  os.chown(f'{folder}/{{group}}', 0, group)
os.setgroups([65533])
os.setgid(65534)
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: as after an exec.
private_network._try()  # Enters one, and connects to itself.
print(os.getuid(), os.getgid(), os.listdir('/sys/class/net') != [])
for group in (0, 65533):
  print(os.access(f'{folder}/{{group}}', os.R_OK))
print(len(open('/proc/net/dev').readlines()))
"""


@_possible
@pytest.mark.skipif(os.geteuid() != 0, reason='Only root can be others.')
def test_a_user_keeps_name_groups_and_access_to_files():
  """In a user namespace."""
  with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    done = subprocess.run(
        [sys.executable, '-c',
         _AS_A_USER.format(root=os.fspath(_ROOT), folder=folder)],
        capture_output=True, text=True, check=False)
  # Two lines of titles, and the loopback interface.
  assert done.stdout.splitlines() == [
      '65534 65534 True', 'False', 'True', '3'], done.stderr


@pytest.mark.parametrize('capabilities, reason', [
    (False, '/dev/nvidia-uvm is missing'), (True, '')])
def test_gpus_need_their_driver_first(monkeypatch, capabilities, reason):
  """A program with the setuid bit completes it, which does nothing later."""
  monkeypatch.setattr(private_network, '_GPU_MEMORY', '/dev/nvidia-uvm')
  monkeypatch.setattr(private_network, '_has_capabilities',
                      lambda: capabilities)
  monkeypatch.setattr(private_network, '__file__', os.devnull)
  assert private_network.why_not(gpus=True) == reason
  assert not private_network.why_not(gpus=False)


def test_a_failure_halfway_ends_the_launcher(monkeypatch):
  def fail():
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(private_network, 'why_not', lambda gpus: '')
  monkeypatch.setattr(private_network, 'enter', fail)
  with pytest.raises(UserError, match='could not be created .No space left'):
    launcher._enter_private_network(required=False, gpus=False)


_FLAGS = (
    '--config.model.width=4', '--config.global_batch=16',
    '--config.train_epochs=0', '--config.train_steps=8',
    '--config.schedule.warmup_epochs=0', '--eval_every_epochs=0')


def _state(workdir):
  reader = tf.train.load_checkpoint(f'{workdir}/checkpoints/ckpt-8')
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name != 'identity'}


def _train(folder, private):
  """Trains; returns whether a worker was seen to listen outside and inside."""
  process = subprocess.Popen(
      [sys.executable, '-m', 'launch.local', '--workers=2',
       f'--private_network={private}', f'--log_dir={folder}/logs', '--',
       *_FLAGS, f'--workdir={folder}/{private}'], cwd=_ROOT, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  beat = folder / private / 'workers/0.json'  # Written once all have joined.
  while process.poll() is None and not beat.exists():
    time.sleep(0.05)
  try:
    worker = json.loads(beat.read_text())['pid']
    environ = pathlib.Path(f'/proc/{worker}/environ').read_text().split('\0')
    _, _, config = next(
        one for one in environ if one.startswith('TF_CONFIG')).partition('=')
    address = json.loads(config)['cluster']['worker'][0]
    host, port = address.split(':')
    outside = not _is_refused(host, int(port))
    connect = f'import socket; socket.create_connection(("{host}", {port}))'
    inside = subprocess.run(
        ['nsenter', *(() if os.geteuid() == 0 else
                      ('--user', '--preserve-credentials')), '--net',
         f'--target={worker}', sys.executable, '-c', connect], check=False)
  finally:
    printed, _ = process.communicate(timeout=300)
  assert process.returncode == 0, printed
  return outside, inside.returncode == 0


@_possible
@pytest.mark.slow
def test_training_has_the_same_bits(tmp_path):
  assert _train(tmp_path, 'true') == (False, True)
  assert _train(tmp_path, 'false') == (True, True)
  one, other = _state(tmp_path / 'true'), _state(tmp_path / 'false')
  assert one.keys() == other.keys() and len(one) > 60
  for name, value in one.items():
    np.testing.assert_array_equal(other[name], value, err_msg=name)
