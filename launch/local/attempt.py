"""One attempt: starts a group of workers, watches them, ends them.

Workers train together or not at all: when one ends, the others must end too.
They do so by themselves, or else get SIGTERM and finally SIGKILL.
"""
from collections.abc import Callable, Iterable, Mapping, Sequence
import pathlib
import queue
import signal
import time
from typing import NamedTuple

from configs.process import command_line
from launch.local import output, worker_process

# To read what a dead worker printed, or to kill what it left behind.
_DRAIN_SECS = 5.0


class Times(NamedTuple):
  """How long the launcher waits for workers."""
  # Workers notice a lost peer after about 10 s, and end by themselves.
  settle_secs: float = 15.0
  # After one of them has noticed: the others notice at the same time, or hang.
  noticed_secs: float = 5.0
  grace_secs: float = 60.0  # To save, from a signal to SIGKILL.
  port_secs: float = 60.0  # After the start: a port in use is reported by then.


class Outcome(NamedTuple):
  """How an attempt ended."""
  exits: tuple[worker_process.Exit, ...]  # Of all workers; first to end first.
  stop: int = 0  # The signal by which the user stopped it; 0: none.
  killed: tuple[int, ...] = ()  # Ranks that the launcher had to kill.
  interrupted: bool = False  # By a second SIGINT.
  saved: bool = True  # Whether there is a new checkpoint.

  @property
  def cause(self) -> worker_process.Exit | None:
    """The exit that brought the others down; None if all workers are done.

    The first failure of a worker that ended by itself: workers that exit with
    143 have lost a peer, and may notice that before the launcher does. If there
    is none, the first of the workers that hung: the lost peer may be one of
    them.
    """
    ends = [one for one in self.exits if one.code]
    failures = [one for one in ends if not one.forced
                and one.code != command_line.START_AGAIN]
    hung = [one for one in ends if one.forced]
    return next(iter(failures or hung or ends), None)


def run(command: Sequence[str], environments: Iterable[Mapping[str, str]],
        folder: pathlib.Path, console: output.Console,
        events: queue.SimpleQueue, times: Times
        ) -> tuple[Outcome, dict[int, list[str]]]:
  """Starts the workers and waits until all have ended.

  Args:
    command: words, the same for all workers; the first is a path.
    environments: {name: value} for each worker, in rank order.
    folder: existing folder for the logs.
    console: shows what the workers print.
    events: numbers of signals that are put into this queue are passed on to the
      workers, which must then end; a second SIGINT kills them.
    times: how long to wait for workers.

  Returns:
    (how the attempt ended, {rank: the last lines of that worker}).

  Raises:
    OSError: a log cannot be written, or a process cannot be started.
  """
  started = time.monotonic()
  workers = _start(command, environments, folder, console, events)
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


def _start(command, environments, folder, console, events):
  """Returns the workers; kills those started if one cannot be."""
  workers = []
  try:
    for rank, environment in enumerate(environments):
      workers.append(worker_process.Worker(
          rank, command, environment, log_of(folder, rank), console, events))
  except OSError:
    for one in workers:
      one.send(signal.SIGKILL)
    raise
  return workers


def log_of(folder: pathlib.Path, rank: int) -> pathlib.Path:
  """Returns the path of a worker's log."""
  return folder / f'worker_{rank}.log'


class _Group:
  """The workers of an attempt: which have ended, and what the others get."""

  def __init__(self, workers, started, console, times):
    self.running = {one.rank: one for one in workers}
    self.exits: list[worker_process.Exit] = []
    self.killed: tuple[int, ...] = ()
    self.stop = self.interrupts = 0
    self._started, self._console, self._times = started, console, times
    self._forced = False
    # What to do next, and when.
    self._step: Callable[[], None] | None = None
    self._due: float | None = None

  def wait_secs(self):
    """Returns the seconds until the next step is due; None if there is none."""
    return self._due and max(0, self._due - time.monotonic())

  def take_step(self):
    """Takes the step that is due."""
    step, self._due = self._step, None
    assert step
    step()

  def note_exit(self, rank, code, now):
    """Notes that a worker has ended, and plans the end of the others."""
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
      self._console.say(f'{end}: waiting {secs:g} s for the others to end')
      self._plan(secs, self._terminate)
    elif first:  # It is done, so the others should be done soon.
      self._plan(self._times.grace_secs, self._terminate)

  def note_signal(self, number):
    """Passes on the user's signal; kills the workers at the second SIGINT."""
    self.interrupts += number == signal.SIGINT
    if self.interrupts > 1:
      self._kill()
    elif not self.stop:
      self.stop = number
      again = ('; press Ctrl-C again to kill them' if number == signal.SIGINT
               else '')
      self._console.say(
          f'{signal.Signals(number).name}: the workers have '
          f'{self._times.grace_secs:g} s to save and exit{again}')
      self._send(number)
      self._plan(self._times.grace_secs, self._kill)

  def _plan(self, secs, step):
    self._due, self._step = time.monotonic() + secs, step

  def _terminate(self):
    self._forced = True
    self._console.say(f'sending SIGTERM to {names(self.running)}')
    self._send(signal.SIGTERM)
    self._send(signal.SIGCONT)  # A stopped process could not exit.
    self._plan(self._times.grace_secs, self._kill)

  def _kill(self):
    self.killed = self.killed or tuple(sorted(self.running))
    self._console.say(f'sending SIGKILL to {names(self.running)}')
    self._send(signal.SIGKILL)
    self._plan(_DRAIN_SECS, self._kill_groups)

  def _kill_groups(self):
    for one in self.running.values():
      one.kill_group()

  def _send(self, number):
    for one in self.running.values():
      one.send(number)


def names(ranks: Iterable[int]) -> str:
  """Returns 'worker 0', or 'workers 0, 2'."""
  ranks = sorted(ranks)
  return f'worker{"s" * (len(ranks) > 1)} {", ".join(map(str, ranks))}'
