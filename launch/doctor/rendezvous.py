"""Ranks that find each other, report what they know, and agree on a verdict.

Each rank listens on its own port, the one that TensorFlow will use, and calls
all others until it has reached them. A call is one connection: one line of JSON
in each direction, all within seconds. After that the others keep calling the
chief, and the chief keeps calling those that cannot call it, until it has told
them the verdict: the exit code of all.

Nothing here is secret, and all that a stranger who connects can do is spoil the
verdict: TensorFlow's own ports have no passwords either.

  async with Peers(cluster, wait_secs, say) as peers:
    peers.update(survey=...)
    await peers.all_tried()
    peers.update(final=True)
    code = await peers.verdict_of_chief()    # The chief: `all_final`, `tell`.
"""
import asyncio
from collections.abc import Callable
import hashlib
import os
import platform
import secrets
import time

from launch.cluster import addresses, resolver
from launch.doctor import connections, reports
from launch.doctor.reports import Finding, Message, Report

CALL_SECS = 5.0  # For a whole call.
SILENT_SECS = 10.0  # A rank that was heard of is gone after this silence.
_TRIED_SECS = 10.0  # A rank that has called listens: by then it is reached.
_LONGEST_SECS = 400.0  # Without a verdict, whatever others send.
_ANNOUNCE_SECS = 10.0
# Between two calls of one rank: the first and the longest pause. With many
# ranks it is longer, because all of them call the chief.
_FIRST_WAIT_SECS, _LAST_WAIT_SECS, _WAIT_SECS_PER_RANK = 0.1, 0.2, 0.002
_LOOK_SECS = 0.05  # Between two looks at what has arrived.
_NO_ANSWER = Finding(reports.OTHER, 'no answer')


