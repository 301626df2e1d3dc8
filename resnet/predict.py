"""Predicts the classes of pictures with the network of a run.

  python -m resnet.predict --workdir=runs/pets cat.jpg holidays/
  find . -name '*.jpg' | python -m resnet.predict --workdir=runs/pets -
  python -m resnet.predict --model=runs/pets/export cat.jpg

Pictures are files, folders (with all folders below), or - for a list on stdin,
one path a line. Prints the most probable classes of each, in the order given,
as CSV or JSON lines. Needs nothing but the run folder. Pictures are turned
upright as their EXIF orientation says, and cropped and resized as in
evaluation. Those that cannot be read are named and counted; the exit code is 2
if no picture can be read.

Probabilities add up to 1 over all classes; those of a network that was trained
with config.loss=sigmoid are of each class by itself.
"""
import os
import sys

from absl import flags

from configs.process import (
  command_line,
  path_flags,
  streams,
  tensorflow_process,
)
from configs.process.errors import UserError
from pipelines import picture_paths
from resnet.execution import execution_flags
from resnet.inference import prediction_rows
from resnet.run import checkpoint_name

_MOST_ON_SHEET = 400
_OF_RUNS = ('checkpoint', 'strategy', 'devices', 'virtual_devices', 'jit',
            'deterministic', 'memory_growth')


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the other arguments."""
  execution_flags.define()
  path_flags.define('workdir', None, 'The run folder.')
  path_flags.define('model', None, 'A SavedModel that `python -m resnet.export`'
                    ' wrote, in place of --workdir.')
  flags.DEFINE_string(
      'checkpoint', 'latest', 'latest, best, or the step of a checkpoint.')
  flags.DEFINE_integer(
      'top', 5, 'How many classes to print for each picture; all if there are '
      'fewer.', lower_bound=1)
  flags.DEFINE_enum(
      'format', 'csv', prediction_rows.FORMATS, 'CSV with a header, or JSON '
      'lines.')
  path_flags.define('output', None, 'The file to write. Default: stdout.')
  path_flags.define('contact_sheet', None, 'A PNG file to write: the first '
                    f'{_MOST_ON_SHEET} pictures, with their classes.')
  flags.DEFINE_integer(
      'batch', 64, 'Images that all devices compute at a time.', lower_bound=1,
      upper_bound=2**16)
  flags.DEFINE_bool(
      'keep_orientation', False, 'Leaves pictures as they are stored, even if '
      'their EXIF orientation says that they are not upright: for a data set '
      'that was prepared with this flag.')
  return command_line.parse_flags(argv)


def main(others: list[str]) -> int:
  """Prints a line for each picture; returns the exit code."""
  values = flags.FLAGS
  _check_source(others)
  for name in ('output', 'contact_sheet'):
    _check_folder(name, values[name].value)
  found = picture_paths.find(others, sys.stdin and sys.stdin.buffer)
  _check_found(found)
  if values.workdir:
    from resnet.run import run_config
    run_config.read(values.workdir)  # Before TensorFlow takes its seconds.
  with tensorflow_process.starting():
    from resnet.inference import prediction_report, prediction_sheet

  predictor, name = _from_export() if values.model else _from_run()
  report = prediction_report.Report(
      predictor.classes, values.format, values.top, values.output,
      _MOST_ON_SHEET if values.contact_sheet else 0)
  report.unreadable(found.unreadable)
  report.write(predictor.files(found.files, values.keep_orientation))
  if values.contact_sheet:
    prediction_report.write(
        values.contact_sheet, '--contact_sheet', [prediction_sheet.png(
            report.first, predictor.classes, values.keep_orientation)])
  if not streams.lost():
    print(f'{report.summary()} with {name}.', file=sys.stderr)
  return command_line.DONE


def _from_run():
  """Returns (predictor, what it is)."""
  from resnet.inference import predictions, restored

  values = flags.FLAGS
  strategy = execution_flags.make_strategy()
  trained = restored.restore(values.workdir, values.checkpoint, strategy)
  return (predictions.Predictor(trained, strategy, jit=values.jit,
                                batch=values.batch),
          f'{values.workdir}, step {trained.step}')


def _from_export():
  """Returns (predictor, what it is)."""
  from resnet.inference import exported

  values = flags.FLAGS
  return exported.load(values.model, values.batch), os.fspath(values.model)


def _check_source(others):
  """Checks what to predict, and with what."""
  values = flags.FLAGS
  if values.workdir and values.model:
    raise UserError(
        f'--workdir={values.workdir} and --model={values.model} both name a '
        'network: give only one of them.')
  if not values.workdir and not values.model:
    raise UserError(
        '--workdir is missing: give the folder that `python -m resnet.train` '
        f'wrote, as in --workdir=RUN {" ".join(others[:3]) or "PICTURES"}.')
  given = [name for name in _OF_RUNS if values[name].present]
  if values.model and given:
    raise UserError(
        f'--{given[0]} is for --workdir, but --model={values.model} was given: '
        'an export has the weights of one checkpoint, and computes on the '
        'first GPU, or the CPU.')
  if not others:
    raise UserError(
        'There are no pictures to predict: name files, folders, or - for a '
        'list of files on stdin, one a line.')
  checkpoint_name.check(values.checkpoint)


def _check_folder(flag, path):
  """Checks that a file can be made, before hours are spent on it."""
  if path is None:
    return
  if path.is_dir():
    raise UserError(f'--{flag}={path} is a folder: give a file.')
  if not path.parent.is_dir():
    raise UserError(f'--{flag}={path} cannot be written, because there is no '
                    f'folder {path.parent}: make it, or give another file.')


def _check_found(found):
  """Checks that there is a picture; warns of what is left out."""
  endings = ', '.join(picture_paths.ENDINGS)
  if not found.files and not found.unreadable:
    raise UserError(
        f'There are no pictures ({endings}) in {", ".join(found.empty)}: give '
        'a folder that has some, or name the files.')
  for folder in found.empty:
    command_line.warn(f'there are no pictures ({endings}) in {folder}.')
  if found.ignored:
    count = len(found.ignored)
    command_line.warn(
        f'ignoring {count} file{"s" * (count != 1)} in folders, such as '
        f'{found.ignored[0]}: only {endings} files are taken, and those that '
        'are named one by one.')


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
