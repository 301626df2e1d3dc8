"""SIGTERM, SIGINT and SIGUSR1 ask the run to save and stop; nothing is torn."""
import signal

_requested = []


def install():
  """Notes stop signals from now on. A second SIGINT (Ctrl-C) ends at once."""
  _requested.clear()
  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, _note)


def requested():
  """The name of the first stop signal so far, or None."""
  return _requested[0] if _requested else None


def _note(number, _):
  _requested.append(signal.Signals(number).name)
  if number == signal.SIGINT:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
