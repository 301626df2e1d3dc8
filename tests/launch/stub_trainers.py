"""Runs sweeps of small trainers without TensorFlow, which end at once.

A trainer is a few lines of Python that follow PRELUDE.
"""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

_ROOT = pathlib.Path(__file__).parents[2]
PRELUDE = """
import json, os, pathlib, signal, subprocess, sys, time
from absl import flags as absl_flags
from configs import loading, schema
flags = dict(word.lstrip('-').partition('=')[::2] for word in sys.argv[1:])
folder = pathlib.Path(flags['workdir'])
def begin():  # As the real one does before its first step.
  config, _, _ = loading.parse(
      [''] + [word for word in sys.argv if word.startswith('--config')],
      absl_flags.FlagValues())
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(schema.to_dict(config)))
def finish(accuracy, best):
  begin()
  (folder / 'run.json').write_text(json.dumps(
      {'summary': {'accuracy': accuracy, 'best_accuracy': best}}))
"""
# `python -m launch.sweep`, with the test's module in place of most launchers.
_SWEEP = """
from launch.sweep import __main__, starting
for name, launcher in starting.LAUNCHERS.items():
  if name != 'local':
    starting.LAUNCHERS[name] = launcher._replace(module='stub')
__main__.run()
"""


def _listen_to_sighup():
  signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under nohup as well.


@contextlib.contextmanager
def sweeping(folder, code, *argv):
  """Yields the process of a sweep whose trainers run PRELUDE and some code.

  It leads its own process group, as if started in a terminal.

  Args:
    folder: for files of the test; `{folder}/runs` holds the run folders.
    code: Python code of the trainer, or of the launcher that argv names; None:
      the real one.
    argv: flags of the sweep; the last of several --workdir counts.
  """
  words = ['-m', 'launch.sweep']
  if code is not None:
    (folder / 'stub.py').write_text(PRELUDE + code)
    words = ['-c', _SWEEP]
  process = subprocess.Popen(
      [sys.executable, *words, f'--workdir={folder}/runs', *argv], cwd=_ROOT,
      text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      env={**os.environ, 'PYTHONPATH': f'{folder}'}, start_new_session=True,
      preexec_fn=_listen_to_sighup)
  # Nothing here may wait forever.
  timer = threading.Timer(120, process.kill)
  timer.start()
  try:
    yield process
  finally:
    timer.cancel()
    process.kill()
    process.communicate()


def sweep(folder, code, *argv):
  """Runs such a sweep; returns (exit code, stdout, stderr)."""
  with sweeping(folder, code, *argv) as process:
    out, err = process.communicate()
  return process.returncode, out, err


def rows(out):
  """Returns {run: its state} from the table of runs."""
  table = out[out.index('run '):].partition('\n\n')[0].splitlines()[1:]
  return {re.split('  +', row)[0]: re.split('  +', row)[1] for row in table}


def started(err):
  """Returns the runs that were started, in order."""
  return re.findall(r'^\[sweep\] (\S+) \(\d+ of \d+\)', err, re.MULTILINE)
