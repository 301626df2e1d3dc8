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
    'resnet.evaluate', 'resnet.export', 'resnet.predict', 'resnet.report',
    'resnet.runs', 'resnet.tools.benchmark',
    'resnet.tools.benchmark_augment', 'resnet.tools.benchmark_gpu',
    'resnet.tools.profile_step', 'resnet.tools.survey', 'resnet.train')
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

  def number_flags(self, program: str) -> dict[str, str]:
    """Returns {name: 'integer' or 'number'} of the flags of a program."""
    return json.loads(self.run(f'{program}?', [], {}, '/').out)

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
    print(json.dumps(_run(programs[name.rstrip('?')], name, *rest)), flush=True)


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
  try:
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_SECS, _MOST_CPU_SECS))
    signal.alarm(60)  # If it waits for something.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.stdout, sys.stderr = (open(n, 'w', closefd=False) for n in (1, 2))
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.argv = argv
    if argv[0].endswith('?'):
      _print_number_flags(program)
    command_line.run(program.main, program.parse)
  except BaseException:
    traceback.print_exc()
  os._exit(1)  # command_line.run does not return.


def _print_number_flags(program):
  """Prints {name: 'integer' or 'number'}, and ends this process."""
  from absl import flags
  before = set(flags.FLAGS)  # absl's own.
  with contextlib.suppress(Exception):  # Of flags that are missing.
    program.parse(['program'])
  print(json.dumps({
      name: flags.FLAGS[name].parser.number_name for name in flags.FLAGS
      if name not in before and '.' not in name
      and hasattr(flags.FLAGS[name].parser, 'number_name')}))
  sys.stdout.flush()
  os._exit(0)


if __name__ == '__main__':
  _serve()
