"""Files are locked where the file system can, and never twice."""
import errno
import fcntl
import os
import signal
import subprocess
import time

import pytest

from configs.process import file_lock


def test_a_file_is_locked_once(tmp_path):
  first, second = ((tmp_path / 'lock').open('w') for _ in range(2))
  assert file_lock.take(first) is None
  with pytest.raises(BlockingIOError):
    file_lock.take(second)
  first.close()
  assert file_lock.take(second) is None
  second.close()


@pytest.mark.parametrize('code, can_do_without', [
    (errno.ENOLCK, True), (errno.ENOSYS, True), (errno.EOPNOTSUPP, True),
    (errno.EINVAL, True), (errno.EIO, False), (errno.EACCES, False),
    (errno.EBADF, False)])
def test_a_file_system_without_locks_is_told_from_a_failure(
    tmp_path, monkeypatch, code, can_do_without):
  def refuse(*_):
    raise OSError(code, os.strerror(code))
  monkeypatch.setattr(fcntl, 'flock', refuse)
  with (tmp_path / 'lock').open('w') as file:
    if can_do_without:
      assert file_lock.take(file) == os.strerror(code)
    else:
      with pytest.raises(OSError) as raised:
        file_lock.take(file)
      assert raised.value.errno == code


def test_who_is_leaving():
  """Nobody that runs or is stopped; all that are gone or killed."""
  assert not file_lock.is_leaving(str(os.getpid()))
  with subprocess.Popen(['sleep', '60']) as process:
    pid = str(process.pid)
    try:
      process.send_signal(signal.SIGSTOP)
      assert not file_lock.is_leaving(pid)
    finally:
      process.kill()
    end = time.monotonic() + 10
    while not file_lock.is_leaving(pid):  # A zombie until it is waited for.
      assert time.monotonic() < end
  assert file_lock.is_leaving(pid)


@pytest.mark.parametrize('memory, leaving', [('VmSize:\t9 kB\n', False),
                                             ('', True)])
def test_a_process_leaves_when_its_memory_is_gone(
    monkeypatch, tmp_path, memory, leaving):
  """One that has just been started may have no command line yet."""
  (tmp_path / '7').mkdir()
  (tmp_path / '7/cmdline').write_bytes(b'')
  (tmp_path / '7/status').write_text(f'Name:\tsleep\n{memory}SigPnd:\t0\n')
  monkeypatch.setattr(file_lock, '_PROCESSES', tmp_path)
  assert file_lock.is_leaving('7') == leaving


def test_no_process_has_such_a_number():
  assert not file_lock.is_leaving('1' * 5000)


@pytest.mark.parametrize('name, leaving', [
    ('SigPnd', True), ('ShdPnd', True), ('SigBlk', False), ('SigCgt', False)])
def test_who_was_killed_and_is_still_in_the_kernel(
    monkeypatch, tmp_path, name, leaving):
  """SIGKILL, number 9, is bit 8 of the signals that a thread has yet to take.
  """
  (tmp_path / '7').mkdir()
  (tmp_path / '7/status').write_text(
      'Name:\tpython\nVmSize:\t9 kB\nSigPnd:\t0000000000004200\n'
      f'{name}:\t0000000000000100\n')
  monkeypatch.setattr(file_lock, '_PROCESSES', tmp_path)
  assert file_lock.is_leaving('7') == leaving
