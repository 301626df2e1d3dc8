"""Decides whether a group of workers is restarted, from how attempts ended.

The exit codes (configs/process/command_line.py) decide: 0 done; 2 permanent,
never restarted; 143 restarted and not counted, if a new checkpoint was saved;
anything else is a failure, and restarted a limited number of times. Attempts
that end within seconds are restarted after longer and longer waits, and soon
not at all, whatever their exit codes.
"""
from typing import NamedTuple

from configs.process import command_line
from launch.local import attempt, worker_process


class Limits(NamedTuple):
  """How often a group is restarted."""
  failures: int = 3
  short_secs: float = 10.0  # An attempt is short if a worker ends before.
  short_attempts: int = 5  # This many in a row end the run.
  first_wait_secs: float = 1.0  # After a short attempt; then 2, 4, 8.
  ports_taken: int = 5


class Verdict(NamedTuple):
  """What happens after an attempt."""
  sentence: str
  code: int | None = None  # The launcher's exit code; None: restart.
  wait_secs: float = 0.0  # Before the restart.
  cause: worker_process.Exit | None = None  # The exit to show to the user.


class Restarts:
  """Counts the attempts of a run and decides what happens after each."""

  def __init__(self, limits: Limits):
    self._limits = limits
    self._failures = self._short = self._ports_taken = 0

  def after(self, outcome: attempt.Outcome) -> Verdict:
    """Returns the verdict on an attempt; call it once for each, in order."""
    cause = outcome.cause
    if not cause:
      return Verdict('all workers are done', command_line.DONE)
    if outcome.interrupted:
      return Verdict('killed by the second SIGINT', command_line.INTERRUPTED)
    for one in outcome.exits:
      if one.code in command_line.ALL_PERMANENT and not one.port_taken:
        return Verdict('not restarting (a restart would not help after exit '
                       f'code {one.code})', one.code, cause=one)
    if outcome.stop:
      return _stopped(outcome)
    for one in outcome.exits:
      if one.port_taken and one.code:
        return self._after_taken_port(one)
    return self._after_end(outcome, cause)

  def _after_taken_port(self, cause):
    self._ports_taken += 1
    if self._ports_taken > self._limits.ports_taken:
      return Verdict(
          f'not restarting (ports were in use {self._ports_taken} times)',
          command_line.FAILURE, cause=cause)
    return Verdict(f'the port of worker {cause.rank} is already in use: '
                   'restarting with other ports (not counted)')

  def _after_end(self, outcome, cause):
    limits = self._limits
    short = outcome.exits[0].secs < limits.short_secs
    self._short = self._short + 1 if short else 0
    # A worker that had to be ended because others were done was hung.
    asked = not cause.forced and cause.code == command_line.START_AGAIN
    why = (f': exit code {command_line.START_AGAIN} without a new checkpoint'
           if asked and not outcome.saved else '')
    failed = not asked or not outcome.saved
    self._failures += failed
    if self._failures > limits.failures:
      return Verdict(
          f'not restarting (--max_restarts={limits.failures} is used up{why})',
          _exit_code(cause), cause=cause)
    if self._short == limits.short_attempts:
      return Verdict(
          f'not restarting ({self._short} attempts in a row ended within '
          f'{limits.short_secs:g} s)', command_line.FAILURE, cause=cause)
    wait = limits.first_wait_secs * 2**(self._short - 1) if short else 0
    count = (f'{self._failures} of {limits.failures} restarts{why}' if failed
             else 'not counted: exit code 143 asks for a restart')
    when = f' in {wait:g} s' if wait else ''
    return Verdict(f'restarting{when} ({count})', wait_secs=wait, cause=cause)


def _stopped(outcome):
  """Returns the verdict on a group that the user has stopped."""
  if outcome.killed:
    return Verdict(
        f'{attempt.names(outcome.killed)} did not exit in time and had to be '
        'killed: progress since the last checkpoint is lost',
        command_line.FAILURE)
  # A signal ends a worker that does not handle signals yet; such a worker has
  # nothing to save.
  fine = (command_line.DONE, command_line.START_AGAIN, -outcome.stop,
          128 + outcome.stop)
  for one in outcome.exits:
    if one.code not in fine:
      return Verdict('stopped, but not all workers exited cleanly',
                     _exit_code(one), cause=one)
  return Verdict('stopped: rerun the same command to continue from the last '
                 'checkpoint', command_line.START_AGAIN)


def _exit_code(cause):
  """Returns the launcher's exit code after a worker failed."""
  failed = (cause.code > 0 and cause.code != command_line.START_AGAIN
            and not cause.forced)
  return cause.code if failed else command_line.FAILURE
