"""Evaluates a checkpoint of a run.

  python -m resnet.evaluate --workdir=runs/digits_resnet8 --checkpoint=best
  python -m resnet.evaluate --workdir=runs/digits_resnet8 --details

Prints one line. The data are those of the run, in the folder that it was
trained from, unless flags say otherwise. With --details, also looks at every
example, prints a screen, and writes into RUN/eval_<data>_<split>_step<step>/:

  metrics.json                       all figures
  per_class.csv                      accuracy, precision, recall of each class
  confusion.csv, confusion.png       which classes are taken for which
  calibration.csv, calibration.png   how far probabilities can be trusted
  predictions.csv                    label, prediction, loss of each example
  worst.png, confused.png            the pictures with the highest loss, and
                                     those of the two most confused classes
"""
from absl import flags

from configs.process import (
  command_line,
  path_flags,
  tensorflow_process,
)
from configs.process.errors import UserError
from pipelines import reading_flags
from resnet.execution import execution_flags
from resnet.run import checkpoint_name


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the other arguments."""
  execution_flags.define()
  reading_flags.define()
  path_flags.define('workdir', None, 'The run folder.')
  flags.DEFINE_string(
      'checkpoint', 'latest', 'latest, best, or the step of a checkpoint.')
  flags.DEFINE_string(
      'data', None, 'The data set to evaluate on, with the classes of the run. '
      "Default: the run's own.")
  flags.DEFINE_string(
      'split', None, "The split to evaluate on. Default: the run's own.")
  flags.DEFINE_integer(
      'average_checkpoints', 0, 'Evaluates the mean of the weights and batch '
      'statistics of this many checkpoints, the newest up to --checkpoint. 0: '
      'off.', lower_bound=0, upper_bound=1000)
  flags.DEFINE_bool(
      'flip', None, 'Whether to average the logits of each image and of its '
      "mirror image. Default: the run's config.data.eval_flip.")
  flags.DEFINE_bool(
      'details', False, 'Looks at every example, and writes figures, tables '
      'and pictures into the run folder.')
  flags.DEFINE_bool(
      'fit_temperature', False, 'Fits the temperature that makes the '
      'probabilities fit the evaluated examples best. Implies --details.')
  path_flags.define(
      'output', None, 'The folder for the details. Default: '
      'eval_<data>_<split>_step<step> in the run folder. Implies --details.')
  return command_line.parse_flags(argv)


def main(others: list[str]) -> int:
  """Prints a line, or a screen; returns the exit code."""
  command_line.refuse(others)
  values = flags.FLAGS
  if values.workdir is None:
    raise UserError('--workdir is missing: give the folder that `python -m '
                    'resnet.train` wrote.')
  checkpoint_name.check(values.checkpoint)
  with tensorflow_process.starting():
    from resnet.evaluation import evaluation, screen

  found = evaluation.evaluate(
      values.workdir, checkpoint=values.checkpoint, data=values.data,
      split=values.split, reading=reading_flags.get(),
      strategy=execution_flags.make_strategy(), jit=values.jit,
      flip=values.flip, average_checkpoints=values.average_checkpoints,
      details=bool(values.details or values.fit_temperature or values.output),
      fit_temperature=values.fit_temperature, output=values.output)
  print(screen.line(found, values.flip))
  if 'folder' in found:
    print(screen.text(found))
  return command_line.DONE


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
