"""Reads the weights of a run from one of its checkpoints; builds no network.

  source = read(pathlib.Path('runs/r50'), 'best')
"""
from collections.abc import Mapping
import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from configs import schema
from configs.process import command_line, json_file
from configs.process.errors import TryAgain, UserError
from resnet.run import (
  checkpoint,
  checkpoint_choice,
  checkpoint_file,
  checkpoint_match,
  run_config,
  run_folder,
)
from resnet.run.tensor_index import Damaged
from resnet.weights.source import Source

# Of variables in a checkpoint: see state.py.
_WEIGHTS, _AVERAGES = 'model/', 'average/'
_FILES = ('.index', '.data-00000-of-00001')


def read(folder: pathlib.Path, which: str = 'latest') -> Source:
  """Reads the weights that evaluations of a run use: averages, if it has them.

  Args:
    folder: of the run. Only its checkpoints and config.json are read, and
      metrics.jsonl for 'best'.
    which: 'latest', 'best', or the step of a checkpoint.

  Raises:
    UserError: there is no such checkpoint, or it is damaged.
    TryAgain: a file cannot be read now.
  """
  config = _config(folder)
  try:
    step = checkpoint_choice.step(which, folder, config.monitor.metric)
  except UserError as error:
    raise UserError(str(error).replace(
        '--checkpoint=', f'{folder}:')) from error
  checkpoints = folder / run_folder.CHECKPOINTS
  step, tensors = (_newest(checkpoints) if step is None
                   else (step, _chosen(checkpoints, step)))
  return _source(folder, step, tensors, _trained(tensors, config),
                 _digest(checkpoints / f'ckpt-{step}'))


def is_run(folder: str | os.PathLike) -> bool:
  """Returns whether a folder is that of a run."""
  return os.path.exists(os.path.join(folder, run_config.FILE))


def _config(folder):
  try:
    return run_config.read(folder)
  except json_file.Damaged as damage:
    raise UserError(
        f'{damage.path} is damaged ({damage.reason}): restore it from a '
        'backup, or start from another run.') from damage


def _newest(folder):
  """Returns (step, tensors) of the newest checkpoint that is not damaged."""
  steps = checkpoint.steps_in(folder)
  for step in reversed(steps):
    try:
      return step, _tensors(folder, step)
    except Damaged as damage:
      command_line.warn(
          f'checkpoint {folder / f"ckpt-{step}"} is damaged ({damage}) and is '
          'skipped.')
  if steps:
    raise UserError(
        f'No checkpoint in {folder} can be read '
        f'({", ".join(f"step {s}" for s in steps)}): restore one from a '
        'backup, or start from another run.')
  raise UserError(
      f'There is no checkpoint in {folder}: train that run first, with '
      f'`python -m resnet.train --workdir={folder.parent}`, or start from '
      'another one.')


def _chosen(folder, step):
  """Returns the tensors of the checkpoint of a step."""
  steps = checkpoint.steps_in(folder)
  try:
    if step in steps:
      return _tensors(folder, step)
    what = f'There is no checkpoint of step {step} in {folder}'
  except Damaged as damage:
    what = (f'The checkpoint of step {step} in {folder} is damaged ({damage})')
  others = ', '.join(str(s) for s in steps if s != step)
  raise UserError(what + (f': choose one of {others}.' if others else
                          ': start from another run.'))


def _tensors(folder, step):
  """Reads a checkpoint.

  Raises:
    Damaged: its bytes are not those of a checkpoint of this step.
    TryAgain: it cannot be read now.
  """
  prefix = folder / f'ckpt-{step}'
  try:
    tensors = checkpoint_file.read(prefix)
  except (OSError, MemoryError) as error:
    raise _not_now(prefix, error) from error
  if tensors.get('step') != step:
    raise Damaged(f'it does not hold step {step}')
  return tensors


def _digest(prefix):
  """Returns the SHA-256 of both files of a checkpoint, as hex digits."""
  digest = hashlib.sha256()
  try:
    for end in _FILES:
      with open(f'{os.fspath(prefix)}{end}', 'rb') as file:
        while part := file.read(2**22):
          digest.update(part)
  except OSError as error:
    raise _not_now(prefix, error) from error
  return digest.hexdigest()


def _not_now(prefix, error):
  reason = getattr(error, 'strerror', None) or 'not enough memory'
  return TryAgain(f'The checkpoint {prefix} cannot be read now ({reason}): '
                  'rerun the same command once it can.')


def _trained(tensors: Mapping[str, np.ndarray | bytes],
             config: schema.Config) -> tuple[schema.Config, list[str] | None]:
  """Returns (config, names of the classes) of a run.

  Args:
    tensors: of a checkpoint, which says both itself.
    config: in case that the checkpoint does not.
  """
  try:
    identity = json.loads(bytes(tensors[checkpoint_match.IDENTITY]))
    return (schema.from_dict(identity['config']),
            list(identity['data']['classes']))
  except (KeyError, TypeError, ValueError, UserError):
    return config, None


def _source(folder, step, tensors, trained, digest):
  config, classes = trained
  values = _with_prefix(_WEIGHTS, tensors)
  averages = _with_prefix(_AVERAGES, tensors)
  if averages and config.ema.evaluated:
    values |= averages
  return Source(
      name=f'run {folder}, step {step}', values=values, digest=digest,
      network=dataclasses.asdict(config.model), mean=tensors.get('mean'),
      stddev=tensors.get('stddev'), classes=classes, tensors=tensors,
      config=config)


def _with_prefix(prefix, tensors):
  return {name.removeprefix(prefix): value for name, value in tensors.items()
          if name.startswith(prefix)}
