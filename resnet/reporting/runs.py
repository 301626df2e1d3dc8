"""Reads what a report says of runs. Takes no lock and imports no TensorFlow.

A run may be training meanwhile: a line that it has not yet finished is left
out.

  run, = read([pathlib.Path('runs/digits_resnet8')])
  print(screen(run))
"""
from collections.abc import Iterable, Sequence
import math
import pathlib
from typing import Any, NamedTuple

from configs import schema
from configs.process import json_file
from configs.process.errors import TryAgain, UserError
from resnet import plan
from resnet.run import data_record, run_config, summaries

METRICS = 'metrics.jsonl'


class Run(NamedTuple):
  """A run as it is now."""
  path: pathlib.Path
  name: str  # The end of its path, different from those of the other runs.
  config: schema.Config
  records: Sequence[dict[str, Any]]  # See summaries; by their steps.
  damaged: int  # Lines among them that are left out.


def read(paths: Sequence[pathlib.Path]) -> list[Run]:
  """Reads the configs and the records of runs.

  Raises:
    UserError: a folder holds no run, or its config is damaged.
    TryAgain: a file cannot be read now.
  """
  return [Run(path, name, run_config.read(path),
              *summaries.load(path / METRICS))
          for path, name in zip(paths, _names(paths))]


def data(run: Run) -> dict[str, Any]:
  """Returns the record of the data that a run is trained on.

  Raises:
    UserError: there is none, or it is damaged.
    TryAgain: it cannot be read now.
  """
  try:
    record = data_record.read(run.path)
    reason = 'it is missing'
  except json_file.Damaged as damage:
    record, reason = None, damage.reason
  if record is None:
    raise UserError(
        f'{run.path / data_record.FILE} does not say what images the network '
        f'is for ({reason}): rerun the command that trained this run, which '
        'writes it anew.')
  return record


def of_split(run: Run, split: str) -> list[dict[str, Any]]:
  """Returns the records of 'train' or 'eval', oldest first."""
  return [record for record in run.records if record['split'] == split]


def network(config: schema.Config) -> str:
  """Returns what a network is called."""
  model = config.model
  if model.name == 'resnet':
    return f'ResNet-{model.depth} {model.version}'
  return model.name


def screen(run: Run) -> str:
  """Returns the run, its last figures and its best ones, as a few lines."""
  lines = [f'run         {run.path}: {network(run.config)} on '
           f'{run.config.data.name}, {_progress(run)}']
  train, evals = (of_split(run, split) for split in ('train', 'eval'))
  if train:
    lines.append(f'training    last {_figures(train[-1])}')
  if evals:
    lines.append(f'evaluation  last {_figures(evals[-1])}')
    metric = run.config.monitor.metric
    measured = [record for record in evals
                if math.isfinite(record.get(metric, math.nan))]
    for best in summaries.best(measured, 1, metric):
      lines.append(f'            best {_figures(best)} (by {metric})')
  return '\n'.join(lines)


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
  """Returns the ends of paths, as long as they must be to tell them apart."""
  every = [path.resolve().parts for path in paths]
  for count in range(1, max(map(len, every)) + 1):
    names = ['/'.join(parts[-count:]) for parts in every]
    if len(set(names)) == len(names):
      return names
  twice = next(path for path, own in zip(paths, every) if every.count(own) > 1)
  raise UserError(f'--workdir names the run {twice} twice: give each run once.')


def _progress(run):
  """Returns how many steps are done, of how many if that is known."""
  step = max((record['step'] for record in run.records), default=0)
  try:
    total = plan.total_steps(run.config, data(run)['train']['examples'])
  except (UserError, TryAgain):  # What needs the record says so.
    return f'step {step}'
  return f'step {step} of {total}'


def _figures(record):
  """Returns the figures of a record as a part of a line."""
  named = {'accuracy': 'accuracy', 'top5_accuracy': 'top-5', 'loss': 'loss',
           'examples': 'examples'}
  figures = ', '.join(
      f'{word} {_short(record[name])}' for name, word in named.items()
      if name in record)
  epoch = f' (epoch {record["epoch"]:.4g})' if 'epoch' in record else ''
  return f'{figures} at step {record["step"]}{epoch}'


def _short(value: float) -> str:
  return f'{value:.4f}' if isinstance(value, float) else f'{value}'


def split_paths(text: str) -> Iterable[str]:
  """Returns the paths in a list with commas; paths may contain commas too.

  The names of a sweep's runs do, if a field is a tuple. The longest path that
  exists is taken.
  """
  words = text.split(',')
  while words:
    count = next((n for n in range(len(words), 1, -1)
                  if _is_folder(','.join(words[:n]))), 1)
    yield ','.join(words[:count])
    del words[:count]


def _is_folder(text):
  try:
    return pathlib.Path(text).expanduser().is_dir()
  except (OSError, RuntimeError, ValueError):  # No path at all: see paths.
    return False
