"""Waiting for workers whose names resolve late, or never."""
import socket

import pytest

from configs.errors import UserError
from launch.cluster import Cluster
from resnet import peers


class _World:
  """A clock that sleeping moves, and a name service that learns by it."""

  def __init__(self, known_from):
    self.now, self.asked, self._known_from = 0, [], known_from

  def monotonic(self):
    return self.now

  def sleep(self, secs):
    self.now += secs

  def getaddrinfo(self, host, port):
    self.asked.append((self.now, host, port))
    if self.now < self._known_from.get(host, 0):
      raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')


_NEVER = float('inf')


def _wait(monkeypatch, known_from, secs, late=True):
  """(_World, seconds left) after waiting for hosts, {name: known from}."""
  world = _world(monkeypatch, known_from)
  return world, peers.wait_for_names(_cluster(known_from, late), secs)


def _world(monkeypatch, known_from):
  world = _World(known_from)
  monkeypatch.setattr(peers, 'time', world)
  monkeypatch.setattr(socket, 'getaddrinfo', world.getaddrinfo)
  return world


def _cluster(hosts, late=True):
  return Cluster(tuple(f'{host}:{2222 + i}' for i, host in enumerate(hosts)), 0,
                 late)


def test_names_that_come_late_are_waited_for(monkeypatch):
  world, left = _wait(monkeypatch, {'a': 0, 'b': 2, 'c': 1}, 600)
  assert left == 598
  # Whoever has been found is not looked for again.
  assert world.asked == [(0, 'a', 2222), (0, 'b', 2223), (0, 'c', 2224),
                         (1, 'b', 2223), (1, 'c', 2224), (2, 'b', 2223)]


@pytest.mark.parametrize('late', [True, False])
def test_names_that_are_known_are_not_waited_for(monkeypatch, late):
  world, left = _wait(monkeypatch, {'a': 0, '[::1]': 0}, 600, late)
  assert (world.now, left) == (0, 600)
  assert world.asked[1] == (0, '::1', 2223)


def test_the_last_moment_leaves_time_to_come_together(monkeypatch):
  assert _wait(monkeypatch, {'a': 0, 'b': 5}, 5)[1] == 1


def test_names_that_never_come_are_a_lost_peer(monkeypatch):
  world = _world(monkeypatch, {'a': 0, 'b': _NEVER, 'c': _NEVER})
  with pytest.raises(peers.LostPeer) as error:
    peers.wait_for_names(_cluster('abc'), 5)
  assert world.now == 5
  assert str(error.value) == (
      'The workers did not come together in 5 s: no host was found for worker '
      '1 at b:2223, worker 2 at c:2224 (Name or service not known).')


def test_names_that_are_wrong_are_an_error_at_once(monkeypatch):
  with pytest.raises(UserError, match='worker 1, b:2223, cannot be resolved'):
    _wait(monkeypatch, {'a': 0, 'b': 1, 'c': 1}, 600, late=False)
