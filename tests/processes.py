"""Runs the binaries as their users do: in processes of their own.

They are forked from one that has imported TensorFlow and touched no device, so
that a process costs no import.
"""
import multiprocessing
import os
import pathlib
import signal
import sys
import tempfile
from typing import NamedTuple

_CONTEXT = multiprocessing.get_context('forkserver')
_CONTEXT.set_forkserver_preload(['tests.preload'])
_TIMEOUT_SECS = 600  # Longer than any test here takes on a busy machine.


class Result(NamedTuple):
  code: int  # Exit code; minus the signal's number if killed.
  out: str
  err: str


def run(module, *argv, between_calls=None, environment=()):
  """Runs `python -m module argv` to its end.

  Args:
    module: 'resnet.train', say.
    argv: flags.
    between_calls: for resnet.train: called with the number of updates done,
      in that process; must be picklable.
    environment: {name: value} of variables that it has besides.

  Returns:
    Result.
  """
  process, folder = start(module, *argv, between_calls=between_calls,
                          environment=environment)
  return finish(process, folder)


def start(module, *argv, between_calls=None, environment=()):
  """As `run`, but returns at once: what `finish` takes."""
  folder = tempfile.TemporaryDirectory()
  process = _CONTEXT.Process(
      target=_child,
      args=(module, argv, folder.name, between_calls, environment))
  process.start()
  return process, folder


def finish(process, folder):
  """Waits for a process of `start`; returns its Result."""
  process.join(_TIMEOUT_SECS)
  if process.is_alive():
    process.kill()
    process.join()
    raise TimeoutError(_read(folder, 'err'))
  with folder:
    return Result(process.exitcode, _read(folder, 'out'), _read(folder, 'err'))


def _read(folder, name):
  return pathlib.Path(folder.name, name).read_text()


def _child(module, argv, folder, between_calls, environment):
  os.environ.update(environment)
  for number, name in ((1, 'out'), (2, 'err')):
    file = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT)
    os.dup2(file, number)
  sys.stdout, sys.stderr = (
      open(n, 'w', buffering=1, closefd=False) for n in (1, 2))
  sys.argv = [module, *argv]
  if between_calls is not None:
    call_between_calls(between_calls)
  binary = __import__(module, fromlist=['main'])
  from configs.process import command_line
  command_line.run(binary.main, binary.parse)


def kill_at(step, done):
  """Kills this process after `step` updates: for functools.partial."""
  if done == step:
    os.kill(os.getpid(), signal.SIGKILL)


def call_between_calls(function):
  """Makes resnet.train call it with the number of updates done, often."""
  from resnet import loop
  train_and_evaluate = loop.train_and_evaluate

  def wrapped(*args, stop_requested):
    def asked(step):
      function(step)
      return stop_requested(step)
    return train_and_evaluate(*args, stop_requested=asked)

  loop.train_and_evaluate = wrapped
