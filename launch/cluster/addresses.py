"""Addresses of workers, 'host:port', and the sockets behind them."""
import collections
from collections.abc import Sequence
import errno
import socket

_MOST_DIGITS = 9  # Of a port; int() refuses thousands of them.


def split(address: str) -> tuple[str, int]:
  """Returns the host, without brackets, and the port of 'host:port'."""
  host, _, port = address.rpartition(':')
  return host.strip('[]'), int(port)


def is_valid(address: object) -> bool:
  """Returns whether this is 'host:port', with a port from 1 to 65535."""
  host, colon, port = (
      address.rpartition(':') if isinstance(address, str) else ('', '', ''))
  return (bool(host and colon) and port.isascii() and port.isdigit()
          and len(port) <= _MOST_DIGITS and 0 < int(port) < 65536)


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
