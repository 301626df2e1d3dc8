"""Runs programs with wrong inputs, each in a fork that costs milliseconds.

One process imports every program, and then has no TensorFlow: an input that is
not refused before TensorFlow is needed ends with a traceback. It forks for each
input, so that the flags of no program are defined twice.

  programs = Programs()
  ended = programs.run('resnet.train', ['--jit=maybe'], {}, folder)
  programs.close()
"""
from collections.abc import Mapping, Sequence
import contextlib
import importlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from typing import NamedTuple

PROGRAMS = (
    'launch.benchmark', 'launch.doctor.__main__', 'launch.kubernetes.__main__',
    'launch.local.__main__', 'launch.slurm.__main__', 'launch.sweep.__main__',
    'pipelines.benchmark', 'pipelines.prepare', 'pipelines.show',
    'resnet.evaluate', 'resnet.tools.benchmark',
    'resnet.tools.benchmark_augment', 'resnet.tools.survey', 'resnet.train')
_TENSORFLOW = ('tensorflow', 'keras', 'tensorflow_datasets')
_MOST_BYTES = 2**31  # Of memory that a program may reserve.
_MOST_CPU_SECS = 4  # Then SIGXCPU: it hangs, or would.
_ROOT = pathlib.Path(__file__).parents[2]


class Ended(NamedTuple):
  """How a program ended."""
  code: int  # Exit code; minus the signal's number if killed.
  out: str
  err: str
  cpu_secs: float


class Programs:
  """The process that forks."""

  def __init__(self):
    self._process = subprocess.Popen(
        [sys.executable, '-m', __name__], cwd=_ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, encoding='ascii')

  def run(self, program: str, argv: Sequence[str],
          environ: Mapping[str, str], folder: str | os.PathLike) -> Ended:
    """Runs a program to its end.

    Args:
      program: one of PROGRAMS.
      argv: its flags.
      environ: all variables that it has.
      folder: its working directory.
    """
    print(json.dumps([program, list(argv), dict(environ), os.fspath(folder)]),
          file=self._process.stdin, flush=True)
    return Ended(*json.loads(self._process.stdout.readline()))

  def close(self) -> None:
    """Ends the process."""
    self._process.stdin.close()
    self._process.wait()


def _serve():
  for name in _TENSORFLOW:
    sys.modules[name] = None  # Makes `import` raise ImportError.
  programs = {name: importlib.import_module(name) for name in PROGRAMS}
  for line in sys.stdin:
    name, *rest = json.loads(line)
    print(json.dumps(_run(programs[name], name, *rest)), flush=True)


def _run(program, name, argv, environ, folder):
  with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
    child = os.fork()
    if not child:
      _be_program(program, [name, *argv], environ, folder, out, err)
    _, status, usage = os.wait4(child, 0)
    out.seek(0)
    err.seek(0)
    return (os.waitstatus_to_exitcode(status),
            *(file.read().decode(errors='backslashreplace')
              for file in (out, err)),
            usage.ru_utime + usage.ru_stime)


def _be_program(program, argv, environ, folder, out, err):
  """Runs a program in this process, a child, and ends it."""
  from configs.process import command_line
  code = 1
  try:
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_SECS, _MOST_CPU_SECS))
    signal.alarm(60)  # If it waits for something.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.stdin, sys.stdout, sys.stderr = (
        open(0), open(1, 'w'), open(2, 'w', errors='backslashreplace'))
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.argv = argv
    command_line.run(program.main, program.parse)
  except SystemExit as error:
    code = error.code if isinstance(error.code, int) else bool(error.code)
  except BaseException:
    traceback.print_exc()
  with contextlib.suppress(OSError):
    sys.stdout.flush()
    sys.stderr.flush()
  os._exit(code or 0)


if __name__ == '__main__':
  _serve()
