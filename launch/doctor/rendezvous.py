"""Ranks that find each other, tell what they know, and agree on a verdict.

Each rank listens on its own port, the one that TensorFlow will use, and calls
all others until it has reached them. A call is one connection: a line of JSON
each way, all within seconds. The others go on calling the chief, and the chief
those that cannot call it, until it has told them the verdict: the exit code of
all.

Nothing here is secret, and whoever connects is not trusted with more than to
spoil the verdict: TensorFlow's own ports have no passwords either.

  async with Peers(cluster, seconds, say) as peers:
    peers.update(survey=...)
    await peers.all_tried()
    peers.update(final=True)
    code = await peers.verdict_of_chief()    # The chief: `all_final`, `tell`.
"""
import asyncio
import hashlib
import os
import platform
import secrets
import time

from launch.cluster import addresses
from launch.doctor import connections, reports
from launch.doctor.reports import Message, Report

CALL_SECS = 5.0  # For all of a call.
SILENT_SECS = 10.0  # Who was heard of, and then not for so long, is gone.
_TRIED_SECS = 10.0  # Who has called listens: it is reached by then, or never.
_LONGEST_SECS = 400.0  # Without a verdict, whatever others say.
_ANNOUNCE_SECS = 10.0
# Between two calls of one rank, at first and in the end; many wait for longer,
# as all of them call the chief.
_FIRST_WAIT_SECS, _LAST_WAIT_SECS, _WAIT_SECS_A_RANK = 0.1, 0.2, 0.002
_LOOK_SECS = 0.05  # Between two looks at what has come.


