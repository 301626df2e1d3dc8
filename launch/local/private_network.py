"""A network that this process shares with nobody but what it starts.

TensorFlow's servers listen on all interfaces and execute what anyone sends
them. In a network namespace of their own (network_namespaces(7)), which has a
loopback interface and no other, nobody outside can connect to them.

  reason = why_not()
  if not reason:
    enter()

Making one takes the capability CAP_SYS_ADMIN. A process without capabilities
gets it in a user namespace, in which it keeps its user, its groups and its
access to files; programs with the setuid bit do not work there. A process with
other capabilities (root in a container) makes none: in a user namespace it
would lose access to other users' files.
"""
import contextlib
import ctypes
import fcntl
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h.
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914  # linux/sockios.h.
_IFF_UP = 1
_LOOPBACK = b'lo'
_REQUEST, _FLAGS = '16sh14x', '16xh14x'  # struct ifreq, netdevice(7).
_LONGEST_SECS = 30
_GPU_MEMORY = '/dev/nvidia-uvm'


def why_not(gpus: bool = False) -> str:
  """Returns why this process cannot enter one; '' if it can. Takes 30 ms.

  Tries it in another process: some kernels fail only halfway.

  Args:
    gpus: whether GPUs will be used.
  """
  if gpus and not os.path.exists(_GPU_MEMORY) and not _has_capabilities():
    # CUDA creates it by a program with the setuid bit, the first time.
    return f'{_GPU_MEMORY} is missing'
  try:
    done = subprocess.run([sys.executable, '-IS', __file__], text=True,
                          capture_output=True, timeout=_LONGEST_SECS,
                          check=False)
  except (OSError, subprocess.TimeoutExpired) as error:
    return str(error)
  if not done.returncode:
    return ''
  return ''.join(done.stderr.strip().splitlines()[-1:]) or 'it was killed'


def enter() -> None:
  """Moves this process, which must not have threads, into a new network.

  Raises:
    OSError: the kernel does not allow it; do not continue then.
  """
  user, group = os.geteuid(), os.getegid()
  if _has_capabilities():
    _unshare(_CLONE_NEWNET)
  else:
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    own = pathlib.Path('/proc/self')
    (own / 'setgroups').write_text('deny', 'utf-8')  # user_namespaces(7).
    (own / 'uid_map').write_text(f'{user} {user} 1', 'utf-8')
    (own / 'gid_map').write_text(f'{group} {group} 1', 'utf-8')
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    answer = fcntl.ioctl(
        one, _SIOCGIFFLAGS, struct.pack(_REQUEST, _LOOPBACK, 0))
    flags, = struct.unpack(_FLAGS, answer)
    fcntl.ioctl(
        one, _SIOCSIFFLAGS, struct.pack(_REQUEST, _LOOPBACK, flags | _IFF_UP))


def _has_capabilities():
  status = pathlib.Path('/proc/self/status').read_text('utf-8')
  found = re.search(r'^CapEff:\s*([0-9a-f]+)$', status, re.MULTILINE)
  return bool(found and int(found[1], 16))


def _unshare(flags):
  libc = ctypes.CDLL(None, use_errno=True)
  if libc.unshare(flags):
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def _try():
  """Enters one and connects to itself; exits with a reason if that fails."""
  try:
    enter()
    with contextlib.closing(socket.create_server(('127.0.0.1', 0))) as server:
      socket.create_connection(server.getsockname(), timeout=1).close()
  except (OSError, AttributeError) as error:  # AttributeError: no unshare.
    sys.exit(getattr(error, 'strerror', None) or str(error))


if __name__ == '__main__':
  _try()
