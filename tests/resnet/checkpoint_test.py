"""Which checkpoints are kept and restored, and what a failed save costs."""
import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from configs.process.errors import TryAgain, UserError
from resnet.run import checkpoint
from tests.resnet import small_checkpoints, strategies

_CANNOT_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)


def test_an_empty_folder_has_no_checkpoint(tmp_path):
  assert small_checkpoints.restore(tmp_path)[0] is None
  assert small_checkpoints.restore(tmp_path / 'missing')[0] is None


def test_the_newest_or_a_given_step_is_restored_whole(tmp_path):
  small_checkpoints.save(tmp_path, [1, 2, 10])
  step, values = small_checkpoints.restore(tmp_path)
  assert step == 10  # As a number: '10' sorts before '2'.
  for value in values.values():
    assert (value == 10).all()
  step, values = small_checkpoints.restore(tmp_path, step=2)
  assert step == 2 and values['step'] == 2


@pytest.mark.parametrize('name', ['a [1] b', 'a*?', r'a\b', 'ä'])
def test_folders_may_have_any_name(tmp_path, name):
  (tmp_path / name).mkdir()
  small_checkpoints.save(tmp_path / name, [3])
  assert small_checkpoints.restore(tmp_path / name)[0] == 3


def test_every_replica_is_saved_and_restored(tmp_path):
  with strategies.on_cpus(2).scope():
    state = small_checkpoints.variables(7)
  checkpoints = checkpoint.Checkpoints(
      tmp_path, state, small_checkpoints.IDENTITY)
  checkpoints.save(7)
  checkpoints.wait()
  small_checkpoints.fill(state, -1)
  assert checkpoints.restore() == 7
  for variable in state.values():
    assert len(variable.values) == 2
    for copy in variable.values:
      assert (copy.numpy() == 7).all()
  # Devices may change at a restart.
  assert (small_checkpoints.restore(tmp_path)[1]['model/a/kernel'] == 7).all()


def test_a_save_holds_the_values_of_its_moment(tmp_path):
  variables = small_checkpoints.variables(1)
  checkpoints = checkpoint.Checkpoints(
      tmp_path, variables, small_checkpoints.IDENTITY)
  checkpoints.save(1)
  variables['model/a/kernel'].assign(np.full((30, 40), 99, np.float32))
  checkpoints.wait()
  assert (small_checkpoints.restore(tmp_path)[1]['model/a/kernel'] == 1).all()


def test_a_state_is_not_saved_as_another_step(tmp_path):
  variables = small_checkpoints.variables(4)
  checkpoints = checkpoint.Checkpoints(
      tmp_path, variables, small_checkpoints.IDENTITY)
  with pytest.raises(ValueError, match='step 4 is not 3'):
    checkpoints.save(3)
  checkpoints.wait()
  assert not small_checkpoints.contents(tmp_path)


@pytest.mark.parametrize('keep_last, best, kept', [
    (2, (), [5, 6]), (1, (2,), [2, 6]), (3, (1, 5), [1, 4, 5, 6])])
def test_last_and_best_are_kept(tmp_path, keep_last, best, kept):
  checkpoints = small_checkpoints.save(
      tmp_path, [1, 2, 3, 4, 5, 6], keep_last, best)
  assert checkpoints.steps() == kept
  names = {path.name.partition('.')[0] for path in tmp_path.glob('ckpt-*')}
  assert names == {f'ckpt-{step}' for step in kept}


def test_older_ones_are_deleted_when_the_next_is_on_disk(tmp_path, monkeypatch):
  flushed = []

  def fsync(file):
    # What would be left of the older one by a power cut now.
    flushed.append((os.readlink(f'/proc/self/fd/{file}'),
                    checkpoint.steps_in(tmp_path)))

  checkpoints = small_checkpoints.save(tmp_path, [1], keep_last=1)
  monkeypatch.setattr(os, 'fsync', fsync)
  small_checkpoints.save_another(checkpoints, 2)
  checkpoints.wait()
  assert flushed == [
      (f'{tmp_path}/ckpt-2.data-00000-of-00001.partial', [1]),
      (f'{tmp_path}/ckpt-2.index.partial', [1]),
      (f'{tmp_path}', [1, 2])]
  assert checkpoints.steps() == [2]


def _fail_with(number):
  def fail(*_, **__):
    raise OSError(number, os.strerror(number))
  return fail


