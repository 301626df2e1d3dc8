"""Which checkpoint of a run is meant: latest, best, or the one of a step."""
import pathlib

from configs.process import whole_number
from configs.process.errors import UserError
from resnet.run import checkpoint, checkpoint_name, run_folder, summaries


def step(which: str, workdir: pathlib.Path, metric: str) -> int | None:
  """Returns the step that a choice means; None for the latest.

  Args:
    which: 'latest', 'best', or a number.
    workdir: the run folder.
    metric: decides what is best, see schema.Monitor.

  Raises:
    UserError: the choice has no meaning, or no checkpoint was evaluated.
  """
  checkpoint_name.check(which)
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
