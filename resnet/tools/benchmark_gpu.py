"""Measures what training on this machine's GPUs is limited by.

  python -m resnet.tools.benchmark_gpu --config=imagenet_resnet50 --data_dir=DIR

Each part is measured in processes of its own, so that one that crashes, hangs
or fills a GPU says so, and the others go on. Without --data_dir, pictures are
made on the spot. What does not fit into --max_mins is 'not measured', never 0.
Without GPUs the CPU is measured, which shows that the benchmark works.

Prints a table, part by part, and writes the same to --output as JSON. Exit
codes: 0 done; 1 some part failed; 2 a user error, in one sentence.
"""
import dataclasses
import os
import pathlib
import shlex
import signal
import sys
import tempfile
import time

from absl import flags

from configs import loading, schema
from configs.process import command_line, path_flags, version, whole_number
from configs.process.errors import UserError
from pipelines import reading_flags
from resnet.tools.gpu import (
  findings,
  part_process,
  parts,
  pictures,
  processes,
  report,
  verdict,
)
from resnet.tools.gpu import job as job_lib

_MOST_IMAGES = 2**16  # Per device and step.
_LEAST_SECS = 1.0  # A part that gets less is not begun.


def parse(argv: list[str]) -> tuple[schema.Config, str, list[str]]:
  """Defines and reads the flags.

  Returns:
    (config, the recipe's name, arguments that are not flags).
  """
  reading_flags.define()
  flags.DEFINE_list('parts', [*parts.CHOICES], 'What to measure.')
  flags.DEFINE_float('max_mins', 10, 'Minutes that all parts may take '
                     'together. 30 leave time to compile for many GPUs.',
                     lower_bound=0)
  path_flags.define('output', 'report.json', 'The report. The trace of the '
                    'profiler goes to a folder beside it, report.trace.')
  flags.DEFINE_list('batches', ['128', '256'], 'Images per device and step. '
                    'Most parts measure the first of them.')
  flags.DEFINE_integer(
      'virtual_devices', 0, 'Measures the CPU, split into this many devices. '
      '0: measures the GPUs, or the CPU if there are none.',
      lower_bound=0, upper_bound=256)
  flags.DEFINE_enum('jit', 'auto', ['auto', 'true', 'false'], 'Whether to '
                    'compile with XLA. auto: on GPUs.')
  flags.DEFINE_integer('log_every_steps', 20, 'Updates between log points of '
                       'the training loop; at least four are needed.',
                       lower_bound=1)
  flags.DEFINE_float('block_secs', 5.0, 'Shortest duration of a measurement '
                     'in seconds.', lower_bound=0)
  return loading.parse(argv)


def main(parsed: tuple[schema.Config, str, list[str]]) -> int:
  """Measures all parts; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  values, ends = flags.FLAGS, time.time() + 60 * flags.FLAGS.max_mins
  chosen, batches = _parts(values.parts), _batches(values.batches)
  reading = reading_flags.get()
  kind = None if reading.data_dir else pictures.of(config)
  written = report.Report(values.output, {
      'recipe': recipe, 'config': schema.to_dict(config),
      'version': version.VERSION, 'command': shlex.join(sys.argv),
      'max_mins': values.max_mins})
  # Ends what was started, as Ctrl-C does.
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  with tempfile.TemporaryDirectory() as folder:
    if kind:
      config = pictures.stand_in(config)
      reading = reading._replace(data_dir=os.path.join(folder, 'data'))
    _measure_all(job_lib.Job(
        config, reading, values.jit, batches, values.log_every_steps,
        values.block_secs, pathlib.Path(folder),
        values.output.with_suffix('.trace').absolute(), kind,
        values.virtual_devices), chosen, written, ends)
  written.conclude(verdict.of(written.found, config, batches[0]))
  return command_line.FAILURE if written.failed else command_line.DONE


def _parts(names):
  """Returns the names of the parts to measure, in order."""
  unknown = [name for name in names if name not in parts.CHOICES]
  if unknown or not names:
    raise UserError(
        f'--parts={",".join(names)} is not allowed: give some of '
        f'{",".join(parts.CHOICES)}, separated by commas.')
  return [name for name in parts.CHOICES if name in names]


def _batches(texts):
  """Returns the numbers of --batches."""
  numbers = [whole_number.parse(text, _MOST_IMAGES) for text in texts]
  if not numbers or not all(numbers):
    raise UserError(
        f'--batches={",".join(texts)} is not allowed: give numbers from 1 to '
        f'{_MOST_IMAGES}, separated by commas.')
  return list(dict.fromkeys(number for number in numbers if number))


def _measure_all(job, chosen, written, ends):
  """Measures the devices, makes pictures if needed, then the chosen parts."""
  to_come = [parts.DEVICES, *[parts.DATA] * bool(job.pictures), *chosen]
  broken = ''  # Why nothing that needs data, or devices, can be measured.
  while to_come:
    name = to_come[0]
    secs = (ends - time.time()) * parts.share(name, to_come)
    if broken:
      written.skip(name, broken)
    elif secs < _LEAST_SECS:
      written.skip(name, 'the time was up')
    else:
      job, broken = _measure(job, name, secs, written)
    del to_come[0]


def _measure(job, name, secs, written):
  """Measures a part.

  Returns:
    (the job, with what the devices are; why no other part can be measured).
  """
  started = time.time()
  part = parts.PARTS[name]
  found, log = part_process.run(
      job, name, secs, environ=part.environment, own_group=True)
  written.add(name, time.time() - started, found, processes.tail(log))
  if name == parts.DATA and found.failure:
    return job, 'there are no pictures'
  if name != parts.DEVICES:
    return job, ''
  devices = findings.select(found.findings, measure='devices')
  if not devices:
    return job, 'the devices are not known'
  return dataclasses.replace(job, kind=devices[0].of['kind'],
                             count=devices[0].of['count']), ''


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
