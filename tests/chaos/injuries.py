"""What can happen to a run of several processes: one function for each injury.

Each takes (run, rng), injures an injured_run.Run, and returns an Effect.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import time
from typing import NamedTuple

_HEALS = 'heals'  # The workers may continue as if nothing had happened.
_RESTARTS = 'restarts'  # The launcher starts other processes.
_ENDS = 'ends'  # The launcher exits.
_PAGE = 4096


class Effect(NamedTuple):
  """What an injury must lead to."""
  kind: str  # _HEALS, _RESTARTS or _ENDS.
  codes: tuple = ()  # Exit codes allowed for the launcher, if it exits.
  lost: int | None = None  # Rank that the others must name.


class Outcome(NamedTuple):
  """What became of an injury."""
  kind: str
  workers: int
  step: int  # About where it happened.
  phase: str
  recovery_secs: float  # Until it trained again, or was done.
  named: bool | None  # Whether others named a lost worker; None: none was.
  wrong: str  # '' if nothing is.

  def __str__(self):
    named = ', named' if self.named else ''
    return (f'{self.kind}, {self.workers} workers, step {self.step} '
            f'({self.phase}): {self.recovery_secs:.1f} s{named} {self.wrong}')


def injure(kind, run, rng, recovery_secs):
  """Injures a run and waits until it trains again.

  Args:
    kind: key of KINDS.
    run: an injured_run.Run that runs.
    rng: random.Random.
    recovery_secs: it must train again, or be done, within these.

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
  # In their last steps the others may finish without it.
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
  """Restarts the launcher if it exited; waits until the run trains."""
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
      raise _Wrong(f'the launcher exited with {code}')
    run.start()
    run.wait_until_training(secs, but=pid)
    if run.ended and not run.done:
      raise _Wrong(f'the launcher exited with {run.launcher.returncode}')


def _named(run, rank, attempt):
  """Returns whether the last lines of all others in an attempt name a worker.

  Later attempts may also name workers that left because of it.
  """
  last = [text.rstrip().rpartition('\n')[2] for path, text in run.logs().items()
          if path.parent == attempt and path.name != f'worker_{rank}.log']
  return all(line.startswith('Lost ') and f'worker {rank} at ' in line
             for line in last)


def _some_worker(run, rng):
  """Returns (rank, pid) of a worker; (None, None) if none runs."""
  pids = run.pids()
  return rng.choice(sorted(pids.items())) if pids else (None, None)


def _send(pid, number):
  """Sends a signal; returns whether the process still existed."""
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
  """Stops one for some seconds, or for good if others can notice."""
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
  # Until Python can handle the signal, it ends the process.
  return Effect(_ENDS, (143, -signal.SIGTERM))


def _stop_launcher(run, rng):
  _send(run.launcher.pid, signal.SIGSTOP)
  time.sleep(rng.uniform(0.1, 4))
  _send(run.launcher.pid, signal.SIGCONT)
  return Effect(_HEALS)


def _fill_disk(run, _):
  """Fills the disk until the run notices or is done."""
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


def _stop_disk(run, rng):
  """Lets no write through for some seconds."""
  frozen = subprocess.run(['fsfreeze', '--freeze', run.disk.path], check=False)
  time.sleep(rng.uniform(0.1, 4))
  if not frozen.returncode:
    subprocess.run(['fsfreeze', '--unfreeze', run.disk.path], check=True)
  return Effect(_HEALS)


def _delete_index(run, _):
  """Deletes the newest checkpoint's index while the run trains.

  A run whose save has just been undone says so at the next one, and ends.
  """
  complete = run.checkpoints()
  if not complete or run.finished:
    return Effect(_HEALS)
  with contextlib.suppress(FileNotFoundError):
    complete[-1].with_suffix('.index').unlink()
  end = time.monotonic() + 60
  while (not run.ended and set(run.checkpoints()) <= set(complete)
         and time.monotonic() < end):
    time.sleep(0.05)
  return Effect(_HEALS, (2,))


def _damage_checkpoint(run, damage):
  """Kills the run and damages its newest checkpoint, unless it is the only one.

  The final checkpoint of a finished run was on disk before the run said so.
  """
  _send(run.launcher.pid, signal.SIGKILL)
  run.end()
  complete = run.checkpoints()
  if len(complete) > 1 and not run.finished:
    damage(complete[-1])
  return Effect(_ENDS, (-signal.SIGKILL,))


def _tear_checkpoint(run, rng):
  """Cuts off the end of the data, as a power cut may."""
  return _damage_checkpoint(run, lambda data: os.truncate(
      data, rng.randrange(data.stat().st_size)))


def _flip_bit(run, rng):
  """Flips one bit of the data or of the index."""
  def flip(data):
    path = rng.choice([data, data.with_suffix('.index')])
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
  return _damage_checkpoint(run, flip)


def _zero_page(run, rng):
  """Overwrites a page of the data with zeros."""
  def zero(data):
    content = bytearray(data.read_bytes())
    start = rng.randrange(0, len(content), _PAGE)
    end = min(start + _PAGE, len(content))
    content[start:end] = bytes(end - start)
    data.write_bytes(content)
  return _damage_checkpoint(run, zero)


def _delete_data(run, _):
  """Deletes the data and leaves the index."""
  return _damage_checkpoint(run, pathlib.Path.unlink)


def _unreadable_checkpoint(run, _):
  """Kills the run and restarts it while its checkpoints give EIO."""
  _send(run.launcher.pid, signal.SIGKILL)
  run.end()
  if run.checkpoints() and not run.finished:
    run.start(run.environment_of_unreadable_checkpoints())
    run.wait(60)
    return Effect(_ENDS, (1,))
  return Effect(_ENDS, (-signal.SIGKILL,))


def _damage_metrics(run, rng):
  """Kills the run and overwrites a byte of metrics.jsonl."""
  _send(run.launcher.pid, signal.SIGKILL)
  run.end()
  path = run.workdir / 'metrics.jsonl'
  content = bytearray(path.read_bytes() if path.exists() else b'')
  if content and not run.finished:
    place = rng.randrange(len(content))
    run.damaged_lines += 2 if content[place] == ord('\n') else 1
    content[place] = 0xff  # Never part of UTF-8.
    path.write_bytes(content)
  return Effect(_ENDS, (-signal.SIGKILL,))


KINDS = {function.__name__.strip('_'): function for function in (
    _kill_worker, _terminate_worker, _stop_worker, _slow_worker,
    _kill_launcher, _terminate_launcher, _stop_launcher, _fill_disk,
    _stop_disk, _delete_index, _tear_checkpoint, _flip_bit, _zero_page,
    _delete_data, _unreadable_checkpoint, _damage_metrics)}
# These need a small disk of its own, which only root can mount.
OF_SMALL_DISK = ('fill_disk', 'stop_disk')
