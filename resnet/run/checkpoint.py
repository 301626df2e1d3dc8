"""Checkpoints that survive being killed at any moment.

1. A checkpoint holds variables by name, among them the step, which determines
   the position in the data; and a text that says what was trained.
2. It is written in the background, from a copy of its step and nothing else.
   It exists once its index file does.
3. Restoring is read, verify, then assign: a checkpoint that is refused leaves
   no trace. A damaged one is renamed, and the one before it is tried. One that
   cannot be read now, or that is not of this run, is left as it is.
4. The newest few and the best few are kept. None is deleted, and no run ends,
   before the next one is on disk.

  checkpoints = Checkpoints(folder, state.paths, {'config': ..., 'data': ...})
  step = checkpoints.restore()
  with checkpoints:
    checkpoints.save(step, best_steps=[400])
"""
from collections.abc import Iterable, Mapping
import concurrent.futures
import errno
import os
import pathlib
import re
import shutil
import types
from typing import Any

import numpy as np
import tensorflow as tf

from configs.process import command_line
from configs.process.errors import LASTING, TryAgain, UserError
from resnet.run import checkpoint_file, checkpoint_match
from resnet.run.tensor_index import Damaged

_LEAVE_SECS = 30.0  # For the last save of a run that has failed.


class Checkpoints:
  """The checkpoints of one run, in one folder. Only the chief saves."""

  def __init__(self, folder: str | os.PathLike,
               variables: Mapping[str, tf.Variable],
               identity: Mapping[str, Any], keep_last: int = 3,
               earlier: Iterable[Mapping[str, Any]] = ()):
    """Reads and writes nothing yet.

    Args:
      folder: path of an existing folder.
      variables: what to save and restore, by name; one is `step`.
      identity: what is trained, see checkpoint_match.mismatch.
      keep_last: how many of the newest checkpoints to keep.
      earlier: what else checkpoints of this run may be of, see extension.py.
    """
    self._folder = pathlib.Path(folder)
    self._variables, self._identity = dict(variables), identity
    self._keep_last, self._identities = keep_last, [identity, *(
        {group: one.get(group) for group in identity} for one in earlier)]
    self._writer = concurrent.futures.ThreadPoolExecutor(1, 'checkpoint')
    self._saving: concurrent.futures.Future | None = None
    self._has_warned = False

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, kind: type[BaseException] | None,
               error: BaseException | None,
               trace: types.TracebackType | None) -> None:
    """Waits for the last save, so that no run ends well if it failed.

    Of a run that has failed already, it only warns, and waits for a while only.
    """
    if error is None:
      self.wait()
    elif self._saving and concurrent.futures.wait(
        [self._saving], _LEAVE_SECS).done:
      failure = self._saving.exception()
      if failure:
        command_line.warn(str(failure))

  def steps(self) -> list[int]:
    """Returns the steps of all complete checkpoints, ascending."""
    return steps_in(self._folder)

  def sweep(self) -> None:
    """Deletes what a killed save left behind, and data without an index."""
    names = [name.partition('.') for name in _names(self._folder)]
    complete = {stem for stem, _, end in names
                if end in ('index', 'index.corrupt')}
    for stem, dot, end in names:
      path = self._folder / (stem + dot + end)
      if re.fullmatch('ckpt-[0-9]+_temp', stem):  # TensorFlow's.
        shutil.rmtree(path, ignore_errors=True)
      elif re.fullmatch('ckpt-[0-9]+', stem) and (
          end.endswith('.partial')
          or end.startswith('data-') and stem not in complete):
        _delete(path)

  def restore(self, step: int | None = None, *, last_step: int | None = None,
              set_aside: bool = True) -> int | None:
    """Restores the newest checkpoint that is not damaged, or that of `step`.

    Args:
      step: of the checkpoint; None: the newest.
      last_step: of the run; None: not known.
      set_aside: whether to rename damaged ones, if the newest is asked for.

    Returns:
      The step restored; None if there is no checkpoint at all.

    Raises:
      UserError: the checkpoint is missing, damaged or not one of this run; or
        all are damaged.
      TryAgain: it cannot be read now. No variable is changed then, and no file.
    """
    if step is not None:
      return self._restore_one(step, last_step)
    tried = []
    while left := [s for s in self.steps() if s not in tried]:
      tried.append(left[-1])
      try:
        self._assign(self._checked(left[-1], last_step))
        return left[-1]
      except Damaged as damage:
        self._pass_over(left[-1], damage, set_aside)
    if tried or any(n.endswith('.corrupt') for n in _names(self._folder)):
      raise UserError(
          f'No checkpoint in {self._folder} can be read '
          f'({", ".join(f"step {s}" for s in tried) or "all set aside"}): '
          'restore one from a backup, or start over in another --workdir.')
    return None

  def save(self, step: int, best_steps: Iterable[int] = ()) -> None:
    """Copies the variables to the host, and starts to write them.

    Waits for the devices, and for the previous save. Old checkpoints are
    deleted once this one is on disk.

    Args:
      step: updates done, the value of the variable `step`.
      best_steps: steps whose checkpoints are kept however old they are.

    Raises:
      UserError, TryAgain: the previous save failed; see `wait`.
    """
    self.wait()
    tensors: dict[str, np.ndarray | bytes] = {
        name: np.asarray(variable.numpy())
        for name, variable in self._variables.items()}
    if tensors['step'] != step:
      raise ValueError(f'The state of step {tensors["step"]} is not {step}.')
    tensors[checkpoint_match.IDENTITY] = checkpoint_match.text(self._identity)
    self._saving = self._writer.submit(
        self._write, step, tensors, frozenset(best_steps))

  def wait(self) -> None:
    """Waits until the last save is complete on disk. Writes nothing itself.

    Raises:
      UserError: the save failed, and the user can fix that: the disk is full,
        for example.
      TryAgain: the save failed for another reason.
    """
    saving, self._saving = self._saving, None
    if saving:
      saving.result()

  def _write(self, step, tensors, best_steps):
    """Writes a checkpoint, then deletes old ones. Runs in the background."""
    try:
      durable = checkpoint_file.write(self._prefix(step), tensors)
    except OSError as error:
      raise self._not_written(step, error) from error
    if not durable and not self._has_warned:
      self._has_warned = True
      command_line.warn(
          f'the file system of {self._folder} cannot fsync: a power cut may '
          'lose the newest checkpoint.')
    if step not in (steps := self.steps()):
      raise self._not_written(
          step, FileNotFoundError(errno.ENOENT, 'another program deleted it'))
    for old in sorted(set(steps[:-self._keep_last]) - best_steps):
      self._delete_one(old)

  def delete_after(self, step: int) -> None:
    """Deletes all complete checkpoints of later steps, the newest first.

    Raises:
      UserError, TryAgain: one cannot be deleted.
    """
    for later in reversed([s for s in self.steps() if s > step]):
      self._delete_one(later)

  def _delete_one(self, step):
    # The index goes first: without it, the rest is not a checkpoint.
    for name in sorted(_names(self._folder),
                       key=lambda name: not name.endswith('.index')):
      if name.startswith(f'ckpt-{step}.'):
        _delete(self._folder / name)

  def _not_written(self, step, error):
    try:
      kept = ', '.join(map(str, self.steps())) or 'none'
    except (UserError, TryAgain):
      kept = 'unknown'
    return _failure(
        error, f'The checkpoint of step {step} could not be written to '
        f'{self._folder} ({error.strerror}; complete ones: {kept})',
        'free some space or fix the permissions')

  def _restore_one(self, step, last_step):
    try:
      self._assign(self._checked(step, last_step))
    except Damaged as damage:
      steps = self.steps()
      what, remedy = f'There is no checkpoint of step {step}', 'train first'
      if step in steps:
        steps.remove(step)
        what = f'The checkpoint of step {step} is damaged ({damage})'
        remedy = 'restore it from a backup'
      if steps:
        remedy = f'choose one of {", ".join(map(str, steps))}'
      raise UserError(f'{what} in {self._folder}: {remedy}.') from damage
    return step

  def _pass_over(self, step, damage, set_aside):
    """Warns of a damaged checkpoint; renames its index if asked to."""
    index = pathlib.Path(f'{self._prefix(step)}.index')
    if not os.path.lexists(index):
      return  # The run that is evaluated has deleted it meanwhile.
    what = f'{self._prefix(step)} is damaged ({damage})'
    if set_aside:
      try:
        os.replace(index, f'{index}.corrupt')
      except OSError as error:
        raise _failure(
            error, f'The checkpoint {what} and cannot be renamed '
            f'({error.strerror})', 'delete it or fix the permissions'
            ) from error
    command_line.warn(f'checkpoint {what} and is ' + (
        f'renamed to {index.name}.corrupt.' if set_aside else 'skipped.'))

  def _checked(self, step, last_step):
    """Reads a checkpoint; checks that it is this run's, of this step.

    Returns:
      {name: array} of all variables.
    """
    prefix = self._prefix(step)
    try:
      tensors = checkpoint_file.read(prefix)
    except (OSError, MemoryError) as error:
      reason = getattr(error, 'strerror', None) or 'not enough memory'
      raise TryAgain(
          f'The checkpoint {prefix} cannot be read now ({reason}), and nothing '
          'was changed: rerun the same command; if its files are lost, delete '
          'them to continue from the checkpoint before it.') from error
    why = self._mismatch(tensors)
    if not why and tensors['step'] != step:
      why = f'it holds step {tensors["step"]}, not {step}'
    if not why and last_step is not None and step > last_step:
      why = f'the run ends at step {last_step}'
    if why:
      raise UserError(
          f'The checkpoint {prefix} is not one of this run ({why}), and nothing'
          f' was changed: move ckpt-{step}.* out of that folder to continue '
          'from the checkpoint before it, or give another --workdir.')
    return tensors

  def _mismatch(self, tensors):
    """Returns why a checkpoint is not of this run; '' if it is."""
    why = [checkpoint_match.mismatch(tensors, self._variables, identity)
           for identity in self._identities]
    return '' if '' in why else why[0]

  def _assign(self, tensors):
    for name, variable in self._variables.items():
      variable.assign(tensors[name])

  def _prefix(self, step):
    return os.fspath(self._folder / f'ckpt-{step}')


def steps_in(folder: str | os.PathLike) -> list[int]:
  """Returns the steps of all complete checkpoints in a folder, ascending.

  Raises:
    TryAgain: it cannot be listed now.
  """
  found = (re.fullmatch(r'ckpt-(0|[1-9][0-9]{0,18})\.index', name)
           for name in _names(folder))
  return sorted(int(match[1]) for match in found if match)


def _names(folder):
  """Returns the names in a folder; none if it does not exist."""
  try:
    return os.listdir(folder)
  except FileNotFoundError:
    return []
  except OSError as error:
    kind = UserError if error.errno == errno.ENOTDIR else TryAgain
    raise kind(f'{folder} cannot be listed ({error.strerror}): rerun the same '
               'command once it can.') from error


def _delete(path):
  try:
    path.unlink(missing_ok=True)
  except OSError as error:
    raise _failure(error, f'{path} cannot be deleted ({error.strerror})',
                   'delete it or fix the permissions') from error


def _failure(error, what, remedy):
  """Returns the error to raise if a folder cannot be changed."""
  if error.errno in LASTING:
    return UserError(f'{what}: {remedy}, then rerun the same command.')
  return TryAgain(f'{what}: rerun the same command to continue from the last '
                  'complete checkpoint.')
