"""Which checkpoints are kept and restored, and what a damaged one costs."""
import errno
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from configs.process.errors import UserError
from resnet.run import checkpoint


def _variables(value=0.0):
  return {'step': tf.Variable(0, dtype=tf.int64),
          'model/a/kernel': tf.Variable(np.full((3, 2), value, np.float32)),
          'momentum/a/kernel': tf.Variable(np.full((3, 2), -value, np.float32))}


def _saved(folder, steps, keep_last=3, best=()):
  """Writes checkpoints that each hold their step in all variables."""
  variables = _variables()
  checkpoints = checkpoint.Checkpoints(folder, variables, keep_last)
  for step in steps:
    for variable in variables.values():
      variable.assign(tf.fill(variable.shape, tf.cast(step, variable.dtype)))
    checkpoints.save(step, best)
  checkpoints.wait()
  return checkpoints


def _restored(folder, step=None, **kwargs):
  variables = _variables(-1.0)
  found = checkpoint.Checkpoints(folder, variables).restore(step, **kwargs)
  return found, {name: v.numpy() for name, v in variables.items()}


def test_an_empty_folder_has_no_checkpoint(tmp_path):
  assert _restored(tmp_path)[0] is None


def test_the_newest_or_a_given_step_is_restored_whole(tmp_path):
  _saved(tmp_path, [1, 2, 10])
  step, values = _restored(tmp_path)
  assert step == 10  # As a number: '10' sorts before '2'.
  for value in values.values():
    assert (value == 10).all()
  step, values = _restored(tmp_path, step=2)
  assert step == 2 and values['step'] == 2


def test_a_save_holds_the_values_of_its_moment(tmp_path):
  variables = _variables(1.0)
  checkpoints = checkpoint.Checkpoints(tmp_path, variables)
  checkpoints.save(1)
  variables['model/a/kernel'].assign(np.full((3, 2), 99, np.float32))
  checkpoints.wait()
  assert (_restored(tmp_path)[1]['model/a/kernel'] == 1).all()


@pytest.mark.parametrize('keep_last, best, kept', [
    (2, (), [5, 6]), (1, (2,), [2, 6]), (3, (1, 5), [1, 4, 5, 6])])
def test_last_and_best_are_kept(tmp_path, keep_last, best, kept):
  checkpoints = _saved(tmp_path, [1, 2, 3, 4, 5, 6], keep_last, best)
  assert checkpoints.steps() == kept
  names = {path.name.partition('.')[0] for path in tmp_path.glob('ckpt-*')}
  assert names == {f'ckpt-{step}' for step in kept}


def test_older_ones_are_deleted_when_the_next_is_on_disk(tmp_path, monkeypatch):
  flushed = []

  def fsync(file):
    # What would be left of the older one by a power cut now.
    flushed.append((os.readlink(f'/proc/self/fd/{file}'),
                    checkpoint.steps_in(tmp_path)))

  checkpoints = _saved(tmp_path, [1], keep_last=1)
  monkeypatch.setattr(os, 'fsync', fsync)
  checkpoints.save(2)
  checkpoints.wait()
  assert sorted(flushed) == [
      (f'{tmp_path}', [1, 2]),
      (f'{tmp_path}/ckpt-2.data-00000-of-00001', [1, 2]),
      (f'{tmp_path}/ckpt-2.index', [1, 2])]
  assert checkpoints.steps() == [2]


def test_a_disk_that_fails_late_is_reported(tmp_path, monkeypatch):
  def fsync(_):
    raise OSError(errno.EIO, 'Input/output error')

  checkpoints = _saved(tmp_path, [1], keep_last=1)
  monkeypatch.setattr(os, 'fsync', fsync)
  checkpoints.save(2)
  with pytest.raises(UserError, match='step 2 .*Input/output error'):
    checkpoints.wait()
  assert 1 in checkpoints.steps()


def test_sweep_deletes_what_a_killed_save_left(tmp_path):
  checkpoints = _saved(tmp_path, [1, 2])
  (tmp_path / 'ckpt-3_temp').mkdir()
  (tmp_path / 'ckpt-3_temp' / 'part-00000').write_bytes(b'half')
  (tmp_path / 'ckpt-3.data-00000-of-00001').write_bytes(b'no index yet')
  checkpoints.sweep()
  assert checkpoints.steps() == [1, 2]
  assert not list(tmp_path.glob('ckpt-3*'))


