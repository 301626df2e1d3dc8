"""The signals by which a user, or a batch system, stops a launcher."""
import queue
import signal


def stop_events() -> queue.SimpleQueue:
  """Returns a queue that receives the number of every such signal."""
  events = queue.SimpleQueue()
  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda number, _: events.put(number))
  if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Ignored under nohup.
    # A terminal that closes sends SIGHUP. As SIGTERM it makes trainers save.
    signal.signal(signal.SIGHUP, lambda *_: events.put(signal.SIGTERM))
  return events
