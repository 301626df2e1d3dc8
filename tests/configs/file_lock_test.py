"""Files are locked where the file system can, and never twice."""
import errno
import fcntl
import os

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