def _truncate(path):
  path.write_bytes(path.read_bytes()[:-20])


def _flip_a_bit(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 3] ^= 4
  path.write_bytes(content)


@pytest.mark.parametrize(
    'damage', [_truncate, _flip_a_bit, pathlib.Path.unlink])
@pytest.mark.parametrize('file', ['ckpt-3.index', 'ckpt-3.data-00000-of-00001'])
def test_a_damaged_newest_is_set_aside_and_the_one_before_restored(
    tmp_path, capsys, damage, file):
  _saved(tmp_path, [1, 2, 3])
  damage(tmp_path / file)
  step, values = _restored(tmp_path)
  assert step == 2 and (values['momentum/a/kernel'] == 2).all()
  if (damage, file) != (pathlib.Path.unlink, 'ckpt-3.index'):
    assert 'ckpt-3 cannot be read' in capsys.readouterr().err
    # Set aside, so that the next start does not try it again.
    assert checkpoint.steps_in(tmp_path) == [1, 2]


def test_readers_do_not_rename_a_damaged_one(tmp_path):
  _saved(tmp_path, [1, 2])
  _truncate(tmp_path / 'ckpt-2.data-00000-of-00001')
  assert _restored(tmp_path, set_aside=False)[0] == 1
  assert checkpoint.steps_in(tmp_path) == [1, 2]


def test_no_readable_one_is_an_error_and_stays_one(tmp_path):
  _saved(tmp_path, [1, 2])
  for path in tmp_path.glob('*.data*'):
    _truncate(path)
  for _ in range(2):
    with pytest.raises(UserError, match='No checkpoint in'):
      _restored(tmp_path)
  checkpoint.Checkpoints(tmp_path, _variables()).sweep()
  assert len(list(tmp_path.glob('*.data*'))) == 2  # Nothing saved is lost.


def test_a_missing_step_names_the_existing_ones(tmp_path):
  _saved(tmp_path, [1, 2])
  with pytest.raises(UserError, match='step 7 .* one of 1, 2'):
    _restored(tmp_path, step=7)


def test_a_save_that_fails_leaves_the_others(tmp_path):
  folder = tmp_path / 'checkpoints'
  folder.mkdir()
  checkpoints = _saved(folder, [1])
  moved = tmp_path / 'moved'
  folder.rename(moved)
  folder.write_text('a file where the folder was')
  with pytest.raises(UserError, match='step 2 could not be written'):
    checkpoints.save(2)
    checkpoints.wait()
  assert checkpoint.steps_in(moved) == [1]


def test_a_save_that_fails_at_exit_prints_no_stack(tmp_path):
  script = """if True:
      import pathlib
      import sys
      import tensorflow as tf
      from resnet.run import checkpoint
      folder = pathlib.Path(sys.argv[1])
      checkpoints = checkpoint.Checkpoints(folder, {'a': tf.Variable(1.0)})
      checkpoints.save(1)
      checkpoints.wait()
      folder.rename(folder.with_name('moved'))
      folder.write_text('a file where the folder was')
      checkpoints.save(2)
      """
  folder = tmp_path / 'checkpoints'
  folder.mkdir()
  done = subprocess.run(
      [sys.executable, '-c', script, folder], capture_output=True, text=True,
      check=False, env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'})
  assert done.returncode == 0 and folder.is_file()
  assert 'Traceback' not in done.stderr and 'Error' not in done.stderr


@pytest.mark.parametrize('damage', [
    lambda index: index.write_bytes(b''), _truncate, _flip_a_bit])
def test_a_save_whose_index_is_incomplete_replaces_no_other(tmp_path, damage):
  """A full disk leaves such an index, and TensorFlow does not report it."""
  checkpoints = _saved(tmp_path, [1], keep_last=1)
  sync = checkpoints._checkpoint.sync

  def write(*_):
    raise tf.errors.ResourceExhaustedError(None, None, 'No space left')

  def sync_and_damage():
    sync()
    damage(tmp_path / 'ckpt-2.index')
    checkpoints._checkpoint.sync = sync
    checkpoints._checkpoint.write = write  # What went wrong before.

  checkpoints._checkpoint.sync = sync_and_damage
  checkpoints.save(2)
  with pytest.raises(
      UserError, match=r'step 2 .*\(No space left; complete ones: 1\)'):
    checkpoints.wait()
  assert _restored(tmp_path)[0] == 1
