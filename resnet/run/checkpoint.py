"""Checkpoints that survive being killed at any moment.

1. A checkpoint holds variables by name and nothing else; the step determines
   the position in the data.
2. It is written in the background, and exists once its index file does.
3. The newest checkpoint that can be read is restored. One that cannot be read
   is renamed, and the one before it is tried.
4. The newest few and the best few are kept. None is deleted, and no run ends,
   before the next one is on disk.

  checkpoints = Checkpoints(folder, state.paths, keep_last=3)
  step = checkpoints.restore()
  checkpoints.save(step, best_steps=[400])
  checkpoints.wait()
"""
import atexit
from collections.abc import Iterable, Mapping
import contextlib
import os
import pathlib
import re
import shutil
import sys

from absl import logging
import tensorflow as tf

from configs.process import command_line
from configs.process.errors import first_line, UserError


class Checkpoints:
  """The checkpoints of one run, in one folder. Only the chief saves."""

  def __init__(self, folder: str | os.PathLike,
               variables: Mapping[str, tf.Variable], keep_last: int = 3):
    """Reads and writes nothing yet.

    Args:
      folder: path of an existing folder.
      variables: what to save and restore, by name.
      keep_last: how many of the newest checkpoints to keep.
    """
    self._folder = pathlib.Path(folder)
    self._keep_last = keep_last
    # Plain variables in a plain dict: TensorFlow cannot write Keras objects in
    # the background.
    self._checkpoint = tf.train.Checkpoint(variables=dict(variables))
    self._options = tf.train.CheckpointOptions(enable_async=True)
    self._best_steps: tuple[int, ...] = ()
    self._saving: int | None = None  # The step of a save that may still run.
    self._settles_at_exit = False

  def steps(self) -> list[int]:
    """Returns the steps of all complete checkpoints, ascending."""
    return steps_in(self._folder)

  def sweep(self) -> None:
    """Deletes what a killed save left behind, and data without an index."""
    for path in self._folder.glob('*_temp'):
      shutil.rmtree(path, ignore_errors=True)
    complete = {f'ckpt-{step}' for step in self.steps()}
    for path in self._folder.glob('ckpt-*.data-*'):
      if path.name.partition('.')[0] not in complete and not path.with_name(
          f'{path.name.partition(".")[0]}.index.corrupt').exists():
        path.unlink()

  def restore(self, step: int | None = None,
              set_aside: bool = True) -> int | None:
    """Restores the newest readable checkpoint, or exactly that of `step`.

    Args:
      step: of the checkpoint; None: the newest.
      set_aside: whether to rename checkpoints that cannot be read.

    Returns:
      The step restored; None if there is no checkpoint at all.

    Raises:
      UserError: the checkpoint of `step` is missing or cannot be read, or no
        checkpoint can.
    """
    steps = self.steps()
    if step is not None:
      if step not in steps:
        raise UserError(
            f'There is no checkpoint of step {step} in {self._folder}: '
            + (f'choose one of {", ".join(map(str, steps))}.' if steps
               else 'train first.'))
      steps = [step]
    for candidate in reversed(steps):
      reason = self._try_restore(candidate)
      if reason is None:
        return candidate
      command_line.warn(f'checkpoint {self._prefix(candidate)} cannot be read '
                        f'({reason}) and is skipped.')
      if set_aside:
        index = f'{self._prefix(candidate)}.index'
        os.replace(index, f'{index}.corrupt')
    if steps or list(self._folder.glob('*.corrupt')):
      raise UserError(
          f'No checkpoint in {self._folder} can be read '
          f'({", ".join(f"step {s}" for s in steps) or "all set aside"}): '
          'restore one from a backup, or start over in another --workdir.')
    return None

  def save(self, step: int, best_steps: Iterable[int] = ()) -> None:
    """Starts to write a checkpoint; returns within milliseconds.

    Waits for the previous save first, and deletes old checkpoints.

    Args:
      step: updates done.
      best_steps: steps whose checkpoints are kept however old they are.

    Raises:
      UserError: the previous save failed; the disk may be full.
    """
    self.wait()
    self._best_steps = tuple(best_steps)
    self._saving = step
    self._start_writing(step)
    if not self._settles_at_exit:
      # Runs before what TensorFlow has just registered, which prints stacks.
      atexit.register(self._settle)
      self._settles_at_exit = True

  def wait(self) -> None:
    """Waits until the last save is complete on disk.

    Raises:
      UserError: the save failed; the disk may be full.
    """
    if self._saving is None:
      return
    step, self._saving = self._saving, None
    self._checkpoint.sync()
    damage = self._damage(step)
    if damage:
      with contextlib.suppress(OSError):  # It may not exist.
        os.unlink(f'{self._prefix(step)}.index')
      self._start_writing(step)  # Raises the error of the background thread.
      raise self._failure(step, damage)
    self._flush(step)
    self._delete_old()

  def _damage(self, step):
    """Returns why a checkpoint just written cannot be read; None if it can.

    The index is written last. If the disk is full by then, a part of it is
    left, and TensorFlow reports that only at the next write.
    """
    if step not in self.steps():
      return 'it is missing after it was written'
    try:
      tf.train.load_checkpoint(self._prefix(step))  # Reads the index.
    except Exception as error:  # As in _try_restore.
      return first_line(error)
    return None

  def _flush(self, step):
    """Fsyncs a checkpoint so that it survives a power cut.

    Waits for the disk, which has written most of it by the next save.
    """
    for path in (*self._folder.glob(f'ckpt-{step}.*'), self._folder):
      file = os.open(path, os.O_RDONLY)
      try:
        os.fsync(file)
      except OSError as error:
        raise self._failure(step, error.strerror) from error
      finally:
        os.close(file)

  def _settle(self):
    """Waits for a save whose failure no longer matters.

    Keeps TensorFlow from printing a stack for that failure.
    """
    logging.set_verbosity(logging.FATAL)
    self._checkpoint.sync()
    show = sys.unraisablehook
    sys.unraisablehook = lambda one: (
        isinstance(one.exc_value, tf.errors.OpError) or show(one))

  def _start_writing(self, step):
    try:
      self._checkpoint.write(self._prefix(step), self._options)
    except (tf.errors.OpError, OSError) as error:
      self._saving = None
      raise self._failure(step, first_line(error)) from error

  def _failure(self, step, reason):
    kept = ', '.join(map(str, self.steps())) or 'none'
    return UserError(
        f'The checkpoint of step {step} could not be written to '
        f'{self._folder} ({reason}; complete ones: {kept}): free some space or '
        'fix the permissions, then rerun the same command.')

  def _try_restore(self, step):
    """Restores a checkpoint; returns None, or why it cannot be read."""
    try:
      self._checkpoint.restore(self._prefix(step)).assert_consumed()
    except Exception as error:  # IndexError, RuntimeError, OpError, ...: each
      return first_line(error)  # kind of damage raises another one.
    return None

  def _delete_old(self):
    steps = self.steps()
    kept = {*steps[-self._keep_last:], *self._best_steps}
    for step in steps:
      if step not in kept:
        # The index goes first: without it, the rest is not a checkpoint.
        for path in sorted(self._folder.glob(f'ckpt-{step}.*'),
                           key=lambda p: p.suffix != '.index'):
          path.unlink()

  def _prefix(self, step):
    return os.fspath(self._folder / f'ckpt-{step}')


def steps_in(folder: str | os.PathLike) -> list[int]:
  """Returns the steps of all complete checkpoints in a folder, ascending."""
  found = (re.fullmatch(r'ckpt-(\d+)\.index', path.name)
           for path in pathlib.Path(folder).glob('ckpt-*.index'))
  return sorted(int(match[1]) for match in found if match)
