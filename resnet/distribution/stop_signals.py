"""Signals that ask a run to stop: SIGTERM, SIGINT, SIGUSR1 and SIGHUP.

Before its first step a process has nothing to save, and a signal ends it at
once. From then on signals are noted, and the run saves and stops between two
steps. A terminal that closes sends SIGHUP; under nohup it stays ignored.
"""
import os
import signal

from configs.process import command_line

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)

_requested: list[str] = []


def end_at_once() -> None:
  """Makes signals end this process, until `install` is called.

  SIGTERM and SIGHUP do so by themselves, also while TensorFlow waits or
  compiles, and SIGINT raises KeyboardInterrupt. SIGUSR1 would look like a
  failure, and no signal ends the first process of a container by itself.

  Call it again once the workers have joined: TensorFlow takes SIGTERM when they
  do, and does nothing with it.
  """
  for number in _SIGNALS:
    if (os.getpid() == 1 or number == signal.SIGUSR1) and not _ignored(number):
      signal.signal(number, lambda *_: os._exit(command_line.START_AGAIN))
    elif number == signal.SIGTERM:
      signal.signal(number, signal.SIG_DFL)


def install() -> None:
  """Notes stop signals from now on; a second SIGINT (Ctrl-C) ends at once."""
  _requested.clear()
  for number in _SIGNALS:
    if not _ignored(number):
      signal.signal(number, _note)


def are_noted() -> bool:
  """Returns whether `install` was called."""
  return signal.getsignal(signal.SIGTERM) is _note


def requested() -> str | None:
  """Returns the name of the first stop signal so far, or None."""
  return _requested[0] if _requested else None


def _ignored(number):
  return (number == signal.SIGHUP
          and signal.getsignal(number) == signal.SIG_IGN)


def _note(number, _):
  _requested.append(signal.Signals(number).name)
  if number == signal.SIGINT:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
