"""Real signals are noted; the second Ctrl-C ends the process."""
import os
import select
import signal
import subprocess
import sys

import pytest

from resnet.distribution import stop_signals

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _installed():
  """Notes signals during the test, and restores the handlers afterwards."""
  # A signal that is not noted must fail one test, not end all of them.
  before = {number: signal.signal(number, lambda *_: None)
            for number in _SIGNALS}
  stop_signals.install()
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


def _send(number):
  os.kill(os.getpid(), number)


def test_nothing_is_requested_at_first():
  assert stop_signals.requested() is None


@pytest.mark.parametrize('number, name', [
    (signal.SIGTERM, 'SIGTERM'), (signal.SIGINT, 'SIGINT'),
    (signal.SIGUSR1, 'SIGUSR1'), (signal.SIGHUP, 'SIGHUP')])
def test_signal_is_noted_by_name(number, name):
  _send(number)
  assert stop_signals.requested() == name
  assert stop_signals.requested() == name  # Asking does not take it away.


def test_first_signal_counts():
  _send(signal.SIGUSR1)
  _send(signal.SIGTERM)
  assert stop_signals.requested() == 'SIGUSR1'


def test_install_forgets():
  _send(signal.SIGTERM)
  stop_signals.install()
  assert stop_signals.requested() is None


def test_hangup_stays_ignored():
  """As under nohup."""
  signal.signal(signal.SIGHUP, signal.SIG_IGN)
  stop_signals.end_at_once()
  stop_signals.install()
  _send(signal.SIGHUP)
  assert stop_signals.requested() is None and stop_signals.are_noted()


_AT_ONCE = """
import os, signal, sys
from resnet.distribution import stop_signals
if sys.argv[2] == 'first':
  os.getpid = lambda: 1  # As in a container.
pid = int(os.readlink('/proc/self'))
stop_signals.end_at_once()
class Gone:
  def __del__(self):  # Python drops exceptions here.
    os.kill(pid, getattr(signal, sys.argv[1]))
    sum(range(1000))
Gone()
print('still here', flush=True)
"""


@pytest.mark.parametrize('name, which, code', [
    ('SIGTERM', 'other', -signal.SIGTERM), ('SIGHUP', 'other', -signal.SIGHUP),
    ('SIGUSR1', 'other', 143), ('SIGINT', 'other', 130),
    ('SIGTERM', 'first', 143), ('SIGHUP', 'first', 143),
    ('SIGUSR1', 'first', 143),
    ('SIGINT', 'first', 143)])
def test_a_process_with_nothing_to_save_ends_at_once(name, which, code):
  done = subprocess.run([sys.executable, '-c', _AT_ONCE, name, which],
                        capture_output=True, text=True, check=False)
  assert (done.stdout, done.stderr, done.returncode) == ('', '', code)


_TWICE = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location('stop_signals', sys.argv[1])
stop_signals = importlib.util.module_from_spec(spec)  # Without TensorFlow.
spec.loader.exec_module(stop_signals)
stop_signals.install()
os.kill(os.getpid(), getattr(signal, sys.argv[2]))
print(stop_signals.requested(), flush=True)
os.kill(os.getpid(), getattr(signal, sys.argv[2]))
print('still here', flush=True)
"""


@pytest.mark.parametrize('name, printed, code', [
    ('SIGINT', 'SIGINT\n', -signal.SIGINT),  # Ended by the second.
    ('SIGTERM', 'SIGTERM\nstill here\n', 0),
])
def test_second_ctrl_c_ends_at_once(name, printed, code):
  done = subprocess.run(
      [sys.executable, '-c', _TWICE, stop_signals.__file__, name],
      capture_output=True, text=True, check=False)
  assert (done.stdout, done.returncode) == (printed, code)


_IN_A_LONG_CALL = """
import hashlib, sys
from resnet.distribution import stop_signals
stop_signals.install()
print('begun', flush=True)
# Python's handlers wait until it returns, as they do for TensorFlow.
hashlib.pbkdf2_hmac('sha256', b'', b'', int(sys.argv[1]))
print(stop_signals.requested(), stop_signals.seconds_since() > 0.1, flush=True)
"""
_CALL = 3_000_000  # About a second.


def _start_long_call(length):
  process = subprocess.Popen(
      [sys.executable, '-c', _IN_A_LONG_CALL, str(length)], text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
  assert process.stdout and process.stderr
  assert process.stdout.readline() == 'begun\n'
  return process, process.stdout, process.stderr


@pytest.mark.parametrize('name, words', [
    ('SIGINT', 'Interrupted: saving a checkpoint first. Press Ctrl-C again to '
     'end without it.\n'),
    ('SIGTERM', 'SIGTERM: saving a checkpoint, then stopping.\n')])
def test_a_signal_is_answered_before_a_long_call_ends(name, words):
  process, out, err = _start_long_call(_CALL)
  with process:
    process.send_signal(getattr(signal, name))
    assert err.readline() == words
    assert not select.select([out], [], [], 0)[0]  # It is still in the call.
    assert out.readline() == f'{name} True\n'
  assert process.returncode == 0


def test_a_second_ctrl_c_ends_even_a_long_call():
  process, out, err = _start_long_call(20 * _CALL)
  with process:
    process.send_signal(signal.SIGINT)
    assert err.readline().startswith('Interrupted: ')
    process.send_signal(signal.SIGINT)
    # The latter if the first one came right before the call.
    assert process.wait() in (130, -signal.SIGINT) and out.read() == ''
