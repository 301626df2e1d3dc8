"""What can happen to a run of several processes: one function for each injury.

Each is given (run, rng), injures an injured_run.Run, and returns an Effect.
"""
import contextlib
import os
import signal
import time
from typing import NamedTuple

_HEALS = 'heals'  # The workers may go on as if nothing had happened.
_RESTARTS = 'restarts'  # The launcher starts other processes.
_ENDS = 'ends'  # The launcher ends.


class Effect(NamedTuple):
  """What an injury is to bring about."""
  kind: str  # _HEALS, _RESTARTS or _ENDS.
  codes: tuple = ()  # Exit codes that the launcher may have, if it ends.
  lost: int | None = None  # Rank that the others are to name.


class Outcome(NamedTuple):
  """What became of an injury."""
  kind: str
  workers: int
  step: int  # At about which it came.
  phase: str
  recovery_secs: float  # Until it trained again, or was done.
  named: bool | None  # Whether others named a lost worker; None: none was.
  wrong: str  # '' if nothing is.

  def __str__(self):
    named = ', named' if self.named else ''
    return (f'{self.kind}, {self.workers} workers, step {self.step} '
            f'({self.phase}): {self.recovery_secs:.1f} s{named} {self.wrong}')


def injure(kind, run, rng, recovery_secs):
  """Injures a run, and has it train again.

  Args:
    kind: key of KINDS.
    run: injured_run.Run that runs.
    rng: random.Random.
    recovery_secs: within which it must train again, or be done.

  Returns:
    Outcome.
  """
  beat = run.beat() or {'step': 0, 'phase': 'start-up', 'pid': None}
  if beat['pid'] not in run.pids().values():
    beat['phase'] = 'start-up'
  attempt = run.attempt()
  started = time.monotonic()
  outcome = Outcome(kind, run.workers, beat['step'], beat['phase'], 0, None, '')
  effect = KINDS[kind](run, rng)
  try:
    _heal(run, effect, beat['pid'], recovery_secs)
  except (TimeoutError, _Wrong) as error:
    outcome = outcome._replace(wrong=str(error))
  # In their last steps the others may be done without it.
  if (effect.lost is not None and beat['phase'] != 'start-up'
      and not run.ended and not outcome.wrong):
    named = _named(run, effect.lost, attempt)
    outcome = outcome._replace(
        named=named, wrong='' if named else f'not named: {effect.lost}')
  broken = [path for path, text in run.logs().items() if 'Traceback' in text]
  if broken:
    outcome = outcome._replace(wrong=f'a traceback in {broken[0]}')
  return outcome._replace(recovery_secs=time.monotonic() - started)


class _Wrong(Exception):
  """Something that must not happen."""


def _heal(run, effect, pid, secs):
  """Starts the launcher again if it ended; waits until it trains."""
  if effect.kind == _ENDS:
    run.wait(secs)
  elif effect.kind == _RESTARTS:
    run.wait_until_training(secs, but=pid)
  else:
    run.wait_until_training(secs)
  if not run.ended:
    return
  if not run.done:
    code = run.launcher.returncode
    if code not in effect.codes and not run.ended_by_guard():
      raise _Wrong(f'the launcher ended with {code}')
    run.start()
    run.wait_until_training(secs, but=pid)
    if run.ended and not run.done:
      raise _Wrong(f'the launcher ended with {run.launcher.returncode}')


def _named(run, rank, attempt):
  """Whether the last lines of all others, in an attempt, name that worker.

  Later ones may name those as well that have left because of it.
  """
  last = [text.rstrip().rpartition('\n')[2] for path, text in run.logs().items()
          if path.parent == attempt and path.name != f'worker_{rank}.log']
  return all(line.startswith('Lost ') and f'worker {rank} at ' in line
             for line in last)


def _some_worker(run, rng):
  """(rank, pid) of a worker; (None, None) when none runs."""
  pids = run.pids()
  return rng.choice(sorted(pids.items())) if pids else (None, None)


def _send(pid, number):
  """Whether the process was still there."""
  try:
    os.kill(pid, number)
    return True
  except (ProcessLookupError, TypeError):  # None is no process.
    return False


def _kill_worker(run, rng):
  rank, pid = _some_worker(run, rng)
  if not _send(pid, signal.SIGKILL):
    return Effect(_HEALS)
  return Effect(_RESTARTS, lost=rank if run.workers > 1 else None)


def _terminate_worker(run, rng):
  _, pid = _some_worker(run, rng)
  return Effect(_RESTARTS if _send(pid, signal.SIGTERM) else _HEALS)


def _stop_worker(run, rng):
  """For some seconds, or for good if others are there to notice."""
  rank, pid = _some_worker(run, rng)
  for_good = run.workers > 1 and rng.random() < 0.5
  if not _send(pid, signal.SIGSTOP):
    return Effect(_HEALS)
  if for_good:
    return Effect(_RESTARTS, lost=rank)
  time.sleep(rng.uniform(0.1, 4))
  _send(pid, signal.SIGCONT)
  return Effect(_HEALS)


def _slow_worker(run, rng):
  """Gives one a fifth of the time for some seconds."""
  _, pid = _some_worker(run, rng)
  end = time.monotonic() + rng.uniform(1, 4)
  while time.monotonic() < end and _send(pid, signal.SIGSTOP):
    time.sleep(0.08)
    _send(pid, signal.SIGCONT)
    time.sleep(0.02)
  return Effect(_HEALS)


def _kill_launcher(run, _):
  _send(run.launcher.pid, signal.SIGKILL)
  return Effect(_ENDS, (-signal.SIGKILL,))


def _terminate_launcher(run, _):
  _send(run.launcher.pid, signal.SIGTERM)
  # Before Python can handle it, the signal ends it.
  return Effect(_ENDS, (143, -signal.SIGTERM))


def _stop_launcher(run, rng):
  _send(run.launcher.pid, signal.SIGSTOP)
  time.sleep(rng.uniform(0.1, 4))
  _send(run.launcher.pid, signal.SIGCONT)
  return Effect(_HEALS)


def _fill_disk(run, _):
  """Until the run notices, or is done."""
  filler = run.disk.path / 'filler'
  try:
    with contextlib.suppress(OSError), filler.open('wb', 0) as file:
      while True:
        file.write(bytes(2**20))
    with contextlib.suppress(OSError), filler.open('ab', 0) as file:
      while True:
        file.write(bytes(2**10))
    with contextlib.suppress(TimeoutError):
      run.wait(60)
  finally:
    filler.unlink()
  return Effect(_ENDS, (2,))


def _tear_checkpoint(run, rng):
  """As a power cut may: the end of the newest checkpoint is not there.

  What a run that is done has left was on disk before it said so.
  """
  _send(run.launcher.pid, signal.SIGKILL)
  run.end()
  whole = run.checkpoints()
  if len(whole) > 1 and not run.finished:
    newest = whole[-1]
    os.truncate(newest, rng.randrange(newest.stat().st_size))
  return Effect(_ENDS, (-signal.SIGKILL,))


KINDS = {function.__name__.strip('_'): function for function in (
    _kill_worker, _terminate_worker, _stop_worker, _slow_worker,
    _kill_launcher, _terminate_launcher, _stop_launcher, _fill_disk,
    _tear_checkpoint)}
