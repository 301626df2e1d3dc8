"""Addresses of workers, 'host:port', and the sockets behind them."""
import collections
from collections.abc import Sequence
import errno
import ipaddress
import re
import socket

from configs.process import whole_number

_LAST_PORT = 65535
_LONGEST_NAME = 253  # RFC 1035, as is the length of labels.
_LABEL = re.compile('[A-Za-z0-9_-]{1,63}')


def split(address: str) -> tuple[str, int]:
  """Returns the host, without brackets, and the port of 'host:port'."""
  host, _, port = address.rpartition(':')
  return host.strip('[]'), int(port)


def is_valid(address: object) -> bool:
  """Returns whether this is 'host:port', with a port from 1 to 65535.

  The host is a name, an IPv4 address, or an IPv6 address in brackets.
  """
  if not isinstance(address, str):
    return False
  host, _, port = address.rpartition(':')
  return _is_host(host) and bool(whole_number.parse(port, _LAST_PORT))


def _is_host(host):
  if host.startswith('[') and host.endswith(']'):
    try:
      ipaddress.IPv6Address(host[1:-1])
    except ValueError:
      return False
    return True
  # Python's sockets raise UnicodeError, no OSError, for an empty label.
  return len(host) <= _LONGEST_NAME and all(
      map(_LABEL.fullmatch, host.removesuffix('.').split('.')))


def duplicate(addresses: Sequence[str]) -> str | None:
  """Returns the first address that occurs more than once, or None."""
  counts = collections.Counter(addresses)
  return next((address for address, n in counts.items() if n > 1), None)


def listener(port: int) -> socket.socket:
  """Returns a socket that listens on a port, over IPv6 as well if possible.

  Raises:
    OSError: the port is in use, or this process may not open it.
  """
  if socket.has_dualstack_ipv6():
    try:
      return socket.create_server(
          ('', port), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError as error:
      if error.errno == errno.EADDRINUSE:
        raise
  return socket.create_server(('', port))
