"""TCP connections between ranks, none of which waits without end."""
import asyncio
import concurrent.futures
import socket
import threading

from launch.cluster import addresses


async def _resolve(host, port):
  """[(IP address, port)] of a host.

  In a thread that nobody waits for: an answer may take minutes to fail.
  """
  found = concurrent.futures.Future()
  found.set_running_or_notify_cancel()

  def ask():
    try:
      found.set_result(socket.getaddrinfo(
          host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
      found.set_exception(error)

  threading.Thread(target=ask, daemon=True).start()
  return [place[4][:2] for place in await asyncio.wrap_future(found)]


async def connect(address, longest_line):
  """(asyncio reader, writer) of a connection to 'host:port'.

  Raises:
    OSError: its host cannot be resolved, or no IP address of it be reached.
    UnicodeError: the host is no name that could be resolved.
  """
  *places, (last, port) = await _resolve(*addresses.split(address))
  for host, _ in places:
    try:
      return await asyncio.open_connection(host, port, limit=longest_line)
    except OSError:
      pass
  return await asyncio.open_connection(last, port, limit=longest_line)


def why(error, secs):
  """Why a call of so many seconds failed, in a few words."""
  if isinstance(error, socket.gaierror):
    return f'its name cannot be resolved: {error.strerror}'
  if isinstance(error, UnicodeError):
    return f'its name cannot be resolved: {error}'
  if isinstance(error, ConnectionRefusedError):
    return 'nothing listens there'
  if isinstance(error, asyncio.TimeoutError):
    return f'no answer within {secs:g} s'
  if isinstance(error, OSError):
    return error.strerror or type(error).__name__
  return 'another program answers there'
