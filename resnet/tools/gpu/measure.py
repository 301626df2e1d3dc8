"""Measures one part of the benchmark, in a process of its own.

Started by `python -m resnet.tools.benchmark_gpu`, with a file that says what to
measure and one that receives what is found.
"""
import importlib
import math
import os
import signal
import sys
import traceback

from absl import flags

from configs.process import command_line, path_flags, tensorflow_process
from resnet.tools.gpu import failures, parts
from resnet.tools.gpu import job as job_lib

_LONGEST_LATE_SECS = 60  # Then it ends itself: who started it may be gone.


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the other arguments."""
  flags.DEFINE_enum('part', None, [*parts.PARTS, *parts.INNER],
                    'What to measure.', required=True)
  path_flags.define('job', None, 'The file that says what to measure.')
  path_flags.define('found', None, 'The file that receives what is found.')
  flags.DEFINE_float('secs', 60, 'Seconds until it must be done.',
                     lower_bound=0)
  flags.DEFINE_integer('cores', 0, 'Cores to use. 0: all.', lower_bound=0)
  return command_line.parse_flags(argv)


def main(others: list[str]) -> int:
  """Measures; returns the exit code."""
  command_line.refuse(others)
  values = flags.FLAGS
  signal.alarm(math.ceil(values.secs) + _LONGEST_LATE_SECS)
  if values.cores:  # Before there are threads.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:values.cores])
  job = job_lib.read(values.job, values.secs, values.found)
  part = (parts.PARTS | parts.INNER)[values.part]
  try:
    if part.needs_tensorflow:
      with tensorflow_process.starting():
        import tensorflow  # noqa: F401
    importlib.import_module(part.module).measure(job)
  except Exception as error:
    traceback.print_exc()
    job.found.fail(failures.sentence(error))
    sys.stderr.flush()
    return command_line.FAILURE
  return command_line.DONE


def run() -> None:
  """Runs it as a program."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
