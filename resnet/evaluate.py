"""Evaluates a checkpoint of a run.

  python -m resnet.evaluate --workdir=runs/digits_resnet8 --checkpoint=best
"""
import pathlib

from absl import flags

from configs import schema
from configs.process import (
  command_line,
  json_file,
  path_flags,
  tensorflow_process,
  whole_number,
)
from configs.process.errors import UserError
from pipelines import reading_flags
from resnet.execution import execution_flags


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the other arguments."""
  for shared in (execution_flags, reading_flags):
    shared.define()
    flags.adopt_module_key_flags(shared)
  path_flags.define('workdir', None, 'The run folder.')
  flags.DEFINE_string(
      'checkpoint', 'latest', 'latest, best, or the step of a checkpoint.')
  flags.DEFINE_string(
      'split', None, "The split to evaluate on. Default: the run's own.")
  return command_line.parse_flags(argv)


def main(others: list[str]) -> int:
  """Prints one line; returns the exit code."""
  command_line.refuse(others)
  values = flags.FLAGS
  if values.workdir is None:
    raise UserError('--workdir is missing: give the folder that `python -m '
                    'resnet.train` wrote.')
  _check_checkpoint(values.checkpoint)
  with tensorflow_process.starting():
    from pipelines import sources
    from resnet import evaluator, network
    from resnet.run import checkpoint, report, run_folder

  workdir = values.workdir
  config = _config(workdir)
  step = _step(values.checkpoint, workdir, config.monitor.metric)
  strategy = execution_flags.make_strategy()
  split = values.split or config.data.eval_split
  source = sources.load(config.data, split, reading_flags.get(),
                        made=config.synthetic)
  _check_data(workdir, config, split, source)
  # The checkpoint holds the mean and deviation that the run trained with.
  model, state = network.build(config, strategy, source)
  folder = workdir / run_folder.CHECKPOINTS
  step = checkpoint.Checkpoints(
      folder, state.paths, {'config': schema.to_dict(config)}).restore(
          step, set_aside=False)
  if step is None:
    raise UserError(f'There is no checkpoint in {folder}: train first, with '
                    f'`python -m resnet.train --workdir={workdir}`.')
  evaluate = evaluator.Evaluate(
      config, strategy, model, state, source, jit=values.jit)
  measured = evaluate()
  assert measured is not None  # Nothing asked it to stop.
  print(f'step {step} on {config.data.name} {split}: '
        f'{report.values_text(measured)}')
  return command_line.DONE


def _config(workdir):
  """Reads the config of a run; says how to get it back if it is damaged."""
  from resnet.run import run_folder

  try:
    return run_folder.read_config(workdir)
  except json_file.Damaged as damage:
    raise UserError(
        f'{damage.path} is damaged ({damage.reason}): rerun the command that '
        'trained this run, which writes it anew, or restore it from a backup.'
    ) from damage


def _check_data(workdir, config, split, source):
  """Checks that a split is of the classes that the run was trained on.

  Any split can be evaluated. A split of the run that has changed since is only
  warned of.

  Raises:
    UserError: the classes or the shape of images differ.
  """
  from pipelines import identity
  from resnet.run import data_record

  now = identity.record(source.identity, source.identity)
  try:
    before = data_record.read(workdir)
  except json_file.Damaged as damage:
    command_line.warn(f'{damage.path} is damaged ({damage.reason}): the data '
                      'are not compared with those of the run.')
    return
  if before is None:
    return
  differences = data_record.model_differences(before, now)
  if differences:
    raise UserError(
        f'--workdir={workdir} holds a run on other data '
        f'({"; ".join(differences)}): give the --data_dir that it was trained '
        'with, or restore the data.')
  for name, own in (('train', config.data.train_split),
                    ('eval', config.data.eval_split)):
    changed = data_record.split_difference(name, before, now)
    if changed and split == own:
      command_line.warn(f'the data have changed since the run ({changed}).')


def _check_checkpoint(which: str) -> None:
  """Raises UserError if --checkpoint can have no meaning."""
  if which not in ('latest', 'best') and whole_number.parse(which) is None:
    raise UserError(f'--checkpoint={which} is unknown: give latest, best, or '
                    'a step.')


def _step(which: str, workdir: pathlib.Path, metric: str) -> int | None:
  """Returns the step that --checkpoint means; None for the latest."""
  from resnet.run import checkpoint, run_folder, summaries

  if which == 'latest':
    return None
  if which != 'best':
    return whole_number.parse(which)
  there = checkpoint.steps_in(workdir / run_folder.CHECKPOINTS)
  records = [r for r in summaries.read(workdir / 'metrics.jsonl')
             if r['split'] == 'eval' and r['step'] in there]
  if not records:
    raise UserError(f'--checkpoint=best finds no evaluated checkpoint in '
                    f'{workdir}: give latest, or train longer.')
  return summaries.best(records, 1, metric)[0]['step']


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
