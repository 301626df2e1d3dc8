"""Connections between ranks: every address of a host, none without an end."""
import asyncio
import socket
import threading

import pytest

from launch.cluster import addresses
from launch.doctor import connections
from tests.launch import doctor_ranks as ranks


@pytest.mark.skipif(not ranks.has_ipv6(), reason='There is no IPv6 here.')
def test_a_port_that_is_in_use_only_over_ipv6():
  with socket.create_server(('::1', 0), family=socket.AF_INET6) as taken:
    with pytest.raises(OSError):
      addresses.listener(taken.getsockname()[1])


@pytest.mark.parametrize('places', [
    ['127.0.0.1', '127.0.0.2'], ['127.0.0.2', '127.0.0.1']])
def test_each_ip_address_of_a_host_is_tried(monkeypatch, places):
  with socket.create_server(('127.0.0.1', 0)) as there:
    port = there.getsockname()[1]
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *_, **__: [
        (0, 0, 0, '', (place, port)) for place in places])

    async def connect():
      _, writer = await connections.connect(f'host:{port}', 100)
      writer.close()
      return writer.get_extra_info('peername')

    assert asyncio.run(connect()) == ('127.0.0.1', port)


@pytest.mark.filterwarnings('error')
def test_a_name_service_that_hangs_is_not_waited_for(monkeypatch):
  answer, threads = threading.Event(), []

  def resolve(*_, **__):
    threads.append(threading.current_thread())
    answer.wait(20)
    return []

  monkeypatch.setattr(socket, 'getaddrinfo', resolve)
  with pytest.raises(asyncio.TimeoutError):
    asyncio.run(asyncio.wait_for(connections.connect('host:1', 100), 0.1))
  answer.set()
  threads[0].join(20)