class Peers:
  """The other ranks, as this one hears of them."""

  def __init__(self, cluster: resolver.Cluster, wait_secs: float,
               say: Callable[[str], None] = lambda text: None):
    """Creates it; `async with` starts and ends it.

    Args:
      cluster: the workers, and which of them this is.
      wait_secs: how long all ranks may take to start.
      say: called with a line that names the ranks that are waited for.
    """
    self.own = Report(cluster.rank, platform.node(), secrets.token_hex(8))
    self.heard: dict[int, Report] = {}  # The newest report of each other rank.
    self._addresses, self._rank = cluster.addresses, cluster.rank
    self._others = [r for r in range(len(self._addresses)) if r != self._rank]
    # Ranks with other addresses have another digest.
    self.own_cluster = hashlib.sha256(
        '\n'.join(self._addresses).encode()).hexdigest()
    self._started = time.monotonic()
    self._start_by = self._started + wait_secs
    self._say = say
    self._first_heard: dict[int, float] = {}
    self._last_heard: dict[int, float] = {}
    self._callers: set[int] = set()  # Ranks that can call this one.
    self._reached: set[int] = set()
    self._why: dict[int, Finding] = {}
    self._verdict: int | None = None
    self._told: set[int] = set()
    self._tasks: list[asyncio.Task] = []
    self._server: asyncio.Server | None = None
    self._open = 0
    self._ended = False

  async def __aenter__(self) -> 'Peers':
    """Listens and calls.

    If the port cannot be opened, that becomes a problem in this rank's own
    report, so that the others hear of it.
    """
    _, port = addresses.split(self._addresses[self._rank])
    try:
      self._server = await asyncio.start_server(
          self._answer, sock=addresses.listener(port), limit=reports.LONGEST)
    except OSError as error:
      # Python's own text would name an address that the user does not know.
      reason = os.strerror(error.errno) if error.errno else str(error)
      self.add_problem(
          f'port {port} cannot be opened ({reason}): stop the program that '
          'uses it, or give this worker another port.', reports.PORT_CLOSED)
    self._tasks = [asyncio.create_task(task) for task in (
        *map(self._call_again, self._others), self._announce())]
    return self

  async def __aexit__(self, *_) -> None:
    # asyncio.wait_for loses a cancellation that comes together with its result.
    self._ended = True
    for task in self._tasks:
      task.cancel()
    await asyncio.gather(*self._tasks, return_exceptions=True)
    if self._server:
      self._server.close()

  def update(self, **fields) -> None:
    """Changes fields of this rank's own report."""
    self.own = self.own._replace(**fields)

  def add_problem(self, sentence: str, kind: str = reports.OTHER) -> None:
    """Adds a problem to this rank's own report, unless it is there already."""
    problem = Finding(kind, sentence)
    if problem not in self.own.problems:
      self.update(problems=(*self.own.problems, problem))

  async def all_tried(self) -> None:
    """Waits until each other rank is reached, or known to be out of reach."""
    await self._until(lambda: all(map(self._is_tried, self._others)))
    self.update(unreached={rank: self.why(rank) for rank in self._others
                           if rank not in self._reached})

  async def mark_of_chief(self) -> str:
    """Returns the chief's mark once it has one; '' if there will be none."""
    await self._until(lambda: self.is_gone(0) or (
        0 in self.heard and self.heard[0].mark is not None))
    return '' if self.is_gone(0) else self.heard[0].mark or ''

  async def verdict_of_chief(self) -> int | None:
    """Returns the exit code of all; None if the chief never came or left."""
    await self._until(lambda: self._verdict is not None or self.is_gone(0))
    return self._verdict

  async def all_final(self) -> None:
    """Waits until each other rank has found out everything, or is gone."""
    await self._until(lambda: all(
        self.is_gone(rank) or self._is_final(rank) for rank in self._others))

  async def tell(self, verdict: int) -> set[int]:
    """Tells all ranks that were heard of; returns those it did not reach."""
    self._verdict = verdict
    there = {rank for rank in self.heard if not self.is_gone(rank)}
    await self._until(lambda: all(
        rank in self._told or self.is_gone(rank) for rank in there))
    return there - self._told

  def why(self, rank: int) -> Finding:
    """Returns why the last call to another rank failed."""
    return self._why.get(rank, _NO_ANSWER)

  def is_gone(self, rank: int) -> bool:
    """Returns whether another rank did not start in time, or is silent."""
    now = time.monotonic()
    if now > self._start_by + _LONGEST_SECS:
      return True
    if rank in self._last_heard:
      return now > self._last_heard[rank] + SILENT_SECS
    return now > self._start_by

  def _is_tried(self, rank):
    now = time.monotonic()
    return (rank in self._reached or self.is_gone(rank)
            or now > self._start_by
            or now > self._first_heard.get(rank, now) + _TRIED_SECS)

  def _is_final(self, rank):
    return rank in self.heard and self.heard[rank].final

  async def _until(self, condition):
    while not condition():
      for task in self._tasks:
        if task.done():
          task.result()  # Raises the error that ended it.
      await asyncio.sleep(_LOOK_SECS)

  async def _call_again(self, rank):
    """Calls another rank for as long as there is something to tell it."""
    wait = _FIRST_WAIT_SECS
    longest = max(_LAST_WAIT_SECS, len(self._addresses) * _WAIT_SECS_PER_RANK)
    while not (self._ended or self._is_done_with(rank)):
      try:
        await asyncio.wait_for(self._call(rank), CALL_SECS)
        self._reached.add(rank)
      except reports.Stranger as error:
        self._why[rank] = error.finding
      except (OSError, ValueError) as error:  # A time-out is an OSError.
        if self.why(rank).kind != reports.OTHER_CLUSTER:  # It has left since.
          self._why[rank] = Finding(
              reports.OTHER, connections.why(error, CALL_SECS))
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
      raise reports.Stranger(
          'a worker that was given other addresses answers there',
          reports.OTHER_CLUSTER)
    if message.report.rank != rank:
      host = reports.printable(message.report.host)
      raise reports.Stranger(
          f'worker {message.report.rank} on {host} answers there')
    self._note(message.report, message.verdict, verdict)

  async def _answer(self, reader, writer):
    """Answers a call."""
    self._open += 1
    try:
      if self._open <= 2 * len(self._addresses) + 16:
        await asyncio.wait_for(self._answer_one(reader, writer), CALL_SECS)
    except (reports.Stranger, OSError, ValueError):
      pass  # A rank that calls properly is answered when it calls again.
    finally:
      self._open -= 1
      writer.close()

  async def _answer_one(self, reader, writer):
    message = reports.decode(await reader.readline())
    report = message.report if message.cluster == self.own_cluster else None
    verdict = self._verdict
    writer.write(self._message() if report
                 else reports.encode(Message(self.own_cluster)))
    await writer.drain()
    if report and 0 <= report.rank < len(self._addresses):
      self._callers.add(report.rank)
      self._note(report, message.verdict, verdict)

  def _message(self):
    return reports.encode(Message(self.own_cluster, self.own, self._verdict))

  def _note(self, report: Report, verdict: int | None,
            told: int | None) -> None:
    """Takes in what another rank has sent.

    Args:
      report: its own.
      verdict: the one it knows of, or None.
      told: the verdict that it was told in the same call, or None.
    """
    rank, now = report.rank, time.monotonic()
    known = self.own if rank == self._rank else self.heard.get(rank, report)
    if report.process != known.process:
      hosts = ' and '.join(sorted(
          reports.printable(one.host) for one in (known, report)))
      self.add_problem(
          f'two processes, on {hosts}, claim to be worker {rank}: start one '
          'process for each worker, with its own rank.')
      return
    if rank == self._rank:
      return  # This rank has called itself.
    self.heard[rank] = report
    self._first_heard.setdefault(rank, now)
    self._last_heard[rank] = now
    if told is not None:
      self._told.add(rank)
    if rank == 0 and verdict is not None:
      self._verdict = verdict

  async def _announce(self):
    while True:
      await asyncio.sleep(_ANNOUNCE_SECS)
      missing = [f'worker {rank} at {self._addresses[rank]} '
                 f'({self.why(rank).text})'
                 for rank in self._others if not self._is_tried(rank)]
      if missing:
        waited = time.monotonic() - self._started
        self._say(f'waiting for {", ".join(missing)}: {waited:.0f} s so far')
