"""Ranks of launch.doctor find each other, fall silent, or are strangers."""
import asyncio
import os
import platform
import re
import signal
import socket
import sys

import pytest

from launch.doctor import rendezvous, reports
from launch.doctor.reports import Finding
from tests.launch import doctor_ranks as ranks
from tests.launch import stub_workers

pytestmark = pytest.mark.slow  # Each starts a process or several.


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """Yields which processes of a test run; fails if one is left behind."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


@pytest.mark.parametrize('gone, number', [
    (0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_a_rank_that_falls_silent_is_not_waited_for(monkeypatch, number, gone):
  """The other of two ranks waits only as long as for a sign of life."""
  monkeypatch.setattr(rendezvous, 'SILENT_SECS', 0.5)
  addresses = ranks.free_addresses(2)

  async def other():
    cluster = ranks.cluster_of(addresses, 1 - gone)
    async with rendezvous.Peers(cluster, 20) as rank:
      await ranks.until(lambda: gone in rank.heard)
      os.kill(process.pid, number)
      await rank.all_tried()
      if gone:
        await rank.all_final()
      else:
        assert await rank.mark_of_chief() == ''
        assert await rank.verdict_of_chief() is None
      assert rank.is_gone(gone)

  process, = ranks.start(addresses, [ranks.HANGS] * 2, [gone])
  with ranks.ended(process):
    asyncio.run(asyncio.wait_for(other(), 8))


@pytest.mark.parametrize('gone, end', [
    (1, ': look at its log, and check that its machine is up.'),
    (0, ', so worker 1 has no verdict: look at the log of worker 0, and check '
     'its address.')])
def test_a_rank_that_falls_silent_is_named(tmp_path, gone, end):
  """It leaves between its report and the verdict."""
  addresses = ranks.free_addresses(2)

  async def impostor():
    async with rendezvous.Peers(ranks.cluster_of(addresses, gone), 20) as one:
      one.update(mark='')
      await ranks.until(lambda: 1 - gone in one.heard
                        and one.heard[1 - gone].survey)

  process, = ranks.start(addresses, [ranks.prints(tmp_path)] * 2, [1 - gone],
                         silent_secs=0.5)
  asyncio.run(asyncio.wait_for(impostor(), 20))
  code, _, err = ranks.finish(process)
  assert code == 2 and re.fullmatch(
      rf'error: Worker {gone} at {addresses[gone]} \([^)]*\) answered at first '
      rf'and then fell silent{re.escape(end)}', err[0])


def test_a_rank_that_ends_before_it_knows_the_verdict():
  """It has called once, with all that it knows."""
  addresses = ranks.free_addresses(2)
  answers = [sys.executable, '-ISc', 'print(1)']
  chief, = ranks.start(
      addresses, [answers] * 2, [0], wait_secs=0.3, silent_secs=1)
  line = reports.encode(reports.Message(
      rendezvous.Peers(ranks.cluster_of(addresses, 1), 1).own_cluster,
      reports.Report(1, 'node1', 'x', final=True)))
  with ranks.ended(chief):
    ranks.wait_until(lambda: ranks.ask(addresses, 0, line))
    code, _, err = ranks.finish(chief)
  assert code == 2 and any(
      'Worker 1 at' in sentence
      and 'answered at first and then fell silent' in sentence
      for sentence in err)


def test_only_the_chief_gives_a_verdict():
  addresses = ranks.free_addresses(3)

  async def told():
    async with rendezvous.Peers(ranks.cluster_of(addresses, 1), 20) as one:
      for rank, verdict in ((0, 2), (2, 0)):
        line = reports.encode(reports.Message(
            one.own_cluster, reports.Report(rank, 'x', 'x'), verdict))
        assert await asyncio.to_thread(ranks.ask, addresses, 1, line)
      assert set(one.heard) == {0, 2}
      return await one.verdict_of_chief()

  assert asyncio.run(asyncio.wait_for(told(), 20)) == 2


def test_a_rank_that_has_called_is_tried_for_seconds_only(monkeypatch):
  """It listened before it called; others are waited for much longer."""
  monkeypatch.setattr(rendezvous, '_TRIED_SECS', 0.3)
  addresses = ranks.free_addresses(2)

  async def called():
    async with rendezvous.Peers(ranks.cluster_of(addresses, 0), 60) as one:
      line = reports.encode(reports.Message(
          one.own_cluster, reports.Report(1, 'x', 'x')))
      assert await asyncio.to_thread(ranks.ask, addresses, 0, line)
      await one.all_tried()
      return one.own.unreached

  assert asyncio.run(asyncio.wait_for(called(), 8)) == {
      1: Finding(reports.OTHER, 'nothing listens there')}


def test_strangers_do_not_disturb(tmp_path):
  """Whatever they send, however much, and however slowly."""
  addresses = ranks.free_addresses(2)
  idle = []

  async def chief():
    async with rendezvous.Peers(ranks.cluster_of(addresses, 0), 20) as one:
      one.update(mark='')
      for line in (b'GET / HTTP/1.1\r\n\r\n', b'\n', b'[' * 10**5 + b'\n',
                   b'x' * (reports.LONGEST + 10**6), b'\x00' * 100 + b'\n'):
        assert await asyncio.to_thread(ranks.ask, addresses, 0, line) == b''
      for rank in (-1, 2, 10**9):
        line = reports.encode(reports.Message(
            one.own_cluster, one.own._replace(rank=rank, process='other')))
        assert await asyncio.to_thread(ranks.ask, addresses, 0, line)
      # A caller from another cluster learns that, and nothing else.
      answer = await asyncio.to_thread(ranks.ask, addresses, 0)
      assert reports.decode(answer) == reports.Message(one.own_cluster)
      assert not one.heard and not one.own.problems
      place = '127.0.0.1', ranks.port(addresses[0])
      idle.extend(socket.create_connection(place) for _ in range(10))
      process, = ranks.start(addresses, [ranks.prints(tmp_path)] * 2, [1])
      await one.all_tried()
      one.update(final=True)
      await one.all_final()
      assert not await one.tell(0)
      return ranks.finish(process)

  try:
    assert asyncio.run(asyncio.wait_for(chief(), 40)) == (0, [], [])
  finally:
    for one in idle:
      one.close()


def test_too_many_callers_at_once_are_sent_away():
  addresses = ranks.free_addresses(1)

  async def lonely():
    async with rendezvous.Peers(ranks.cluster_of(addresses, 0), 20):
      # 2 for each rank and 16 stay.
      callers = [await asyncio.open_connection(
          '127.0.0.1', ranks.port(addresses[0])) for _ in range(19)]
      read = [asyncio.create_task(reader.read(1)) for reader, _ in callers]
      done, _ = await asyncio.wait(
          read, timeout=20, return_when=asyncio.FIRST_COMPLETED)
      assert done == {read[18]} and read[18].result() == b''
      for task in read:
        task.cancel()
      for _, writer in callers:
        writer.close()

  asyncio.run(lonely())


@pytest.mark.parametrize('rank', [0, 1])
def test_two_processes_of_one_rank_are_reported(rank):
  """The second is on another host, where the port of its rank is free."""
  addresses = ranks.free_addresses(2)

  async def second():
    twin = rendezvous.Peers(ranks.cluster_of(addresses, rank), 20)
    twin.update(host='~twin')  # Sorted after all names of hosts.
    # It does not listen: the port is the first one's, on another machine.
    task = asyncio.create_task(twin._call_again(1 - rank))
    await ranks.until(lambda: 1 - rank in twin.heard
                      and twin.heard[1 - rank].problems)
    task.cancel()
    return twin.heard[1 - rank].problems

  chief, other = ranks.start(addresses, [ranks.HANGS] * 2)
  with ranks.ended(chief), ranks.ended(other):
    ranks.wait_until(
        lambda: all(ranks.ask(addresses, rank) for rank in range(2)))
    problems = asyncio.run(asyncio.wait_for(second(), 20))
  assert problems == (Finding(
      reports.OTHER, f'two processes, on {platform.node()} and ~twin, claim to '
      f'be worker {rank}: start one process for each worker, with its own '
      'rank.'),)


def test_ranks_with_other_addresses(tmp_path):
  addresses = ranks.free_addresses(3)
  words = [ranks.prints(tmp_path)] * 2
  chief, = ranks.start(addresses[:2], words, [0], wait_secs=1, begin=False)
  other, = ranks.start(addresses, words, [1], wait_secs=1, begin=False)
  ranks.let_begin([chief, other])
  for rank, process in ((1, chief), (0, other)):
    code, _, (line,) = ranks.finish(process)
    assert code == 2 and line == (
        f'error: Worker {rank} at {addresses[rank]} was given other addresses '
        f'than worker {1 - rank}: give all workers the same addresses in the '
        'same order.')


def test_a_rank_with_other_addresses_is_remembered_after_it_has_left():
  addresses = ranks.free_addresses(3)

  async def left_alone():
    async with rendezvous.Peers(ranks.cluster_of(addresses[:2], 0), 60) as one:
      async with rendezvous.Peers(ranks.cluster_of(addresses, 1), 60):
        await ranks.until(lambda: one.why(1).kind == reports.OTHER_CLUSTER)
      calls, original = [], one._call

      async def call(rank):
        calls.append(rank)
        await original(rank)

      one._call = call
      await ranks.until(lambda: len(calls) > 1)  # The first has failed by then.
      return one.why(1).kind

  assert asyncio.run(
      asyncio.wait_for(left_alone(), 20)) == reports.OTHER_CLUSTER


def test_addresses_that_lead_to_other_ranks():
  """Worker 1 is started where 2 should be, and 2 where 1 should be."""
  addresses = ranks.free_addresses(3)
  swapped = [addresses[0], addresses[2], addresses[1]]

  async def misplaced(rank):
    one = rendezvous.Peers(ranks.cluster_of(addresses, rank), 20)
    one._addresses = swapped  # Where it listens.
    one.update(host='\x1b')
    async with one:
      await ranks.until(lambda: 0 in one.heard and one.heard[0].final)

  async def chief():
    async with rendezvous.Peers(ranks.cluster_of(addresses, 0), 1) as one:
      tasks = [asyncio.create_task(misplaced(rank)) for rank in (1, 2)]
      await one.all_tried()
      one.update(final=True)
      await asyncio.gather(*tasks)
      return one.own.unreached

  unreached = asyncio.run(asyncio.wait_for(chief(), 20))
  assert sorted(unreached) == [1, 2]
  for rank, why in unreached.items():
    assert why.text == f'worker {3 - rank} on ? answers there'


def test_a_rank_ended_by_a_signal_leaves_nothing_behind(tmp_path, running):
  """Neither files nor a survey."""
  folder = tmp_path / 'new' / 'run'
  addresses = ranks.free_addresses(2)
  process, = ranks.start(addresses, [ranks.prints(folder)], [0])
  with ranks.ended(process):
    ranks.wait_until(lambda: list(folder.glob('.doctor-*')))
    process.terminate()
    assert ranks.finish(process) == (143, [], [])
  assert not list(tmp_path.iterdir())
  process, = ranks.start(addresses, [ranks.HANGS], [0])
  with ranks.ended(process):
    ranks.wait_until(lambda: len(running()) == 3)  # Survey and watcher.
    process.send_signal(signal.SIGINT)
    process.wait(20)
    assert not running()


def test_ranks_that_are_waited_for_are_named(monkeypatch):
  monkeypatch.setattr(rendezvous, '_ANNOUNCE_SECS', 0.2)
  addresses, said = ranks.free_addresses(3), []

  async def lonely():
    cluster = ranks.cluster_of(addresses, 0)
    async with rendezvous.Peers(cluster, 20, said.append):
      await ranks.until(lambda: said and said[-1].count('nothing listens') == 2)

  asyncio.run(lonely())
  assert re.fullmatch(
      rf'waiting for worker 1 at {addresses[1]} \(nothing listens there\), '
      rf'worker 2 at {addresses[2]} \(nothing listens there\): \d+ s so far',
      said[-1])
