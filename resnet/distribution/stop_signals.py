"""SIGTERM, SIGINT and SIGUSR1 ask a run to save and stop between two steps."""
import signal

_requested: list[str] = []


def install() -> None:
  """Notes stop signals from now on; a second SIGINT (Ctrl-C) ends at once."""
  _requested.clear()
  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, _note)


def requested() -> str | None:
  """Returns the name of the first stop signal so far, or None."""
  return _requested[0] if _requested else None


def _note(number, _):
  _requested.append(signal.Signals(number).name)
  if number == signal.SIGINT:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
