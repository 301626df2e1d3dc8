"""Runs launchers with small workers without TensorFlow, which end in seconds.

A worker is a few lines of Python that follow PRELUDE.
"""
import collections
import contextlib
import io
import os
import pathlib
import queue
import signal
import sys
import time
from typing import NamedTuple
import uuid

from launch.local import attempt, output, restarts, supervisor

PRELUDE = """
import json, os, signal, subprocess, sys, time
rank = json.loads(os.environ['TF_CONFIG'])['task']['index']
attempt = int(os.environ['RESNET_RESTART_COUNT'])
def save():  # A new checkpoint, as far as launchers can see.
  folder = os.environ['RESNET_TEST_RUN'] + '/checkpoints'
  os.makedirs(folder, exist_ok=True)
  open(f'{folder}/ckpt-{attempt + 1}.index', 'w').close()
def end(code, after=0):  # As trainers leave: at once.
  time.sleep(after)
  os._exit(code) if code >= 0 else os.kill(os.getpid(), -code)
"""
QUICK = attempt.Times(settle_secs=1.0, noticed_secs=1.0, grace_secs=1.0)
# The attempts of the tests are short; by default none of them counts as such.
LIMITS = restarts.Limits(short_secs=0)


class Result(NamedTuple):
  code: int
  out: list  # Lines of workers.
  said: list  # Lines of the launcher.


class _Watched(io.RawIOBase):
  """A stream that sends a signal when it gets some words for the nth time."""

  def __init__(self, at, events):
    self._at, self._events, self._count = at, events, collections.Counter()
    self.lines = []

  def write(self, content):
    text = content.decode() if isinstance(content, bytes) else content
    for line in text.splitlines():
      self.lines.append(line)
      for index, (words, number, times) in enumerate(self._at):
        self._count[index] += words in line
        if words in line and self._count[index] == times:
          self._events.put(number)


def run(folder, code, *, workers=2, limits=LIMITS, times=QUICK, ranks=None,
        at=()):
  """Runs workers under supervisor.run, in this process.

  Args:
    folder: for the logs; the run folder is '{folder}.run'.
    code: Python code of each worker, after PRELUDE.
    workers: how many.
    limits: restarts.Limits.
    times: attempt.Times.
    ranks: workers whose lines are shown. Default: all.
    at: tuples (words, signal, n): the launcher gets the signal when the nth
      line with the words is shown.

  Returns:
    Result.
  """
  events = queue.SimpleQueue()
  out, err = _Watched(at, events), _Watched(at, events)
  console = output.Console(range(workers) if ranks is None else ranks, out, err)
  job = supervisor.Job(
      (sys.executable, '-uIS', '-c', PRELUDE + code),
      {'RESNET_TEST_RUN': f'{folder}.run'}, workers, 0, [],
      pathlib.Path(folder), f'{folder}.run')
  ended = supervisor.run(job, limits, times, console, events)
  return Result(ended, out.lines, err.lines)


@contextlib.contextmanager
def marked(monkeypatch):
  """Marks all processes that are started; fails if one is left at the end.

  Yields:
    Function that returns {number of a running process: its command line}.
  """
  mark = uuid.uuid4().hex
  monkeypatch.setenv('RESNET_TEST_MARK', mark)
  yield lambda: _with_mark(mark)
  strays = left(lambda: _with_mark(mark))
  for process in strays:
    os.kill(process, signal.SIGKILL)
  assert not strays


def left(running, secs=5):
  """Returns what is still running after some seconds."""
  end = time.monotonic() + secs
  while running() and time.monotonic() < end:
    time.sleep(0.02)
  return running()


def _with_mark(mark):
  found = {}
  for path in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      if mark.encode() in (path / 'environ').read_bytes():
        found[int(path.name)] = (path / 'cmdline').read_text()
    except OSError:  # It has ended, or belongs to another user.
      pass
  return found
