"""Exports a run for programs that do not have this project.

  python -m resnet.export --workdir=runs/digits_resnet8 --format=saved_model

Writes into the folder export/ of the run, or into --output:

  saved_model/    TensorFlow, for servers: takes pixels, or encoded pictures
  model.keras     Keras alone
  model.onnx      ONNX, by tf2onnx
  model.tflite    LiteRT (TensorFlow Lite), for phones and small computers
  export.json     classes, checksums, versions, and how exact each of them is

Each of them takes uint8 pictures of any size, crops and resizes them as in
evaluation, and returns probabilities. Each is loaded in a fresh process without
this project and compared with evaluation; one that differs is not kept.
"""
import sys

from absl import flags

from configs.process import (
  command_line,
  path_flags,
  streams,
  tensorflow_process,
)
from configs.process.errors import printable, UserError
from pipelines import reading_flags
from resnet.execution import execution_flags
from resnet.exporting import formats
from resnet.run import checkpoint_name, run_config


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the other arguments."""
  execution_flags.define()
  reading_flags.define()
  path_flags.define('workdir', None, 'The run folder.')
  path_flags.define('output', None, 'The folder to write into. Default: '
                    'export/ in the run folder.')
  flags.DEFINE_list(
      'format', ['saved_model'], 'What to write, separated by commas: '
      f'{", ".join(formats.FORMATS)}.')
  flags.DEFINE_list(
      'precision', ['float32'], 'The precision of weights, of formats that '
      f'have several (litert): {", ".join(formats.PRECISIONS)}; or both.')
  flags.DEFINE_string(
      'checkpoint', 'latest', 'latest, best, or the step of a checkpoint.')
  flags.DEFINE_enum(
      'weights', 'evaluated', ['evaluated', 'raw', 'average'], 'Which weights '
      'to export, of a run that keeps an average of them. evaluated: those '
      'that its evaluations use.')
  flags.DEFINE_integer(
      'pictures', 100, 'How many pictures of the evaluation split to compare '
      'on. Without the data they are random.', lower_bound=1,
      upper_bound=10000)
  return command_line.parse_flags(argv)


def main(others: list[str]) -> int:
  """Prints a line for each format; returns the exit code."""
  command_line.refuse(others)
  values = flags.FLAGS
  if values.workdir is None:
    raise UserError('--workdir is missing: give the folder that `python -m '
                    'resnet.train` wrote.')
  formats.check(values.format, values.precision)
  checkpoint_name.check(values.checkpoint)
  run_config.read(values.workdir)  # Before TensorFlow takes its seconds.
  streams.may_be_lost()  # What counts is in the files.
  with tensorflow_process.starting():
    from resnet.exporting import exports
    from resnet.inference import restored

  strategy = execution_flags.make_strategy()
  run = restored.restore(values.workdir, values.checkpoint, strategy)
  try:
    exports.export(
        run, values.format, values.output, precisions=values.precision,
        weights=values.weights, count=values.pictures,
        reading=reading_flags.get(), strategy=strategy, jit=values.jit,
        command=sys.argv, on_written=_print)
  except exports.Refused as error:
    print(f'error: {printable(str(error))}', file=sys.stderr)
    return command_line.FAILURE
  return command_line.DONE


def _print(exported) -> None:
  print(f'{exported.path}: {exported.format} in {exported.precision}, '
        f'{exported.bytes / 2**20:.1f} MiB, differs from evaluation by '
        f'{exported.difference:.1e} of the range of logits '
        f'({exported.pictures})', flush=True)


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
