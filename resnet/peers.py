"""Where the other workers are, and waiting until they can be reached.

  check_port(cluster)
  left_secs = wait_for_names(cluster, 600)
"""
import socket
import time

from configs.errors import UserError
from resnet import waiting

_POLL_SECS = 1.0  # Every worker asks the same name service.


class LostPeer(Exception):
  """Another worker is gone: this process cannot go on, and may be restarted."""


def check_port(cluster):
  """Raises UserError unless this worker can open its own port.

  Args:
    cluster: launch.cluster.Cluster.
  """
  _, _, port = cluster.address.rpartition(':')
  with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      listener.bind(('', int(port)))
    except OSError as error:
      raise UserError(
          f'Could not start gRPC server: port {port} of worker '
          f'{cluster.rank} cannot be opened ({error.strerror}): end what uses '
          'it, or give another port where the addresses are given, on all '
          'workers.') from error


def wait_for_names(cluster, secs):
  """Returns once the hosts of all workers resolve.

  Args:
    cluster: launch.cluster.Cluster.
    secs: how long those are waited for that may come late.

  Returns:
    How many of these seconds are left, at least one.

  Raises:
    UserError: a host does not resolve, and would not later.
    LostPeer: nor did it in time.
  """
  end = time.monotonic() + secs
  unresolved = _unresolved(cluster.addresses, range(len(cluster.addresses)))
  if unresolved and not cluster.names_come_late:
    worker, error = next(iter(unresolved.items()))
    raise UserError(
        f'The host of worker {worker}, {cluster.addresses[worker]}, cannot be '
        f'resolved ({error.strerror}): mend it where it is given, or the name '
        'service of this machine.') from error
  while unresolved:
    if time.monotonic() >= end:
      raise LostPeer(
          f'The workers did not come together in {secs} s: no host was found '
          f'for {waiting.named(unresolved, cluster.addresses)} '
          f'({next(iter(unresolved.values())).strerror}).')
    time.sleep(_POLL_SECS)
    unresolved = _unresolved(cluster.addresses, unresolved)
  return max(1, end - time.monotonic())


def _unresolved(addresses, workers):
  """{worker: OSError} of those whose host does not resolve."""
  errors = {}
  for worker in workers:
    host, _, port = addresses[worker].rpartition(':')
    try:
      socket.getaddrinfo(host.strip('[]'), int(port))
    except OSError as error:
      errors[worker] = error
  return errors
