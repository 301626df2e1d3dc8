"""Waits until all workers of a run have started. Needs no TensorFlow.

  left_secs = wait_for_all(cluster, 600)

TensorFlow would wait too, but it holds Python's global lock meanwhile and takes
SIGTERM for itself: nothing could be printed, and no signal handled.
"""
from collections.abc import Sequence
import contextlib
import socket
import sys
import time

from configs.process.errors import UserError
from launch.cluster import addresses, contract, resolver

_ANNOUNCE_SECS = 10.0
_POLL_SECS = 1.0  # All workers ask the same name service.


class LostPeer(Exception):
  """Another worker is gone: this process cannot continue; restart it."""


def wait_for_all(cluster: resolver.Cluster, secs: float) -> float:
  """Returns once each worker has listened at its address, as this one does.

  Prints every ten seconds which workers it is waiting for.

  Args:
    cluster: the workers, and which of them this is.
    secs: how long to wait.

  Returns:
    How many of these seconds are left; at least one.

  Raises:
    UserError: this worker cannot open its own port, or a host does not resolve
      and never will.
    LostPeer: a worker did not start in time.
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
        raise LostPeer(f'Not all workers started within {secs} s: '
                       f'{_reason(cluster, absent)}.')
      if now >= announce_at:
        announce_at += _ANNOUNCE_SECS
        print(f'waiting for {named(absent, cluster.addresses)} '
              f'({now - started:.0f} s)', file=sys.stderr, flush=True)
      _answer(listener)
      absent = _absent(cluster, absent)
  return max(1, secs - (time.monotonic() - started))


def silent(all_addresses: Sequence[str], rank: int) -> list[int]:
  """Returns the workers other than `rank` that do not accept connections."""
  return [worker for worker, address in enumerate(all_addresses)
          if worker != rank and _connection_error(address)]


def named(workers, all_addresses: Sequence[str]) -> str:
  """Returns the workers with their addresses, for a sentence."""
  return ', '.join(f'worker {worker} at {all_addresses[worker]}'
                   for worker in workers)


def _listener(cluster):
  """Opens this worker's port; raises UserError if it is taken."""
  _, port = addresses.split(cluster.address)
  try:
    return addresses.listener(port)
  except OSError as error:
    raise UserError(
        f'{contract.PORT_IN_USE}: port {port} of worker {cluster.rank} cannot '
        f'be opened ({error.strerror}): end the program that uses it, or give '
        'all workers another port for this one.') from error


def _absent(cluster, workers):
  """Returns {worker: OSError} for the workers that have not started.

  This worker is absent while its own host does not resolve.
  """
  errors = {}
  for worker in workers:
    error = (_name_error if worker == cluster.rank else _connection_error)(
        cluster.addresses[worker])
    if error:
      errors[worker] = error
  return errors


def _check_names(cluster, absent):
  """Raises UserError for the first worker whose host does not resolve."""
  for worker, error in absent.items():
    if isinstance(error, socket.gaierror):
      raise UserError(
          f'The host of worker {worker}, {cluster.addresses[worker]}, cannot '
          f'be resolved ({error.strerror}): fix it where it is set, or fix the '
          'name service of this machine.') from error


def _reason(cluster, absent):
  nameless = {worker: error for worker, error in absent.items()
              if isinstance(error, socket.gaierror)}
  if nameless:
    return (f'no host was found for {named(nameless, cluster.addresses)} '
            f'({next(iter(nameless.values())).strerror})')
  return f'{named(absent, cluster.addresses)} never started'


def _name_error(address):
  """Returns the OSError of resolving a host, or None."""
  try:
    socket.getaddrinfo(*addresses.split(address))
  except OSError as error:
    return error
  return None


def _connection_error(address):
  """Returns the OSError of connecting to an address, or None."""
  try:
    socket.create_connection(addresses.split(address), timeout=2).close()
  except OSError as error:
    return error
  return None


def _answer(listener):
  """Waits a moment, or less if another worker connects: it is up, most likely.
  """
  listener.settimeout(_POLL_SECS)
  with contextlib.suppress(OSError):  # Nobody connected.
    listener.accept()[0].close()
