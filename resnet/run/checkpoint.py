"""Checkpoints that survive being killed at any moment.

1. A checkpoint holds variables by name and nothing else: the place in the data
   is the step. 2. It is written beside the training, and exists once its index
   file does. 3. The newest one that reads without error is restored; one that
   does not is set aside under another name and the one before it is taken.
4. The last few and the best few are kept; none is deleted, and no run is done,
before the next one is on disk.

  checkpoints = Checkpoints(folder, state.paths, keep_last=3)
  step = checkpoints.restore()
  checkpoints.save(step, best_steps=[400])
  checkpoints.wait()
"""
import atexit
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
  """The checkpoints of one run in one folder; only the chief saves."""

  def __init__(self, folder, variables, keep_last=3):
    """Args: folder, {name: tf.Variable}, and how many of the newest to keep."""
    self._folder = pathlib.Path(folder)
    self._keep_last = keep_last
    # Plain variables in a plain dict: with Keras objects in it, writing in the
    # background fails.
    self._checkpoint = tf.train.Checkpoint(variables=dict(variables))
    self._options = tf.train.CheckpointOptions(enable_async=True)
    self._best_steps, self._saving = (), None
    self._settles_at_exit = False

  def steps(self):
    """The steps of all complete checkpoints, ascending."""
    return steps_in(self._folder)

  def sweep(self):
    """Deletes what a killed save has left behind, and data without an index."""
    for path in self._folder.glob('*_temp'):
      shutil.rmtree(path, ignore_errors=True)
    complete = {f'ckpt-{step}' for step in self.steps()}
    for path in self._folder.glob('ckpt-*.data-*'):
      if path.name.partition('.')[0] not in complete and not path.with_name(
          f'{path.name.partition(".")[0]}.index.corrupt').exists():
        path.unlink()

  def restore(self, step=None, set_aside=True):
    """Restores the newest readable checkpoint, or exactly that of `step`.

    Args:
      step: int, or None for the newest.
      set_aside: whether to rename checkpoints that cannot be read.

    Returns:
      The step restored; None if there is no checkpoint at all.

    Raises:
      UserError: that step's is missing or corrupt, or all of them are corrupt.
    """
    steps = self.steps()
    if step is not None:
      if step not in steps:
        raise UserError(
            f'There is no checkpoint of step {step} in {self._folder}: choose '
            f'one of {", ".join(map(str, steps)) or "none"}.')
      steps = [step]
    for candidate in reversed(steps):
      reason = self._try_restore(candidate)
      if reason is None:
        return candidate
      command_line.warn(f'checkpoint {self._prefix(candidate)} cannot be read '
                        f'({reason}) and is left out.')
      if set_aside:
        index = f'{self._prefix(candidate)}.index'
        os.replace(index, f'{index}.corrupt')
    if steps or list(self._folder.glob('*.corrupt')):
      raise UserError(
          f'No checkpoint in {self._folder} can be read '
          f'({", ".join(f"step {s}" for s in steps) or "all set aside"}): '
          'bring one back from a copy, or train anew in another --workdir.')
    return None

  def save(self, step, best_steps=()):
    """Starts writing the state as that of `step`; returns within milliseconds.

    Waits for the save before it, and deletes those no longer kept.

    Args:
      step: int, updates done.
      best_steps: steps whose checkpoints stay whatever their age.

    Raises:
      UserError: the save before this one failed (a full disk, say).
    """
    self.wait()
    self._best_steps = tuple(best_steps)
    self._saving = step
    self._start_writing(step)
    if not self._settles_at_exit:
      # Called before what TensorFlow has just registered, which shows stacks.
      atexit.register(self._settle)
      self._settles_at_exit = True

  def wait(self):
    """Returns once the last save is complete on disk. Raises as `save`."""
    if self._saving is None:
      return
    step, self._saving = self._saving, None
    self._checkpoint.sync()
    damage = self._damage(step)
    if damage:
      with contextlib.suppress(OSError):  # It may not even be there.
        os.unlink(f'{self._prefix(step)}.index')
      self._start_writing(step)  # Raises what went wrong in the background.
      raise self._failure(step, damage)
    self._flush(step)
    self._delete_old()

  def _damage(self, step):
    """Why a checkpoint cannot be read after writing; None if it can.

    A disk that is full when the index is written, last of all, leaves a part of
    it, and TensorFlow says so at the next write only. Its data stand before.
    """
    if step not in self.steps():
      return 'it is not there after writing'
    try:
      tf.train.load_checkpoint(self._prefix(step))  # Reads the index.
    except Exception as error:  # As in _try_restore.
      return first_line(error)
    return None

  def _flush(self, step):
    """Has a checkpoint outlive a power cut. Waits for the disk, which has most
    of it by the time of the next save.
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
    """Waits for a save whose failure matters no more: TensorFlow, which raises
    it next, is to show no stack.
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
        f'{self._folder} ({reason}; complete ones: {kept}): free space or mend '
        'permissions there and give the same command again.')

  def _try_restore(self, step):
    """None if restored, else why not."""
    try:
      self._checkpoint.restore(self._prefix(step)).assert_consumed()
    except Exception as error:  # IndexError, RuntimeError, OpError, ...: the
      return first_line(error)  # reader has one for each kind of damage.
    return None

  def _delete_old(self):
    steps = self.steps()
    kept = {*steps[-self._keep_last:], *self._best_steps}
    for step in steps:
      if step not in kept:
        # The index first: what has none does not count as a checkpoint.
        for path in sorted(self._folder.glob(f'ckpt-{step}.*'),
                           key=lambda p: p.suffix != '.index'):
          path.unlink()

  def _prefix(self, step):
    return os.fspath(self._folder / f'ckpt-{step}')


def steps_in(folder):
  """The steps of all complete checkpoints in a folder, ascending."""
  found = (re.fullmatch(r'ckpt-(\d+)\.index', path.name)
           for path in pathlib.Path(folder).glob('ckpt-*.index'))
  return sorted(int(match[1]) for match in found if match)
