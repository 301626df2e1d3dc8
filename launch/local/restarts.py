"""Whether a group of workers is started again, from how its attempts ended.

By exit code (configs/process/command_line.py): 0 done; 2 permanent, never again; 143
start again, not counted; anything else a failure, and started again so many
times. Groups that end within seconds are started again later and later, and
soon no more, whatever their exit codes.
"""
from typing import NamedTuple

from configs.process import command_line
from launch.local import attempt, worker_process

_FAILURE = 1


class Limits(NamedTuple):
  """How often a group is started again."""
  failures: int = 3
  short_secs: float = 10.0  # An attempt is short if a worker ends before.
  short_attempts: int = 5  # In a row; so many end the run.
  first_wait_secs: float = 1.0  # After a short attempt; then 2, 4, 8.
  ports_taken: int = 5


class Verdict(NamedTuple):
  """What is done after an attempt."""
  sentence: str
  code: int | None = None  # The launcher's exit code; None: start again.
  wait_secs: float = 0.0  # Before that.
  cause: worker_process.Exit | None = None  # To be shown.


class Restarts:
  """Counts what has ended, and how."""

  def __init__(self, limits):
    self._limits = limits
    self._failures = self._short = self._ports_taken = 0

  def after(self, outcome):
    """The Verdict on an attempt; call it once for each, in order.

    Args:
      outcome: group.Outcome.
    """
    cause = outcome.cause
    if not cause:
      return Verdict('all workers are done', command_line.DONE)
    if outcome.interrupted:
      return Verdict('killed by the second SIGINT', command_line.INTERRUPTED)
    for one in outcome.exits:
      if one.code in command_line.ALL_PERMANENT and not one.port_taken:
        return Verdict(f'not started again, as exit code {one.code} means that '
                       'it would not help', one.code, cause=one)
    if outcome.stop:
      return _stopped(outcome)
    for one in outcome.exits:
      if one.port_taken and one.code:
        return self._after_taken_port(one)
    return self._after_end(outcome)

  def _after_taken_port(self, cause):
    self._ports_taken += 1
    if self._ports_taken > self._limits.ports_taken:
      return Verdict(
          f'not started again, as ports were in use {self._ports_taken} times',
          _FAILURE, cause=cause)
    return Verdict(f'the port of worker {cause.rank} is in use: starting again '
                   'with others (not counted)')

  def _after_end(self, outcome):
    limits, cause = self._limits, outcome.cause
    short = outcome.exits[0].secs < limits.short_secs
    self._short = self._short + 1 if short else 0
    # One that had to be ended, as others were done, hung.
    failed = cause.forced or cause.code != command_line.START_AGAIN
    self._failures += failed
    if self._failures > limits.failures:
      return Verdict(
          f'not started again, as {limits.failures} restarts are used up',
          _exit_code(cause), cause=cause)
    if self._short == limits.short_attempts:
      return Verdict(
          f'not started again, as {self._short} attempts in a row ended within '
          f'{limits.short_secs:g} s', _FAILURE, cause=cause)
    wait = limits.first_wait_secs * 2**(self._short - 1) if short else 0
    count = (f'{self._failures} of {limits.failures} restarts' if failed
             else 'not counted: exit code 143 asks for it')
    when = f' in {wait:g} s' if wait else ''
    return Verdict(f'starting again{when} ({count})', wait_secs=wait,
                   cause=cause)


def _stopped(outcome):
  """The Verdict on a group that the user has stopped."""
  if outcome.killed:
    return Verdict(
        f'{attempt.names(outcome.killed)} did not end in time and had to be '
        'killed: what was not saved before is lost', _FAILURE)
  # Before a worker handles signals, they end it; there is nothing to save.
  fine = (command_line.DONE, command_line.START_AGAIN, -outcome.stop,
          128 + outcome.stop)
  for one in outcome.exits:
    if one.code not in fine:
      return Verdict('stopped, but not all workers ended well',
                     _exit_code(one), cause=one)
  return Verdict('stopped: the same command goes on from the last checkpoint',
                 command_line.START_AGAIN)


def _exit_code(cause):
  """Of the launcher, if a worker failed."""
  failed = cause.code > 0 and not cause.forced
  return cause.code if failed else _FAILURE
