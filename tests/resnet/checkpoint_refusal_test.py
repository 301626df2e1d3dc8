"""What is damaged, not of this run, or not readable now, is told apart."""
import errno
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from configs.process.errors import TryAgain, UserError
from resnet.run import checkpoint, checkpoint_file
from tests.resnet import small_checkpoints

_INDEX, _DATA = 'ckpt-3.index', 'ckpt-3.data-00000-of-00001'


def _truncate(path):
  path.write_bytes(path.read_bytes()[:-20])


def _flip_a_bit(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 3] ^= 4
  path.write_bytes(content)


def _zero_a_page(path):
  content = path.read_bytes()
  path.write_bytes(content[:100] + bytes(4096) + content[4196:])


def _empty(path):
  path.write_bytes(b'')


def _make_folder(path):
  path.unlink()
  path.mkdir()


def _link_to_nothing(path):
  path.unlink()
  path.symlink_to('nowhere')


@pytest.mark.parametrize('damage', [
    _truncate, _flip_a_bit, _zero_a_page, _empty, _make_folder,
    _link_to_nothing, pathlib.Path.unlink])
@pytest.mark.parametrize('file', [_INDEX, _DATA])
def test_a_damaged_newest_is_set_aside_and_the_one_before_restored(
    tmp_path, capsys, damage, file):
  small_checkpoints.save(tmp_path, [1, 2, 3])
  damage(tmp_path / file)
  step, values = small_checkpoints.restore(tmp_path)
  assert step == 2
  for value in values.values():
    assert (value == 2).all()
  # Set aside, so that the next start does not try it again.
  assert checkpoint.steps_in(tmp_path) == [1, 2]
  if (damage, file) != (pathlib.Path.unlink, _INDEX):
    assert os.path.lexists(tmp_path / f'{_INDEX}.corrupt')
    said = capsys.readouterr().err
    assert f'ckpt-3 is damaged ({file}' in said
    assert f'renamed to {_INDEX}.corrupt' in said


@pytest.mark.parametrize('file', [_INDEX, _DATA])
def test_one_damaged_byte_anywhere_costs_one_checkpoint(tmp_path, file):
  small_checkpoints.save(tmp_path, [1, 2, 3])
  content = (tmp_path / file).read_bytes()
  restored = []
  for place in range(0, len(content), 1 if file == _INDEX else 41):
    damaged = bytearray(content)
    damaged[place] ^= 1 << place % 8
    (tmp_path / file).write_bytes(damaged)
    step, values = small_checkpoints.restore(tmp_path, set_aside=False)
    for value in values.values():
      assert (value == step).all()
    restored.append(step)
  # Nothing depends on an index's block of other properties (8 + 5 bytes), nor
  # on what fills up its footer.
  assert set(restored) == ({2, 3} if file == _INDEX else {2})
  assert restored.count(3) < 8 + 5 + 40


def test_readers_do_not_rename_a_damaged_one(tmp_path, capsys):
  small_checkpoints.save(tmp_path, [1, 2, 3])
  _truncate(tmp_path / _DATA)
  before = small_checkpoints.contents(tmp_path)
  assert small_checkpoints.restore(tmp_path, set_aside=False)[0] == 2
  with pytest.raises(UserError, match=(
      f'step 3 is damaged .*{_DATA}: .*: choose one of 1, 2')):
    small_checkpoints.restore(tmp_path, step=3)
  assert small_checkpoints.contents(tmp_path) == before
  assert 'ckpt-3 is damaged' in capsys.readouterr().err


def test_readers_pass_over_what_is_deleted_meanwhile(
    tmp_path, monkeypatch, capsys):
  small_checkpoints.save(tmp_path, [1, 2, 3])
  read = checkpoint_file.read

  def delete_and_read(prefix):
    for path in tmp_path.glob('ckpt-3.*'):
      path.unlink()
    return read(prefix)

  monkeypatch.setattr(checkpoint_file, 'read', delete_and_read)
  assert small_checkpoints.restore(tmp_path, set_aside=False)[0] == 2
  assert not capsys.readouterr().err


def test_no_readable_one_is_an_error_and_stays_one(tmp_path):
  small_checkpoints.save(tmp_path, [1, 2])
  for path in tmp_path.glob('*.data*'):
    _truncate(path)
  for _ in range(2):
    with pytest.raises(UserError, match='No checkpoint in'):
      small_checkpoints.restore(tmp_path)
  checkpoint.Checkpoints(tmp_path, small_checkpoints.variables(), {}).sweep()
  assert len(list(tmp_path.glob('*.data*'))) == 2  # Nothing saved is lost.


@pytest.mark.parametrize('number, kind', [
    (errno.EROFS, UserError), (errno.EIO, TryAgain)])
