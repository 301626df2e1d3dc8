"""Finds the run folders below a folder, and reads a row of figures of each.

A run whose folder is damaged is a row too, with a note. Nothing is changed, no
lock is taken, and TensorFlow is not needed.

  for path in find(pathlib.Path('runs')):
    print(read(path, 'name'))
"""
from collections.abc import Callable, Iterator
import math
import os
import pathlib
from typing import Any, NamedTuple

from configs import schema
from configs.process import command_line, json_file
from configs.process.errors import printable, TryAgain, UserError
from resnet import plan
from resnet.reporting import run_recipe, run_state
from resnet.run import data_record, run_config, summaries

# What a run folder holds. Others are not looked into for runs.
_OWN_FOLDERS = ('checkpoints', 'train', 'eval', 'workers', 'report', 'export',
                'plugins', 'wandb', 'mlruns')
_METRICS, _RUN = 'metrics.jsonl', 'run.json'
_LONGEST = 150  # Characters of a note.


class Row(NamedTuple):
  """A run, as a line of the table. None: not known."""
  run: str
  state: str | None
  step: int
  total: int | None
  saved: int | None  # Step of the newest checkpoint.
  metric: str | None  # That decides what is best.
  best: float | None
  last: float | None
  images_per_second: float | None  # The median of the log points.
  recipe: str | None
  changes: str  # Fields that differ from the recipe's.
  note: str


def find(top: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the run folders below a folder, or the folder itself, by name.

  Links to folders are not followed, and hidden folders are left out. Warns of
  folders that cannot be listed.
  """
  def warn(error):
    if isinstance(error, FileNotFoundError):
      return  # It has been deleted meanwhile.
    command_line.warn(f'{error.filename} cannot be listed ({error.strerror}): '
                      'runs in it are left out.')

  for folder, folders, files in os.walk(top, onerror=warn):
    is_run = _is_run(folders, files)
    folders[:] = sorted(
        name for name in folders if not name.startswith('.')
        and not (is_run and name in _OWN_FOLDERS))
    if is_run:
      yield pathlib.Path(folder)


def read(path: pathlib.Path, name: str) -> Row:
  """Reads a run; never fails.

  Args:
    path: of its folder.
    name: what to call it.
  """
  notes: list[str] = []
  config = _read(run_config.FILE, lambda: run_config.read(path), notes)
  described = _read(_RUN, lambda: json_file.read(path / _RUN), notes) or {}
  records = _read(_METRICS, lambda: _records(path, notes), notes) or []
  data = _read(data_record.FILE, lambda: data_record.read(path), notes)
  is_finished = isinstance(described.get('summary'), dict)
  saved = run_state.saved_steps(path)
  state = run_state.of(path, is_finished, max(saved, default=0))
  notes += [state.note] * bool(state.note)
  step = max([state.step, *saved, *(record['step'] for record in records)])
  command = described.get('command')
  recipe = run_recipe.of(command)
  row = Row(
      name, state.name, step, None, max(saved, default=None), None, None, None,
      _speed(records), recipe, '', '; '.join(notes))
  if config is None:
    return row
  changes = [*_start(described.get('init')),
             *run_recipe.changes(recipe, config, command or [])]
  return row._replace(
      total=_total(config, data), metric=config.monitor.metric,
      changes=' '.join(map(printable, changes)),
      **_best_and_last(records, config.monitor.metric))


def _is_run(folders, files):
  """Returns whether these are the names in a run folder, damaged or not."""
  there = {*folders, *files}
  return len(there & {'config.json', _RUN, _METRICS, 'checkpoints',
                      'data.json'}) >= 2


def _read(name: str, action: Callable[[], Any], notes: list[str]) -> Any:
  """Returns action(), which reads a file; None after an error, a note then."""
  try:
    return action()
  except json_file.Damaged as damage:
    reason = f'is damaged ({damage.reason})'
  except (UserError, TryAgain) as error:
    reason = f'cannot be used ({str(error).partition(": ")[0]})'
  notes.append(printable(f'{name} {reason}', _LONGEST))
  return None


def _records(path, notes):
  records, damaged = summaries.load(path / _METRICS)
  if damaged:
    notes.append(f'{_METRICS} has {damaged} damaged '
                 f'line{"s" * (damaged > 1)}')
  return records


def _start(init: Any) -> list[str]:
  """Returns the weights that a run began with, as a change of its recipe."""
  what = init.get('what') if isinstance(init, dict) else None
  return [f'init_from={what}'] if isinstance(what, str) else []


def _total(config: schema.Config, data: dict[str, Any] | None) -> int | None:
  """Returns the updates of a run, if that is known."""
  if config.train_steps:
    return config.train_steps
  return plan.total_steps(config, data['train']['examples']) if data else None


def _best_and_last(records, metric):
  """Returns the {'best', 'last'} values of a metric."""
  evals = [record for record in records if record['split'] == 'eval'
           and math.isfinite(record.get(metric, math.nan))]
  if not evals:
    return {}
  return {'best': summaries.best(evals, 1, metric)[0][metric],
          'last': evals[-1][metric]}


def _speed(records):
  speeds = sorted(r['images_per_second'] for r in records
                  if r['split'] == 'train' and 'images_per_second' in r)
  return speeds[len(speeds) // 2] if speeds else None
