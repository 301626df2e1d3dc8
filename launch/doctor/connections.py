"""TCP connections between ranks, none of which waits indefinitely."""
import asyncio
import concurrent.futures
import socket
import threading

from launch.cluster import addresses


async def connect(
    address: str, longest_line: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
  """Connects to 'host:port'; tries each IP address of the host.

  Args:
    address: 'host:port'.
    longest_line: bytes that the reader accepts without a newline.

  Returns:
    (reader, writer) of the connection.

  Raises:
    OSError: the host cannot be resolved, or none of its IP addresses answers.
    UnicodeError: the host is not a valid name.
  """
  *places, (last, port) = await _resolve(*addresses.split(address))
  for host, _ in places:
    try:
      return await asyncio.open_connection(host, port, limit=longest_line)
    except OSError:
      pass
  return await asyncio.open_connection(last, port, limit=longest_line)


def why(error: Exception, secs: float) -> str:
  """Returns in a few words why a call that could take `secs` has failed."""
  if isinstance(error, socket.gaierror):
    return f'its name cannot be resolved: {error.strerror}'
  if isinstance(error, UnicodeError):
    return f'its name cannot be resolved: {error}'
  if isinstance(error, ConnectionRefusedError):
    return 'nothing listens there'
  if isinstance(error, TimeoutError):
    return f'no answer within {secs:g} s'
  if isinstance(error, OSError):
    return error.strerror or type(error).__name__
  return 'another program answers there'


async def _resolve(host: str, port: int) -> list[tuple[str, int]]:
  """Returns [(IP address, port)] of a host.

  Resolves in a thread that can be abandoned: failing can take minutes.
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
