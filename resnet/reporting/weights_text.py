"""Writes the weights of a checkpoint as text: weights.txt.

  # lines that begin with # are comments
  stem_conv/kernel float32 3x3x1x16
  0.0123 -0.5 ...                    (16 values, for index [0, 0, 0, :])
  ...                                (9 such lines)
  stem_bn/gamma float32 16
  1.0 0.98 ...

Each variable has a line `name type shape`, then its values in C order, one line
for each index of all axes but the last (one line for a vector or a scalar,
whose shape is `-`). A value is the shortest decimal number that is read back as
the same float32, bit for bit, by `parse` for example; or inf, -inf or nan.

One tensor after the other is read and written, so that networks that do not fit
into the memory as text are no problem.
"""
from collections.abc import Iterable, Iterator
import os
import pathlib

import keras
import numpy as np

from configs.process import atomic_file, command_line, errors
from configs.process.errors import TryAgain, UserError
from resnet.run import checkpoint, checkpoint_file
from resnet.run.tensor_index import Damaged

_PREFIX = 'model/'  # Of a network's variables in a checkpoint: see state.py.
_HEAD = """\
# The {count} trainable variables of the checkpoint of step {step} in
# {folder}, {values:,} values.
# Each variable is a line `name type shape`, then its values, the last axis in
# one line: see resnet/reporting/weights_text.py, which also reads them back.
"""
_CHUNK = 2**16  # Values that are text at the same time, or one line.


def write(path: pathlib.Path, folder: pathlib.Path, model: keras.Model,
          step: int | None = None) -> int:
  """Writes the weights of a checkpoint; returns its step.

  Args:
    path: the file to write.
    folder: the folder of the checkpoints.
    model: the network that they are of; its values are not used.
    step: of the checkpoint; None: the newest that is not damaged.

  Raises:
    UserError: there is no such checkpoint, or it is damaged or of another
      network; or the file cannot be written.
    TryAgain: the checkpoint cannot be read now.
  """
  steps = checkpoint.steps_in(folder)
  if not steps:
    raise UserError(
        f'There is no checkpoint in {folder}: train first, with `python -m '
        f'resnet.train --workdir={folder.parent}`.')
  if step is not None:
    _write_one(path, folder, model, step, steps)
    return step
  for newest in reversed(steps):
    try:
      _write(path, folder, model, newest)
      return newest
    except Damaged as damage:
      command_line.warn(f'checkpoint {folder / f"ckpt-{newest}"} is damaged '
                        f'({damage}) and is skipped.')
  raise UserError(
      f'No checkpoint in {folder} can be read '
      f'({", ".join(f"step {s}" for s in steps)}): restore one from a backup.')


def parse(lines: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
  """Yields the (name, float32 array) of each variable in a weights.txt."""
  lines = iter(lines)
  for line in lines:
    if line.startswith('#'):
      continue
    name, dtype, sizes = line.split()
    shape = () if sizes == '-' else tuple(map(int, sizes.split('x')))
    rows = [next(lines).split() for _ in range(int(np.prod(shape[:-1])))]
    yield name, np.array(rows, dtype).reshape(shape)


def text_of(name: str, values: np.ndarray) -> Iterator[bytes]:
  """Yields the text of a variable, in pieces."""
  shape = 'x'.join(map(str, values.shape)) or '-'
  yield f'{name} {values.dtype} {shape}\n'.encode()
  rows = values.reshape(-1, values.shape[-1] if values.shape else 1)
  count = max(1, _CHUNK // rows.shape[1])
  for start in range(0, len(rows), count):
    yield ''.join(' '.join(map(str, row)) + '\n'
                  for row in rows[start:start + count]).encode()


def _write_one(path, folder, model, step, steps):
  """Writes the checkpoint of --step; `steps` are all that there are."""
  if step not in steps:
    raise UserError(f'--step={step} has no checkpoint in {folder}: choose one '
                    f'of {", ".join(map(str, steps))}.')
  try:
    _write(path, folder, model, step)
  except Damaged as damage:
    others = ', '.join(str(s) for s in steps if s != step)
    raise UserError(
        f'The checkpoint of --step={step} in {folder} is damaged ({damage}): '
        'restore it from a backup' + (f', or choose one of {others}.' if others
                                      else '.')) from damage


def _write(path, folder, model, step):
  with errors.writing(path):
    atomic_file.write(path, _lines(folder, step, model), durable=False)


def _lines(folder, step, model) -> Iterator[bytes]:
  """Yields weights.txt, one tensor after the other."""
  prefix = folder / f'ckpt-{step}'
  variables = {_PREFIX + v.path: v for v in model.trainable_variables}
  tensors = _tensors(prefix, ['step', *variables])
  found = dict([next(tensors, ('step', b''))])
  if found.get('step') != step:
    raise _misfit(prefix, f'it does not hold step {step}')
  yield _HEAD.format(
      count=len(variables), step=step, folder=os.fspath(folder),
      values=sum(int(np.prod(v.shape)) for v in variables.values())).encode()
  for expected, variable in variables.items():
    name, values = next(tensors, ('', b''))
    if name != expected:
      raise _misfit(prefix, f'it lacks {expected}')
    if isinstance(values, bytes) or values.shape != tuple(variable.shape):
      raise _misfit(prefix, f'{name} is not of shape {list(variable.shape)}')
    yield from text_of(variable.path, values)


def _tensors(prefix, names):
  try:
    yield from checkpoint_file.read_some(prefix, names)
  except OSError as error:
    raise TryAgain(f'The checkpoint {prefix} cannot be read now '
                   f'({error.strerror}): rerun the same command once it can.'
                   ) from error


def _misfit(prefix, why):
  return UserError(
      f'The checkpoint {prefix} is not of the network in config.json ({why}): '
      'choose another --step, or restore the config.json that it was trained '
      'with.')
