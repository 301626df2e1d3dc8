"""Training a run on with other settings: which may change, and what did.

extensions.jsonl has a line for each change, {'step': updates done before it,
'changes': [text], 'before': what the checkpoints up to that step say that they
are of}.
"""
import fnmatch
import json
import os
import pathlib
from typing import Any

from configs import schema
from configs.process import atomic_file, json_file
from configs.process.errors import UserError, writing
from resnet.run import data_record

FILE = 'extensions.jsonl'
# Neither the network, nor what it learns from, nor what its state consists of.
_MAY_CHANGE = (
    'train_epochs', 'train_steps', 'schedule.*', 'monitor.*', 'recovery.*',
    'eval_batch', 'data.eval_split', 'data.eval_crop', 'data.eval_flip',
    'ema.evaluated', 'finetune.layer_decay')


def can_change(before: schema.Config, now: schema.Config) -> bool:
  """Returns whether a run may be trained on with another config."""
  return not _fixed(before, now)


def check(workdir: str | os.PathLike, before: schema.Config,
          now: schema.Config) -> None:
  """Raises UserError if a run cannot be trained on with another config.

  Args:
    workdir: as the user gave it.
    before: what the run trained so far.
    now: what it is to train.
  """
  fixed = _fixed(before, now)
  if fixed:
    raise UserError(
        f'--extend cannot change {", ".join(fixed)} of the run in '
        f'--workdir={workdir}: give these fields their old values, or start '
        f'another run with --init_from={workdir}; --extend can change '
        f'{", ".join(_MAY_CHANGE)}.')


def read(folder: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the changes of a run, oldest first; damaged lines are left out.

  What is left out matters only to checkpoints of that time: they no longer fit.
  """
  content = json_file.content_of(pathlib.Path(folder, FILE)) or b''
  return list(filter(None, map(_change, content.splitlines())))


def earlier(folder: str | os.PathLike, before: schema.Config | None = None
            ) -> list[dict[str, Any]]:
  """Returns what checkpoints of a run may be of, beside what it trains now.

  Args:
    folder: the run folder.
    before: what the run trained until now, if that changes now.
  """
  known = [change['before'] for change in read(folder)]
  if before:
    known.append({'config': schema.to_dict(before),
                  'data': data_record.read(folder)})
  return known


def record(folder: str | os.PathLike, step: int, before: schema.Config,
           now: schema.Config) -> str:
  """Writes a change down, before anything is trained with it.

  A run that is killed meanwhile writes it again: it is kept once.

  Args:
    folder: the run folder.
    step: updates done.
    before: what the run trained until now.
    now: what it is to train.

  Returns:
    One line for the screen.
  """
  path, known = pathlib.Path(folder, FILE), earlier(folder, before)[-1]
  changes = schema.differences(before, now)
  kept = [change for change in read(folder) if change['before'] != known]
  kept.append({'step': step, 'changes': changes, 'before': known})
  with writing(path):
    atomic_file.write(path, ''.join(f'{json.dumps(c)}\n' for c in kept))
  return f'training on from step {step} with {"; ".join(changes)}'


def _fixed(before, now):
  """Returns 'config.field' for each that differs and may not."""
  values = schema.plain_fields(before)
  return [f'config.{name}' for name, value in schema.plain_fields(now).items()
          if value != values[name] and not any(
              fnmatch.fnmatchcase(name, pattern) for pattern in _MAY_CHANGE)]


def _change(line):
  """Returns the change that a line describes; None if it is damaged."""
  try:
    change = json.loads(line)
    schema.from_dict(change['before']['config'])
  except (KeyError, TypeError, ValueError, RecursionError, UserError):
    return None
  whole = json_file.is_whole(change.get('step')) and isinstance(
      change.get('changes'), list)
  return change if whole else None