class Peers:
  """The other ranks, as this one hears of them."""

  def __init__(self, cluster, seconds, say=lambda text: None):
    """Args:

      cluster: launch.cluster.resolver.Cluster.
      seconds: for all to come.
      say: called with sentences on who is waited for.
    """
    self.own = Report(cluster.rank, platform.node(), secrets.token_hex(8))
    self.heard = {}  # {rank: the newest Report of another}.
    self._addresses, self._rank = cluster.addresses, cluster.rank
    self._others = [r for r in range(len(self._addresses)) if r != self._rank]
    # Tells the list of workers from others.
    self.own_cluster = hashlib.sha256(
        '\n'.join(self._addresses).encode()).hexdigest()
    self._started = time.monotonic()
    self._come_by = self._started + seconds
    self._say = say
    self._first_heard, self._last_heard = {}, {}
    self._callers = set()  # Ranks that can call this one.
    self._reached, self._why = set(), {}
    self._verdict, self._told = None, set()
    self._tasks, self._server, self._open = [], None, 0
    self._ended = False

  async def __aenter__(self):
    """Listens and calls.

    A port that cannot be opened becomes a problem of the own report: the others
    are to hear of it.
    """
    _, port = addresses.split(self._addresses[self._rank])
    try:
      self._server = await asyncio.start_server(
          self._answer, sock=addresses.listener(port), limit=reports.LONGEST)
    except OSError as error:
      # The words of Python's own besides would name no address that is known.
      self.add_problem(
          f'{reports.PORT} {port} cannot be opened '
          f'({os.strerror(error.errno)}): end what uses it, or give the worker '
          'another.')
    self._tasks = [asyncio.create_task(task) for task in (
        *map(self._call_again, self._others), self._announce())]
    return self

  async def __aexit__(self, *_):
    # asyncio.wait_for loses a cancellation that comes together with its result.
    self._ended = True
    for task in self._tasks:
      task.cancel()
    await asyncio.gather(*self._tasks, return_exceptions=True)
    if self._server:
      self._server.close()

  def update(self, **fields):
    """Changes fields of the own report."""
    self.own = self.own._replace(**fields)

  def add_problem(self, sentence):
    """Adds a sentence to the own report, once."""
    if sentence not in self.own.problems:
      self.update(problems=(*self.own.problems, sentence))

  async def all_tried(self):
    """Waits until all others are reached, or known to be out of reach."""
    await self._until(lambda: all(map(self._is_tried, self._others)))
    self.update(unreached={rank: self.why(rank) for rank in self._others
                           if rank not in self._reached})

  async def mark_of_chief(self):
    """The chief's mark, once it has one; '' if it will have none."""
    await self._until(lambda: self.is_gone(0) or (
        0 in self.heard and self.heard[0].mark is not None))
    return '' if self.is_gone(0) else self.heard[0].mark

  async def verdict_of_chief(self):
    """An exit code; None if the chief never came or has gone."""
    await self._until(lambda: self._verdict is not None or self.is_gone(0))
    return self._verdict

  async def all_final(self):
    """Waits until all others know all that they will ever know, or are gone."""
    await self._until(lambda: all(
        self.is_gone(rank) or self._is_final(rank) for rank in self._others))

  async def tell(self, verdict):
    """Tells those who were heard of; returns the ranks that it did not reach.
    """
    self._verdict = verdict
    there = {rank for rank in self.heard if not self.is_gone(rank)}
    await self._until(lambda: all(
        rank in self._told or self.is_gone(rank) for rank in there))
    return there - self._told

  def why(self, rank):
    """Why another rank could not be called last, in a few words."""
    return self._why.get(rank, 'no answer')

  def is_gone(self, rank):
    """Whether another rank never came in time, or has been silent since."""
    now = time.monotonic()
    if now > self._come_by + _LONGEST_SECS:
      return True
    if rank in self._last_heard:
      return now > self._last_heard[rank] + SILENT_SECS
    return now > self._come_by

  def _is_tried(self, rank):
    now = time.monotonic()
    return (rank in self._reached or self.is_gone(rank)
            or now > self._come_by
            or now > self._first_heard.get(rank, now) + _TRIED_SECS)

  def _is_final(self, rank):
    return rank in self.heard and self.heard[rank].final

  async def _until(self, condition):
    while not condition():
      for task in self._tasks:
        if task.done():
          task.result()  # Raises what it died of.
      await asyncio.sleep(_LOOK_SECS)

  async def _call_again(self, rank):
    """Calls another rank for as long as there is something to say to it."""
    wait = _FIRST_WAIT_SECS
    longest = max(_LAST_WAIT_SECS, len(self._addresses) * _WAIT_SECS_A_RANK)
    while not (self._ended or self._is_done_with(rank)):
      try:
        await asyncio.wait_for(self._call(rank), CALL_SECS)
        self._reached.add(rank)
      except reports.Stranger as error:
        self._why[rank] = str(error)
      except (OSError, ValueError, asyncio.TimeoutError) as error:
        if self._why.get(rank) != reports.OTHER_CLUSTER:  # It has left since.
          self._why[rank] = connections.why(error, CALL_SECS)
      await asyncio.sleep(wait)
      wait = min(2 * wait, longest)

  def _is_done_with(self, rank):
    if rank not in self._reached:
      return False
    if self._rank == 0:
      return rank in self._callers or rank in self._told
    return rank != 0

  async def _call(self, rank):
    reader, writer = await connections.connect(
        self._addresses[rank], reports.LONGEST)
    try:
      verdict = self._verdict
      writer.write(self._message())
      await writer.drain()
      message = reports.decode(await reader.readline())
    finally:
      writer.close()
    if message.report is None:
      raise reports.Stranger(reports.OTHER_CLUSTER)
    if message.report.rank != rank:
      host = reports.printable(message.report.host)
      raise reports.Stranger(
          f'worker {message.report.rank} on {host} answers there')
    self._note(message, verdict)

  async def _answer(self, reader, writer):
    """Answers a call."""
    self._open += 1
    try:
      if self._open <= 2 * len(self._addresses) + 16:
        await asyncio.wait_for(self._answer_one(reader, writer), CALL_SECS)
    except (reports.Stranger, OSError, ValueError, asyncio.TimeoutError):
      pass  # Whoever it was: it is answered when it calls as it should.
    finally:
      self._open -= 1
      writer.close()

  async def _answer_one(self, reader, writer):
    message = reports.decode(await reader.readline())
    ours = message.cluster == self.own_cluster and message.report
    verdict = self._verdict
    writer.write(self._message() if ours
                 else reports.encode(Message(self.own_cluster)))
    await writer.drain()
    if ours and 0 <= message.report.rank < len(self._addresses):
      self._callers.add(message.report.rank)
      self._note(message, verdict)

  def _message(self):
    return reports.encode(Message(self.own_cluster, self.own, self._verdict))

  def _note(self, message, told):
    """Takes in what another has said, who was told a verdict, or None."""
    report, now = message.report, time.monotonic()
    rank = report.rank
    known = self.own if rank == self._rank else self.heard.get(rank, report)
    if report.process != known.process:
      hosts = ' and '.join(sorted(
          reports.printable(one.host) for one in (known, report)))
      self.add_problem(
          f'two processes, on {hosts}, take themselves for worker {rank}: '
          'start one for each, with a number of its own.')
      return
    if rank == self._rank:
      return  # Its own voice.
    self.heard[rank] = report
    self._first_heard.setdefault(rank, now)
    self._last_heard[rank] = now
    if told is not None:
      self._told.add(rank)
    if rank == 0 and message.verdict is not None:
      self._verdict = message.verdict

  async def _announce(self):
    while True:
      await asyncio.sleep(_ANNOUNCE_SECS)
      missing = [f'worker {rank} at {self._addresses[rank]} '
                 f'({self.why(rank)})'
                 for rank in self._others if not self._is_tried(rank)]
      if missing:
        waited = time.monotonic() - self._started
        self._say(f'waiting for {", ".join(missing)}: {waited:.0f} s')
