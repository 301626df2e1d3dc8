"""One attempt of a group of workers: start them, watch them, end them.

Workers train together or not at all: when one ends, so do the others. Either
they do by themselves, or they are sent SIGTERM, and SIGKILL in the end.
"""
import pathlib
import queue
import signal
import time
from typing import NamedTuple

from configs.process import command_line
from launch.local import worker_process

_DRAIN_SECS = 5.0  # Until all is read, and killed, that a worker leaves behind.


class Times(NamedTuple):
  """How long a group waits."""
  # Workers notice the loss of one after some 10 s, and end by themselves.
  settle_secs: float = 15.0
  # After one of them has noticed; the rest do so at the same time, or hang.
  noticed_secs: float = 5.0
  grace_secs: float = 60.0  # To save, from a signal to SIGKILL.
  port_secs: float = 60.0  # From the start: ports in use are noticed.


class Outcome(NamedTuple):
  """How an attempt ended."""
  exits: tuple  # worker.Exit of each worker, first to last.
  stop: int = 0  # The signal that the user wanted to be passed on.
  killed: tuple = ()  # Ranks that the launcher had to kill.
  interrupted: bool = False  # By a second SIGINT.

  @property
  def cause(self):
    """The Exit that brought the others down; None if all are done.

    The first failure of those that ended by themselves: workers with 143 have
    lost a peer, which may look dead to them before it does to the launcher.
    Then the first of those that hung: it may be the peer that they have lost.
    """
    ends = [one for one in self.exits if one.code]
    failures = [one for one in ends if not one.forced
                and one.code != command_line.START_AGAIN]
    hung = [one for one in ends if one.forced]
    return next(iter(failures or hung or ends), None)


def run(command, environments, folder, console, events, times):
  """Starts the workers and waits until all have ended.

  Args:
    command: words, the same for all workers; the first is a path.
    environments: {name: text} for each worker, in rank order.
    folder: path that is there, for the logs.
    console: output.Console.
    events: queue.SimpleQueue. Numbers of signals that are put into it are
      passed on to the workers, whose group then ends; a second SIGINT kills.
    times: Times.

  Returns:
    (Outcome, {rank: its last lines}).

  Raises:
    OSError: a log cannot be written, or no process be started.
  """
  started, workers = time.monotonic(), []
  try:
    for rank, environment in enumerate(environments):
      workers.append(worker_process.Worker(rank, command, environment,
                                   log_of(folder, rank), console, events))
  except OSError:
    for one in workers:
      one.send(signal.SIGKILL)
    raise
  group = _Group(workers, started, console, times)
  while group.running:
    try:
      event = events.get(timeout=group.wait_secs())
    except queue.Empty:
      group.take_step()
      continue
    if isinstance(event, int):
      group.note_signal(event)
    else:
      group.note_exit(*event)
  for one in workers:
    one.output.join(_DRAIN_SECS)
  exits = [one._replace(port_taken=one.secs < times.port_secs
                        and workers[one.rank].output.noticed)
           for one in sorted(group.exits, key=lambda one: one.secs)]
  outcome = Outcome(tuple(exits), group.stop, group.killed,
                    group.interrupts > 1)
  return outcome, {one.rank: one.output.last_lines() for one in workers}


def log_of(folder, rank):
  """Path of a worker's log."""
  return pathlib.Path(folder, f'worker_{rank}.log')


class _Group:
  """Which workers have ended, and what is done about the others."""

  def __init__(self, workers, started, console, times):
    self.running = {one.rank: one for one in workers}
    self.exits, self.killed = [], ()
    self.stop = self.interrupts = 0
    self._started, self._console, self._times = started, console, times
    self._forced = False
    self._due, self._step = None, None  # What is done next, and when.

  def wait_secs(self):
    """Until the next step is due; None if there is none."""
    return self._due and max(0, self._due - time.monotonic())

  def take_step(self):
    """Does what is due."""
    step, self._due = self._step, None
    step()

  def note_exit(self, rank, code, now):
    """One has ended: the others are to end as well."""
    del self.running[rank]
    end = worker_process.Exit(rank, code, now - self._started, self._forced)
    first = not self.exits
    first_failure = code and not any(one.code for one in self.exits)
    self.exits.append(end)
    if self.stop or self._forced or not self.running:
      return
    if first_failure:
      noticed = code == command_line.START_AGAIN
      secs = (self._times.noticed_secs if noticed
              else self._times.settle_secs)
      self._console.say(f'{end}: the others have {secs:g} s to end')
      self._plan(secs, self._terminate)
    elif first:  # It is done, and so the others should be soon.
      self._plan(self._times.grace_secs, self._terminate)

  def note_signal(self, number):
    """The user wants them to end; by a second SIGINT at once."""
    self.interrupts += number == signal.SIGINT
    if self.interrupts > 1:
      self._kill()
    elif not self.stop:
      self.stop = number
      again = '; Ctrl-C again kills' if number == signal.SIGINT else ''
      self._console.say(
          f'{signal.Signals(number).name}: the workers have '
          f'{self._times.grace_secs:g} s to save and end{again}')
      self._send(number)
      self._plan(self._times.grace_secs, self._kill)

  def _plan(self, secs, step):
    self._due, self._step = time.monotonic() + secs, step

  def _terminate(self):
    self._forced = True
    self._console.say(f'SIGTERM to {names(self.running)}')
    self._send(signal.SIGTERM)
    self._send(signal.SIGCONT)  # One that is stopped could not end.
    self._plan(self._times.grace_secs, self._kill)

  def _kill(self):
    self.killed = self.killed or tuple(sorted(self.running))
    self._console.say(f'SIGKILL to {names(self.running)}')
    self._send(signal.SIGKILL)
    self._plan(_DRAIN_SECS, self._kill_groups)

  def _kill_groups(self):
    for one in self.running.values():
      one.kill_group()

  def _send(self, number):
    for one in self.running.values():
      one.send(number)


def names(ranks):
  """'worker 0', or 'workers 0, 2'."""
  ranks = sorted(ranks)
  return f'worker{"s" * (len(ranks) > 1)} {", ".join(map(str, ranks))}'
