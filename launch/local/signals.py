"""The signals by which users, and what stands above, stop a launcher."""
import queue
import signal


def stop_events():
  """A queue that is given the numbers of signals from now on."""
  events = queue.SimpleQueue()
  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda number, _: events.put(number))
  if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # As nohup has it.
    # Trainers save at SIGTERM; a terminal that is closed says SIGHUP.
    signal.signal(signal.SIGHUP, lambda *_: events.put(signal.SIGTERM))
  return events
