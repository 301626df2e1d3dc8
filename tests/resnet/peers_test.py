"""Waiting for workers that come late, or never."""
import socket
import threading
import time

import pytest

from configs.process.errors import UserError
from launch.cluster.resolver import Cluster
from launch.local import worker_environment
from resnet.distribution import peers

_NEVER = float('inf')


class _World:
  """A clock that waiting moves; hosts that are known, and listen, from some
  moment on.
  """

  def __init__(self, monkeypatch, known_from, listens_from=None):
    self.now, self.asked = 0, []
    self._known_from, self._listens_from = known_from, listens_from or {}
    monkeypatch.setattr(peers, 'time', self)
    monkeypatch.setattr(socket, 'getaddrinfo', self.getaddrinfo)
    monkeypatch.setattr(socket, 'create_connection', self.create_connection)
    monkeypatch.setattr(peers, '_answer', self.wait)

  def monotonic(self):
    return self.now

  def wait(self, _):
    self.now += 1

  def getaddrinfo(self, host, port):
    self.asked.append((self.now, host, port))
    if self.now < self._known_from.get(host, 0):
      raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

  def create_connection(self, address, timeout):
    assert timeout == 2
    self.getaddrinfo(*address)
    if self.now < self._listens_from.get(address[0], 0):
      raise ConnectionRefusedError(111, 'Connection refused')
    return socket.socket()


def _cluster(hosts, late=True):
  own, = worker_environment.free_ports(1)
  return Cluster((f'a:{own}', *(
      f'{host}:{2222 + i}' for i, host in enumerate(hosts, 1))), 0, late)


def test_workers_that_come_late_are_waited_for(monkeypatch):
  world = _World(monkeypatch, {'b': 2, 'c': 1}, {'c': 3})
  cluster = _cluster('bc')
  assert peers.wait_for_all(cluster, 600) == 597
  own = int(cluster.address.partition(':')[2])
  # Whoever has been found is not looked for again.
  assert world.asked == [
      (0, 'a', own), (0, 'b', 2223), (0, 'c', 2224), (1, 'b', 2223),
      (1, 'c', 2224), (2, 'b', 2223), (2, 'c', 2224), (3, 'c', 2224)]


@pytest.mark.parametrize('late', [True, False])
def test_workers_that_are_there_are_not_waited_for(monkeypatch, late):
  world = _World(monkeypatch, {})
  assert peers.wait_for_all(_cluster(['[::1]'], late), 600) == 600
  assert world.now == 0 and world.asked[1] == (0, '::1', 2223)


def test_the_last_moment_leaves_time_to_come_together(monkeypatch):
  _World(monkeypatch, {'b': 4}, {'b': 5})
  assert peers.wait_for_all(_cluster('b'), 5.5) == 1


@pytest.mark.parametrize('known_from, why', [
    ({'b': _NEVER, 'c': _NEVER}, 'no host was found for worker 1 at b:2223, '
     'worker 2 at c:2224 (Name or service not known)'),
    ({'c': _NEVER}, 'no host was found for worker 2 at c:2224 (Name or service '
     'not known)'),
    ({}, 'worker 1 at b:2223, worker 2 at c:2224 never started')])
def test_workers_that_never_come_are_lost_peers(monkeypatch, known_from, why):
  world = _World(monkeypatch, known_from, {'b': _NEVER, 'c': _NEVER})
  with pytest.raises(peers.LostPeer) as error:
    peers.wait_for_all(_cluster('bc'), 5)
  assert world.now == 5
  assert str(error.value) == f'Not all workers started within 5 s: {why}.'


def test_this_worker_must_find_itself(monkeypatch):
  world = _World(monkeypatch, {'a': 3})
  assert peers.wait_for_all(_cluster('b'), 600) == 597
  assert [host for _, host, _ in world.asked] == ['a', 'b', 'a', 'a', 'a']


@pytest.mark.parametrize('name, worker', [('a', 0), ('b', 1)])
def test_names_that_are_wrong_are_an_error_at_once(monkeypatch, name, worker):
  world = _World(monkeypatch, {name: 1})
  with pytest.raises(
      UserError, match=f'worker {worker}, {name}:[0-9]+, cannot be resolved'):
    peers.wait_for_all(_cluster('b', late=False), 600)
  assert world.now == 0


def test_who_is_missing_is_announced(monkeypatch, capsys):
  _World(monkeypatch, {}, {'b': 12, 'c': 31})
  assert peers.wait_for_all(_cluster('bc'), 600) == 569
  out, err = capsys.readouterr()
  assert not out and err.splitlines() == [
      'waiting for worker 1 at b:2223, worker 2 at c:2224 (10 s)',
      'waiting for worker 2 at c:2224 (20 s)',
      'waiting for worker 2 at c:2224 (30 s)']


def test_many_find_each_other():
  """Also those that no longer wait, whose server listens from then on."""
  addresses = tuple(f'127.0.0.1:{port}'
                    for port in worker_environment.free_ports(8))
  left, all_there = [], threading.Event()

  def join(rank):
    cluster = Cluster(addresses, rank)
    left.append(peers.wait_for_all(cluster, 60))
    with peers._listener(cluster):
      all_there.wait(60)

  threads = [threading.Thread(target=join, args=(rank,)) for rank in range(8)]
  for thread in threads:
    thread.start()
    time.sleep(0.01)
  deadline = time.monotonic() + 60
  while len(left) < 8 and time.monotonic() < deadline:
    time.sleep(0.01)
  all_there.set()
  for thread in threads:
    thread.join(60)
  assert len(left) == 8


def test_a_port_in_use_is_an_error():
  with socket.create_server(('', 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(UserError, match=(
        f'port {port} of worker 0 cannot be opened .Address already in use')):
      peers.wait_for_all(Cluster((f'127.0.0.1:{port}',), 0), 1)
