"""Hands the records of a run to a service, without the run waiting for it.

A thread of its own talks to the service. If the service raises, or does not
take what is sent for too long, it is off until the process ends. That is one
warning, and nothing else to the run: metrics.jsonl has all figures, and the
next process of the run hands over what is missing.
"""
from collections.abc import Callable, Mapping
import queue
import threading
from typing import Any

from resnet.run.loggers import memory as memory_lib
from resnet.run.loggers.service import End, Service

_MOST = 1000  # Records that may wait.
_LONGEST = 300  # Characters of an error.
_SAY_SECS = 1.0  # Most services end sooner.


class Sender:
  """A service and its thread: a summaries.Listener."""

  def __init__(self, name: str, service: Service, memory: memory_lib.Memory,
               warn: Callable[[str], None]):
    """Does nothing yet.

    Args:
      name: of the service.
      service: the service.
      memory: what it has of the run.
      warn: tells the user something; called by the thread of the run.
    """
    self._name, self._service, self._memory = name, service, memory
    self._warn = warn
    self._queue: queue.SimpleQueue = queue.SimpleQueue()
    self._thread: threading.Thread | None = None
    self._failure = ''  # Why the service is off, if it is.
    self._has_warned = False

  def follow(self, records: list[dict[str, Any]]) -> None:
    """Starts to hand over the records; see summaries.Listener.

    If the run goes back to an earlier step, the service keeps what it has: of
    the steps that are trained again it gets the new records as well.
    """
    if not self._thread:
      self._thread = threading.Thread(
          target=self._run, args=[list(records)], name=f'log_to {self._name}',
          daemon=True)
      self._thread.start()

  def add(self, record: Mapping[str, Any]) -> None:
    """Hands over a record, later; see summaries.Listener."""
    if not self._failure and self._queue.qsize() >= _MOST:
      self._failure = f'it has not taken the last {_MOST} records'
    if self._failure:
      self._say_failure()
    else:
      self._queue.put(dict(record))

  def end(self, end: End) -> None:
    """Says that there are no more records. Does not wait."""
    self._queue.put(end)

  def wait(self, secs: float) -> None:
    """Waits after `end` until the service has all, for some seconds at most."""
    if self._thread and not self._failure:
      self._thread.join(min(secs, _SAY_SECS))
      if self._thread.is_alive() and secs > _SAY_SECS:
        self._warn(f'waiting up to {secs:.0f} s until {self._name} has all '
                   'figures.')
        self._thread.join(secs - _SAY_SECS)
      if self._thread.is_alive():
        self._failure = 'it has not taken all figures in time'
    if self._failure:
      self._say_failure()

  def _say_failure(self):
    if not self._has_warned:
      self._has_warned = True
      self._warn(
          f'--log_to={self._name} is off until this process ends '
          f'({self._failure}): metrics.jsonl has all figures, and the next '
          'process of this run hands over what is missing.')

  def _run(self, records):
    """Is the thread."""
    service = self._service
    try:
      service.known = self._memory.of(self._name)
      service.prepare()
      if service.known:
        self._note()
      service.begin()
      self._note()
      had = dict(service.known)
      self._send([record for record in records
                  if record['step'] > had.get(record['split'], -1)])
      while not isinstance(item := self._queue.get(), End):
        self._send([item])
      service.close(item)
      self._note()
    except BaseException as error:  # Also SystemExit, of a library.
      text = ' '.join(str(error).split())  # Often, line 1 says little.
      self._failure = self._failure or text[:_LONGEST] or type(error).__name__

  def _send(self, records):
    for record in records:
      if self._failure:  # The run has given up.
        raise TimeoutError(self._failure)
      self._service.send(record)
      self._service.known[record['split']] = record['step']
    if self._service.keeps_at_once:
      self._note()

  def _note(self):
    self._memory.note(self._name, self._service.known)
