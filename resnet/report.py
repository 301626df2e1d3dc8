"""Writes what a run leaves behind: curves, network, weights and first images.

  python -m resnet.report --workdir=runs/digits_resnet8
  python -m resnet.report --workdir=runs/plain_56,runs/residual_56

Works on a run that is still training, and changes nothing of it. Writes into
the folder report/ of the run, or into --output:

  curves.png        accuracy and loss over epochs, training and evaluation
  error.png         the error, 1 - accuracy, as papers show it
  model.txt         layers, output shapes, weights, multiply-adds
  weights.txt       every trainable variable of the newest checkpoint, as text:
                    20 s and 280 MB for ResNet-50
  first_images.png  the first training images, with their labels

With several runs, the curves of all are in one picture, in the folder
report/comparison/ of the first. Pictures of curves need matplotlib, and the
first images the data: without them, these parts are skipped with a warning,
unless --parts names them.
"""
import pathlib
import sys

from absl import flags

from configs.process import (
  command_line,
  errors,
  path_flags,
  paths,
  streams,
  tensorflow_process,
)
from configs.process.errors import printable, TryAgain, UserError
from pipelines import reading_flags
from resnet.reporting import parts as parts_lib
from resnet.reporting import runs as runs_lib
from resnet.reporting.unavailable import Unavailable


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the other arguments."""
  reading_flags.define()
  flags.DEFINE_string(
      'workdir', None, 'The run folder; or several, separated by commas, whose '
      'curves are compared.')
  flags.DEFINE_list(
      'parts', None, 'What to write, separated by commas: '
      f'{", ".join(parts_lib.NAMES)}. Default: all; of several runs, curves.')
  flags.DEFINE_integer(
      'step', None, 'The step of the checkpoint whose weights are written. '
      'Default: the newest.', lower_bound=0)
  path_flags.define('output', None, 'The folder to write into. Default: '
                    'report/ in the run folder.')
  return command_line.parse_flags(argv)


def main(others: list[str]) -> int:
  """Writes the parts and prints a screen; returns the exit code."""
  command_line.refuse(others)
  values = flags.FLAGS
  if values.workdir is None:
    raise UserError('--workdir is missing: give the folder that `python -m '
                    'resnet.train` wrote.')
  workdirs = [paths.local(text, '--workdir')
              for text in runs_lib.split_paths(values.workdir)]
  parts = _parts(values.parts, len(workdirs))
  _check_step(values.step, parts)
  runs = runs_lib.read(workdirs)
  report = parts_lib.Report(runs, _folder(values.output, runs),
                            reading_flags.get(), values.step)
  streams.may_be_lost()  # What counts is in the files.
  if set(parts) - {'curves'}:
    with tensorflow_process.starting():
      from resnet.reporting import (  # noqa: F401
        first_images,
        model_summary,
        weights_text,
      )
  codes = {_write(part, report, required=bool(values.parts)) for part in parts}
  codes |= {_check_lines(run) for run in runs}
  print('\n'.join([
      *map(runs_lib.screen, runs), *report.lines,
      f'written     {", ".join(report.written) or "nothing"} in '
      f'{report.folder}']))
  return next(code for code in (
      command_line.PERMANENT, command_line.START_AGAIN, command_line.DONE)
              if code in codes)


def _parts(names: list[str] | None, runs: int) -> list[str]:
  """Returns the parts to write, in order, for this number of runs."""
  if names is None:
    return [*parts_lib.NAMES] if runs == 1 else ['curves']
  given = f'--parts={",".join(names)}'
  if not names or set(names) - set(parts_lib.NAMES):
    raise UserError(f'{given} is not allowed: give some of '
                    f'{",".join(parts_lib.NAMES)}, separated by commas.')
  if runs > 1 and names != ['curves']:
    raise UserError(f'{given} is for one run, but --workdir names {runs}: give '
                    '--parts=curves, or one run.')
  return [name for name in parts_lib.NAMES if name in names]


def _check_step(step: int | None, parts: list[str]) -> None:
  """Raises UserError if --step can have no meaning."""
  if step is not None and 'weights' not in parts:
    raise UserError(f'--step={step} chooses the checkpoint whose weights are '
                    f'written, but the parts are {",".join(parts)}: add '
                    'weights to --parts, or leave --step out.')


def _folder(output: pathlib.Path | None,
            runs: list[runs_lib.Run]) -> pathlib.Path:
  """Makes and returns the folder of the report."""
  folder = output
  if folder is None:
    folder = runs[0].path / 'report'
    if len(runs) > 1:
      folder /= 'comparison'
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    if error.errno not in errors.LASTING:
      raise TryAgain(f'{folder} cannot be made now ({error.strerror}): rerun '
                     'the same command once it can.') from error
    raise UserError(f'{folder} cannot be written ({error.strerror}): give a '
                    'folder that you may write to with --output.') from error
  return folder


def _write(part: str, report: parts_lib.Report, required: bool) -> int:
  """Writes a part; returns the exit code, after a sentence if it failed.

  Args:
    part: its name.
    report: takes the files and lines that are written.
    required: whether it must be made even if this machine lacks something.
  """
  try:
    parts_lib.write(part, report)
    return command_line.DONE
  except Unavailable as error:
    if not required:
      command_line.warn(f'{part} are left out. {error}')
      return command_line.DONE
    return _failed(error, command_line.PERMANENT)
  except UserError as error:
    return _failed(error, command_line.PERMANENT)
  except TryAgain as error:
    return _failed(error, command_line.START_AGAIN)


def _check_lines(run: runs_lib.Run) -> int:
  """Returns the exit code, after a sentence if figures of a run are damaged."""
  if not run.damaged:
    return command_line.DONE
  return _failed(
      f'{run.path / runs_lib.METRICS} has {run.damaged} damaged '
      f'line{"s" * (run.damaged > 1)}, which the report leaves out: delete '
      'them, or restore the file from a backup.', command_line.PERMANENT)


def _failed(error: Exception | str, code: int) -> int:
  print(f'error: {printable(str(error))}', file=sys.stderr)
  return code


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