def test_one_that_cannot_be_set_aside_is_not_passed_over(
    tmp_path, monkeypatch, number, kind):
  def fail(*_):
    raise OSError(number, os.strerror(number))
  small_checkpoints.save(tmp_path, [1, 3])
  _truncate(tmp_path / _DATA)
  monkeypatch.setattr(os, 'replace', fail)
  with pytest.raises(kind, match=f'cannot be renamed .{os.strerror(number)}'):
    small_checkpoints.restore(tmp_path)


def test_a_missing_step_names_the_existing_ones(tmp_path):
  with pytest.raises(UserError, match='no checkpoint of step 7 .*train first'):
    small_checkpoints.restore(tmp_path, step=7)
  small_checkpoints.save(tmp_path, [1, 2])
  with pytest.raises(UserError, match='step 7 .* one of 1, 2'):
    small_checkpoints.restore(tmp_path, step=7)


def test_other_names_are_not_checkpoints(tmp_path):
  small_checkpoints.save(tmp_path, [1])
  for name in ('ckpt-007.index', 'ckpt-2.index.partial', 'ckpt--3.index',
               'ckpt-².index', f'ckpt-{10**30}.index', 'ckpt-4.index\n'):
    (tmp_path / name).write_bytes(b'')
  before = small_checkpoints.contents(tmp_path)
  assert small_checkpoints.restore(tmp_path)[0] == 1
  assert small_checkpoints.contents(tmp_path) == before


def _refusal(folder, kind, **kwargs):
  """Restores what must be refused; returns the sentence."""
  before = small_checkpoints.contents(folder)
  state = kwargs.pop('state', None) or small_checkpoints.variables(-1)
  with pytest.raises(kind) as caught:
    small_checkpoints.restore(folder, state=state, **kwargs)
  # Nothing is touched.
  assert small_checkpoints.contents(folder) == before
  for variable in state.values():
    assert (variable.numpy() == -1).all()
  text = str(caught.value)
  assert text.endswith('.') and 'nothing was changed' in text
  return text


@pytest.mark.parametrize('others, words', [
    ({'model/a/kernel': tf.Variable(np.full((30, 41), -1, np.float32))},
     ['model/a/kernel is float32 [30, 40] there, float32 [30, 41] here']),
    ({'model/a/kernel': tf.Variable(np.full((30, 40), -1, np.float16))},
     ['model/a/kernel is float32 [30, 40] there, float16 [30, 40] here']),
    ({'step': tf.Variable(-1, dtype=tf.int32)},
     ['step is int64 [] there, int32 [] here']),
    ({'velocity': tf.Variable(-1.0)}, ['it lacks velocity']),
    ({f'v{i}': tf.Variable(-1.0) for i in range(5)},
     ['it lacks v0, v1, v2 and 2 more'])])
def test_other_variables_are_refused_with_both_sides_named(
    tmp_path, others, words):
  """As after a change of the classes, which changes the last layer's shape."""
  small_checkpoints.save(tmp_path, [1, 2, 3])
  text = _refusal(
      tmp_path, UserError, state=small_checkpoints.variables(-1, **others))
  for word in ['ckpt-3 is not one of this run', *words]:
    assert word in text


def test_unknown_variables_are_refused(tmp_path):
  small_checkpoints.save(tmp_path, [3])
  state = small_checkpoints.variables(-1)
  del state['model/a/kernel']
  text = _refusal(tmp_path, UserError, state=state)
  assert 'it has the unknown model/a/kernel)' in text


def test_checkpoints_of_other_programs_are_refused(tmp_path):
  tf.train.Checkpoint(variables=small_checkpoints.variables()).write(
      os.fspath(tmp_path / 'ckpt-3'))
  text = _refusal(tmp_path, UserError)
  assert 'it lacks identity, model/a/kernel, momentum/a/kernel and 1' in text
  assert 'it has the unknown _CHECKPOINTABLE_OBJECT_GRAPH' in text


def test_a_renamed_one_is_refused(tmp_path):
  small_checkpoints.save(tmp_path, [1, 3])
  for path in tmp_path.glob('ckpt-3.*'):
    path.rename(path.with_name(path.name.replace('ckpt-3', 'ckpt-8')))
  assert 'ckpt-8 is not one of this run (it holds step 3, not 8)' in _refusal(
      tmp_path, UserError)


def test_one_beyond_the_end_of_the_run_is_refused(tmp_path):
  small_checkpoints.save(tmp_path, [1, 3])
  assert '(the run ends at step 2)' in _refusal(
      tmp_path, UserError, last_step=2)
  assert small_checkpoints.restore(tmp_path, last_step=3)[0] == 3


def _with_config(**changes):
  return {'config': schema.to_dict(schema.Config(**changes)),
          'data': {'train': {'digest': 'ab' * 40, 'examples': 10}}}