@pytest.mark.parametrize('function', ['fsync', 'replace'])
@pytest.mark.parametrize('number, kind, remedy', [
    (errno.ENOSPC, UserError, 'free some space'),
    (errno.EDQUOT, UserError, 'free some space'),
    (errno.EACCES, UserError, 'fix the permissions'),
    (errno.EIO, TryAgain, 'rerun the same command'),
    (errno.ESTALE, TryAgain, 'rerun the same command')])
def test_a_save_that_fails_says_why_and_leaves_the_others(
    tmp_path, monkeypatch, function, number, kind, remedy):
  checkpoints = small_checkpoints.save(tmp_path, [1], keep_last=1)
  monkeypatch.setattr(os, function, _fail_with(number))
  small_checkpoints.save_another(checkpoints, 2)
  with pytest.raises(kind, match=(
      rf'step 2 .* {tmp_path} \({os.strerror(number)}; complete ones: 1\): '
      f'.*{remedy}')):
    checkpoints.wait()
  monkeypatch.undo()
  checkpoints.wait()  # Reported once; nothing is written in its place.
  assert checkpoints.steps() == [1] and len(list(tmp_path.iterdir())) == 2
  assert (small_checkpoints.restore(tmp_path)[1]['model/a/kernel'] == 1).all()


def test_the_next_save_reports_the_last_one(tmp_path, monkeypatch):
  checkpoints = small_checkpoints.save(tmp_path, [1])
  monkeypatch.setattr(os, 'fsync', _fail_with(errno.ENOSPC))
  small_checkpoints.save_another(checkpoints, 2)
  with pytest.raises(UserError, match='step 2 .*No space left'):
    small_checkpoints.save_another(checkpoints, 3)
  checkpoints.wait()
  assert checkpoints.steps() == [1]


def test_a_folder_that_is_gone_is_named(tmp_path):
  folder = tmp_path / 'checkpoints'
  folder.mkdir()
  checkpoints = small_checkpoints.save(folder, [1])
  moved = tmp_path / 'moved'
  folder.rename(moved)
  small_checkpoints.save_another(checkpoints, 2)
  with pytest.raises(UserError, match=rf'step 2 .* {folder} \(No such file'):
    checkpoints.wait()
  assert not folder.exists()
  folder.write_text('a file where the folder was')
  small_checkpoints.save_another(checkpoints, 3)
  with pytest.raises(UserError, match='step 3 could not be written'):
    checkpoints.wait()
  assert checkpoint.steps_in(moved) == [1]


def test_a_checkpoint_that_others_delete_is_never_written_again(
    tmp_path, monkeypatch):
  checkpoints = small_checkpoints.save(tmp_path, [1])
  replace = os.replace

  def replace_and_delete(source, target):
    replace(source, target)
    if target.suffix == '.index':
      target.unlink()

  monkeypatch.setattr(os, 'replace', replace_and_delete)
  small_checkpoints.save_another(checkpoints, 2)
  small_checkpoints.fill(checkpoints._variables, 3)  # The run goes on.
  with pytest.raises(UserError, match='step 2 .*another program deleted it'):
    checkpoints.wait()
  assert checkpoints.steps() == [1]
  monkeypatch.undo()
  checkpoints.save(3)  # Deleted while nobody looked.
  checkpoints.wait()
  (tmp_path / 'ckpt-3.index').unlink()
  small_checkpoints.save_another(checkpoints, 4)
  checkpoints.wait()
  assert checkpoints.steps() == [1, 4]


def test_a_folder_in_place_of_the_index_is_an_error(tmp_path):
  checkpoints = small_checkpoints.save(tmp_path, [1])
  (tmp_path / 'ckpt-2.index').mkdir()
  small_checkpoints.save_another(checkpoints, 2)
  with pytest.raises(UserError, match='step 2 .*Is a directory'):
    checkpoints.wait()


def test_what_reads_back_wrong_never_exists(tmp_path, monkeypatch):
  """As from a disk that writes other bytes than it was given."""
  checkpoints = small_checkpoints.save(tmp_path, [1])

  def fsync(file):
    path = os.readlink(f'/proc/self/fd/{file}')
    if '.data-' in path:
      with open(path, 'r+b') as damaged:
        damaged.seek(100)
        damaged.write(b'\xff')

  monkeypatch.setattr(os, 'fsync', fsync)
  small_checkpoints.save_another(checkpoints, 2)
  with pytest.raises(TryAgain, match='step 2 .*reads back wrong'):
    checkpoints.wait()
  assert checkpoints.steps() == [1] and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('number', _CANNOT_FSYNC)
