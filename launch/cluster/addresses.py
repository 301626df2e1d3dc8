"""Addresses of workers, 'host:port', and the sockets behind them."""
import errno
import socket


def split(address):
  """(host, port) of 'host:port'."""
  host, _, port = address.rpartition(':')
  return host.strip('[]'), int(port)


def listener(port):
  """A socket that listens on a port, by IPv6 as well where there is any.

  Raises:
    OSError: the port is in use, or may not be used.
  """
  if socket.has_dualstack_ipv6():
    try:
      return socket.create_server(
          ('', port), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError as error:
      if error.errno == errno.EADDRINUSE:
        raise
  return socket.create_server(('', port))
