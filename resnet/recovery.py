"""Returns a run to its last checkpoint when its loss breaks.

The run goes on from there with a smaller learning rate, or past the batches
that broke it. If it breaks again before its next checkpoint, the weights may
have been spoiled before: it returns to the checkpoint before that.

All workers do this at the same step, and so does a run that was killed and
restarted: only checkpoints that --save_every_steps asks for count, and later
ones are deleted first.
"""
import json
from typing import Any

from configs.process import atomic_file, json_file
from configs.process.errors import writing
from resnet import session

FILE = 'recoveries.jsonl'


def jumped(run: session.Session, loss: float) -> bool:
  """Returns whether the mean loss since the last log point is too high."""
  jump, before = run.config.recovery.jump, run.written.of('train')
  return bool(jump and before) and loss > jump * before[-1]['loss']


def go_back(run: session.Session, what: str, broken_at: int) -> bool:
  """Returns the run to its last checkpoint, on all workers.

  Args:
    run: the run.
    what: happened, for the record.
    broken_at: updates done when it happened.

  Returns:
    False, and nothing is changed, if the run may not return once more or has
    no checkpoint yet.
  """
  settings, state = run.config.recovery, run.state
  returns, skipped = map(int, state.recovery.numpy())
  if returns >= settings.most:
    return False
  run.checkpoints.wait()
  step = run.group.of_chief(_step_to_return_to(run))
  if not step:
    return False
  rate_scale = float(state.rate_scale.numpy()) * settings.rate_factor
  if run.group.is_chief:
    run.checkpoints.delete_after(step)
  session.restore(run.checkpoints, run.group, state, run.total_steps)
  if settings.skip:
    skipped += broken_at - step
  state.recovery.assign([returns + 1, skipped])
  state.rate_scale.assign(rate_scale)
  run.go_to(step)
  run.returned_to = step
  _write(run, {'recovery': returns + 1, 'step': step, 'what': what,
               'broken_at': broken_at, 'rate_scale': rate_scale,
               'skipped_batches': skipped})
  return True


def steps_to_keep(run: session.Session) -> list[int]:
  """Returns the steps of the checkpoints that the run may return to."""
  return list(filter(run.saves.due, run.checkpoints.steps()))[-2:]


def _step_to_return_to(run):
  """Returns the step, on the chief; 0 without a checkpoint, or elsewhere."""
  if not run.group.is_chief:
    return 0
  steps = steps_to_keep(run)
  if steps and steps[-1] == run.returned_to:
    steps.pop()
  return max(steps, default=0)


def _write(run: session.Session, record: dict[str, Any]) -> None:
  """Says what happened, and keeps it in the run folder.

  A run that is killed before its next save returns again: once is written.
  """
  run.bar.say(
      f'step {record["broken_at"]}  {record["what"]}: back to step '
      f'{record["step"]}, with {record["rate_scale"]:g} of the learning rate'
      + (f', {record["skipped_batches"]} batches left out in all'
         if record['skipped_batches'] else ''))
  if not run.group.is_chief:
    return
  path = run.folder.path / FILE
  with writing(path):
    lines = (json_file.content_of(path) or b'').decode(
        errors='replace').splitlines()[:record['recovery'] - 1]
    atomic_file.write(path, ''.join(
        f'{line}\n' for line in [*lines, json.dumps(record)]))