def test_file_systems_that_cannot_fsync_are_warned_of_once(
    tmp_path, monkeypatch, capsys, number):
  monkeypatch.setattr(os, 'fsync', _fail_with(number))
  small_checkpoints.save(tmp_path, [1, 2])
  monkeypatch.undo()
  assert small_checkpoints.restore(tmp_path)[0] == 2
  assert capsys.readouterr().err == (
      f'warning: the file system of {tmp_path} cannot fsync: a power cut may '
      'lose the newest checkpoint.\n')


def test_sweep_deletes_what_a_killed_save_left(tmp_path):
  checkpoints = small_checkpoints.save(tmp_path, [1, 2])
  (tmp_path / 'ckpt-2.index').rename(tmp_path / 'ckpt-2.index.corrupt')
  before = small_checkpoints.contents(tmp_path)
  (tmp_path / 'ckpt-3_temp').mkdir()
  (tmp_path / 'ckpt-3_temp' / 'part-00000').write_bytes(b'half')
  for name in ('ckpt-3.data-00000-of-00001', 'ckpt-3.index.partial',
               'ckpt-4.data-00000-of-00001.partial'):
    (tmp_path / name).write_bytes(b'no index yet')
  notes = {'notes.txt': b'mine', 'best.data-1': b'mine too'}
  for name, content in notes.items():
    (tmp_path / name).write_bytes(content)
  checkpoints.sweep()
  assert checkpoints.steps() == [1]
  assert small_checkpoints.contents(tmp_path) == before | notes


def test_a_run_cannot_end_well_if_its_last_save_failed(tmp_path, monkeypatch):
  checkpoints = small_checkpoints.save(tmp_path, [1])
  monkeypatch.setattr(os, 'fsync', _fail_with(errno.ENOSPC))
  with pytest.raises(UserError, match='step 2 .*No space left'):
    with checkpoints:
      small_checkpoints.save_another(checkpoints, 2)


def test_a_run_that_fails_keeps_its_error_and_its_last_save(
    tmp_path, monkeypatch, capsys):
  checkpoints = small_checkpoints.save(tmp_path, [1])
  with pytest.raises(KeyError):
    with checkpoints:
      small_checkpoints.save_another(checkpoints, 2)
      raise KeyError
  assert checkpoints.steps() == [1, 2]
  monkeypatch.setattr(os, 'fsync', _fail_with(errno.ENOSPC))
  with pytest.raises(KeyError):
    with checkpoints:
      small_checkpoints.save_another(checkpoints, 3)
      raise KeyError
  assert 'warning: The checkpoint of step 3' in capsys.readouterr().err


@pytest.mark.slow
def test_a_save_that_fails_at_exit_prints_no_stack(tmp_path):
  script = """if True:
      import pathlib
      import sys
      import tensorflow as tf
      from resnet.run import checkpoint
      folder = pathlib.Path(sys.argv[1])
      step = tf.Variable(1, dtype=tf.int64)
      checkpoints = checkpoint.Checkpoints(folder, {'step': step}, {})
      checkpoints.save(1)
      checkpoints.wait()
      folder.rename(folder.with_name('moved'))
      folder.write_text('a file where the folder was')
      step.assign(2)
      checkpoints.save(2)
      """
  folder = tmp_path / 'checkpoints'
  folder.mkdir()
  done = subprocess.run(
      [sys.executable, '-c', script, folder], capture_output=True, text=True,
      check=False, env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'})
  assert done.returncode == 0 and folder.is_file()
  assert 'Traceback' not in done.stderr and 'Error' not in done.stderr


def test_tensorflow_reads_the_names_as_they_are(tmp_path):
  small_checkpoints.save(tmp_path, [5])
  reader = tf.train.load_checkpoint(os.fspath(tmp_path / 'ckpt-5'))
  assert reader.get_variable_to_shape_map() == {
      'step': [], 'identity': [], 'model/a/kernel': [30, 40],
      'momentum/a/kernel': [30, 40]}
  assert reader.get_tensor('step') == 5
  assert reader.get_tensor('identity') == (
      b'{"data": {"classes": ["a", "b"], "train": {"examples": 10}}}')
