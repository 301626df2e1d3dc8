"""Where the other workers are, and waiting until all are there.

  left_secs = wait_for_all(cluster, 600)

TensorFlow would wait as well, but holds Python's global lock meanwhile and
takes SIGTERM for itself: nothing could be said, and no signal heeded.
"""
import contextlib
import socket
import sys
import time

from configs.process.errors import UserError
from launch.cluster import addresses

_ANNOUNCE_SECS = 10.0
_POLL_SECS = 1.0  # Every worker asks the same name service.


class LostPeer(Exception):
  """Another worker is gone: this process cannot go on, and may be restarted."""


def wait_for_all(cluster, secs):
  """Returns once each worker has listened at its address, as this one does.

  Says every few seconds who is still waited for.

  Args:
    cluster: launch.cluster.resolver.Cluster.
    secs: how long they are waited for.

  Returns:
    How many of these seconds are left, at least one.

  Raises:
    UserError: this worker cannot open its own port; a host does not resolve,
      and would not later.
    LostPeer: not all of them came in time.
  """
  started = time.monotonic()
  announce_at = started + _ANNOUNCE_SECS
  with _listener(cluster) as listener:
    absent = _absent(cluster, range(len(cluster.addresses)))
    if not cluster.names_come_late:
      _check_names(cluster, absent)
    while absent:
      now = time.monotonic()
      if now - started >= secs:
        raise LostPeer(f'The workers did not come together in {secs} s: '
                       f'{_reason(cluster, absent)}.')
      if now >= announce_at:
        announce_at += _ANNOUNCE_SECS
        print(f'waiting for {named(absent, cluster.addresses)} '
              f'({now - started:.0f} s)', file=sys.stderr, flush=True)
      _answer(listener)
      absent = _absent(cluster, absent)
  return max(1, secs - (time.monotonic() - started))


def silent(all_addresses, rank):
  """The workers other than `rank` that nobody can connect to: a list."""
  return [worker for worker, address in enumerate(all_addresses)
          if worker != rank and _connection_error(address)]


def named(workers, all_addresses):
  """The workers with their addresses, for a sentence."""
  return ', '.join(f'worker {worker} at {all_addresses[worker]}'
                   for worker in workers)


def _listener(cluster):
  """A socket at this worker's port. Raises UserError if that is taken."""
  _, port = addresses.split(cluster.address)
  try:
    return addresses.listener(port)
  except OSError as error:
    raise UserError(
        f'Could not start gRPC server: port {port} of worker '
        f'{cluster.rank} cannot be opened ({error.strerror}): end what uses '
        'it, or give another port where the addresses are given, on all '
        'workers.') from error


def _absent(cluster, workers):
  """{worker: why}, an OSError, of those that are not there; or, of this worker
  itself, whose host does not resolve.
  """
  errors = {}
  for worker in workers:
    error = (_name_error if worker == cluster.rank else _connection_error)(
        cluster.addresses[worker])
    if error:
      errors[worker] = error
  return errors


def _check_names(cluster, absent):
  """Raises UserError for the first whose host does not resolve."""
  for worker, error in absent.items():
    if isinstance(error, socket.gaierror):
      raise UserError(
          f'The host of worker {worker}, {cluster.addresses[worker]}, cannot '
          f'be resolved ({error.strerror}): mend it where it is given, or the '
          'name service of this machine.') from error


def _reason(cluster, absent):
  nameless = {worker: error for worker, error in absent.items()
              if isinstance(error, socket.gaierror)}
  if nameless:
    return (f'no host was found for {named(nameless, cluster.addresses)} '
            f'({next(iter(nameless.values())).strerror})')
  return f'{named(absent, cluster.addresses)} (never came)'


def _name_error(address):
  """The OSError of looking for a host; None without."""
  try:
    socket.getaddrinfo(*addresses.split(address))
  except OSError as error:
    return error
  return None


def _connection_error(address):
  """The OSError of connecting; None without."""
  try:
    socket.create_connection(addresses.split(address), timeout=2).close()
  except OSError as error:
    return error
  return None


def _answer(listener):
  """Waits a moment, or until another worker looks for this one: then that is
  there itself, most likely.
  """
  listener.settimeout(_POLL_SECS)
  with contextlib.suppress(OSError):  # Nobody did.
    listener.accept()[0].close()