def _save_one(folder, identity):
  state = small_checkpoints.variables(3)
  checkpoints = checkpoint.Checkpoints(folder, state, identity)
  checkpoints.save(3)
  checkpoints.wait()


@pytest.mark.parametrize('identity, words', [
    (_with_config(seed=7), 'config.seed is 0 there, 7 here'),
    (_with_config(model=schema.Model(depth=8), train_epochs=2),
     'config.model.depth is 20 there, 8 here; config.train_epochs is '),
    ({**_with_config(), 'data': None}, 'data differs)'),
    ({**_with_config(), 'data': {'train': {'digest': 'cd' * 40,
                                           'examples': 11}}},
     'data.train.digest differs; data.train.examples is 10 there, 11 here'),
    ({**_with_config(), 'more': 1}, 'more is None there, 1 here')])
def test_one_of_another_run_is_refused_with_the_fields_named(
    tmp_path, identity, words):
  _save_one(tmp_path, _with_config())
  text = _refusal(tmp_path, UserError, identity=identity)
  assert f'ckpt-3 is not one of this run ({words}' in text


def test_only_what_is_known_is_compared(tmp_path):
  """`evaluate` may not know the data; later versions have more fields."""
  saved = _with_config(seed=7)
  del saved['config']['label_smoothing']
  _save_one(tmp_path, saved)
  ours = _with_config(seed=7)
  for identity in ({'config': ours['config']}, ours):
    found, _ = small_checkpoints.restore(tmp_path, identity=identity)
    assert found == 3
  other = _with_config(seed=7, label_smoothing=0.5)
  assert 'config.label_smoothing is 0.0 there, 0.5 here' in _refusal(
      tmp_path, UserError, identity=other)


_NOW = (errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE, errno.ETIMEDOUT,
        errno.ENOMEM)


@pytest.mark.parametrize('number', _NOW)
@pytest.mark.parametrize('name', [_INDEX, _DATA])
@pytest.mark.parametrize('function', ['stat', 'open', 'read'])
def test_what_cannot_be_read_now_is_left_alone(
    tmp_path, monkeypatch, number, name, function):
  small_checkpoints.save(tmp_path, [1, 2, 3])
  opened, stat = pathlib.Path.open, os.stat

  def fail(*_):
    raise OSError(number, os.strerror(number))

  def failing_stat(path, *args, **kwargs):
    if function == 'stat' and str(path).endswith(name):
      fail()
    return stat(path, *args, **kwargs)

  def failing_open(path, *args):
    if function == 'open' and path.name == name:
      fail()
    return opened(path, *args)

  class FailingFile:
    """Fails while it is read, as a disk with a bad sector does."""

    def __init__(self, file):
      self._file = file

    def __enter__(self):
      return self

    def __exit__(self, *_):
      self._file.close()

    def __getattr__(self, attribute):
      if attribute in ('read', 'readinto') and self._file.name.endswith(name):
        return fail
      return getattr(self._file, attribute)

  open_file = checkpoint_file._open
  if function == 'read':
    monkeypatch.setattr(checkpoint_file, '_open',
                        lambda path: FailingFile(open_file(path)))
  before = small_checkpoints.contents(tmp_path)
  state = small_checkpoints.variables(-1)
  monkeypatch.setattr(os, 'stat', failing_stat)
  monkeypatch.setattr(pathlib.Path, 'open', failing_open)
  for step in (None, 3):
    with pytest.raises(TryAgain, match=(
        rf'ckpt-3 cannot be read now \({os.strerror(number)}\)')):
      small_checkpoints.restore(tmp_path, step, state)
  monkeypatch.undo()
  assert small_checkpoints.contents(tmp_path) == before
  assert state['step'].numpy() == -1
  assert small_checkpoints.restore(tmp_path)[0] == 3


def test_too_little_memory_is_not_damage(tmp_path, monkeypatch):
  def fail(*_):
    raise MemoryError
  small_checkpoints.save(tmp_path, [1, 3])
  monkeypatch.setattr(checkpoint_file, '_tensor', fail)
  assert 'cannot be read now (not enough memory)' in _refusal(
      tmp_path, TryAgain)


@pytest.mark.parametrize('number, kind', [
    (errno.EACCES, TryAgain), (errno.EIO, TryAgain),
    (errno.ENOTDIR, UserError)])
def test_a_folder_that_cannot_be_listed_is_not_empty(
    tmp_path, monkeypatch, number, kind):
  def fail(_):
    raise OSError(number, os.strerror(number))
  small_checkpoints.save(tmp_path, [1, 2])
  monkeypatch.setattr(os, 'listdir', fail)
  with pytest.raises(kind, match=f'cannot be listed .{os.strerror(number)}'):
    small_checkpoints.restore(tmp_path)
