"""Signals that ask a run to stop: SIGTERM, SIGINT, SIGUSR1 and SIGHUP.

Before its first step a process has nothing to save, and a signal ends it at
once. From then on signals are noted, and the run saves and stops between two
steps. A terminal that closes sends SIGHUP; under nohup it stays ignored.

A signal is acknowledged at once, by a thread. Python's handlers must wait until
TensorFlow returns from a call, which takes about a second, or a slow step.
"""
import contextlib
import os
import signal
import threading
import time

from configs.process import command_line

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)

_requested: list[str] = []
_times: list[float] = []  # When they came, on the monotonic clock.
_writer: list[int] = []  # Where Python writes the numbers of signals, at once.


def end_at_once() -> None:
  """Makes signals end this process, until `install` is called.

  SIGTERM and SIGHUP do so by themselves, also while TensorFlow waits or
  compiles. SIGINT would raise KeyboardInterrupt, which is lost where Python may
  not raise, in a callback of TensorFlow's, say. SIGUSR1 would look like a
  failure, and no signal ends the first process of a container by itself.

  Call it again once the workers have joined: TensorFlow takes SIGTERM when they
  do, and does nothing with it.
  """
  for number in _SIGNALS:
    if (os.getpid() == 1 or number == signal.SIGUSR1) and not _ignored(number):
      signal.signal(number, lambda *_: os._exit(command_line.START_AGAIN))
    elif number == signal.SIGINT:
      signal.signal(number, lambda *_: os._exit(command_line.INTERRUPTED))
    elif number == signal.SIGTERM:
      signal.signal(number, signal.SIG_DFL)


def install() -> None:
  """Notes stop signals from now on; a second SIGINT (Ctrl-C) ends at once."""
  _requested.clear()
  _times.clear()
  _start_to_acknowledge()
  for number in _SIGNALS:
    if not _ignored(number):
      signal.signal(number, _note)


def are_noted() -> bool:
  """Returns whether `install` was called."""
  return signal.getsignal(signal.SIGTERM) is _note


def requested() -> str | None:
  """Returns the name of the first stop signal so far, or None."""
  return _requested[0] if _requested else None


def seconds_since() -> float:
  """Returns the seconds since the first stop signal; 0 if there was none."""
  return time.monotonic() - _times[0] if _times else 0.0


def _ignored(number):
  return (number == signal.SIGHUP
          and signal.getsignal(number) == signal.SIG_IGN)


def _note(number, _):
  _requested.append(signal.Signals(number).name)
  _times.append(time.monotonic())  # Unless the thread was earlier.
  if number == signal.SIGINT:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _start_to_acknowledge():
  """Has a thread answer signals that are noted, as soon as they come."""
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  for old in _writer:  # Ends its thread.
    os.close(old)
  _writer[:] = [writer]
  threading.Thread(target=_acknowledge, args=(reader,), daemon=True).start()


def _acknowledge(reader):
  """Answers signals; ends the process at a second SIGINT that comes too early.

  Only the main thread runs Python's handlers, and gives SIGINT back to the
  system. Until it has done so, a second one would be lost in a long call.
  """
  interrupts = 0
  while numbers := os.read(reader, 64):
    if not are_noted():
      continue
    _times.append(time.monotonic())
    interrupts += numbers.count(signal.SIGINT)
    if interrupts > 1:
      os._exit(command_line.INTERRUPTED)
    _write(_answer(signal.Signals(numbers[0])))
  os.close(reader)


def _answer(number):
  if number == signal.SIGINT:
    return ('Interrupted: saving a checkpoint first. Press Ctrl-C again to end '
            'without it.')
  return f'{number.name}: saving a checkpoint, then stopping.'


def _write(line):
  """Writes a line to stderr, in place of the bar of a terminal."""
  clear = '\r\x1b[K' if os.isatty(2) else ''
  with contextlib.suppress(OSError):  # The terminal is gone.
    os.write(2, f'{clear}{line}\n'.encode())
