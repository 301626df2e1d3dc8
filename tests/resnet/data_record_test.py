"""A run goes on with the data that it began with, and with no others."""
import functools
import json
import os
import pathlib
import re
import shutil
import signal

import pytest
import tensorflow as tf

from configs.process.errors import UserError
from launch.local import worker_environment
from pipelines import identity, sources
from pipelines.options import Reading
from resnet.run import data_record
from tests import processes, tiny_dataset

_CLASSES = ('cat', 'dog')
_HEX = '[0-9a-f]{8}'


def _record(data_dir, train='train', evaluation='test', name='own'):
  reading = Reading(os.fspath(data_dir))
  return identity.record(*(
      sources.open_split(name, split, reading).identity
      for split in (train, evaluation)))


def _check(tmp_path, before, now):
  """Returns what the check of a run folder says; raises if it refuses."""
  run = tmp_path / 'run'
  run.mkdir()
  (run / data_record.FILE).write_text(json.dumps(before))
  return data_record.check(run, now)


@pytest.mark.parametrize('changes, differences', [
    ({'classes': _CLASSES[::-1]},
     ['classes: cat, dog -> dog, cat']),
    ({'classes': ('cat', 'hound')}, ['classes: cat, dog -> cat, hound']),
    ({'classes': ('cat', 'cow', 'dog')},
     ['number of classes: 2 -> 3', 'content of the training split: ']),
    ({'count': 44}, ['examples of the training split: 40 -> 44']),
    ({'count': 36}, ['examples of the training split: 40 -> 36']),
    ({'seed': 1}, [f'content of the training split: {_HEX} -> {_HEX}',
                   f'content of the evaluation split: {_HEX} -> {_HEX}']),
    ({'version': '2.0.0'}, ['version: 1.0.0 -> 2.0.0'])])
def test_other_data_are_refused(tmp_path, changes, differences):
  """They are in another folder, under the same name."""
  for folder, arguments in (('old', {}), ('new', changes)):
    tiny_dataset.prepare_own(tmp_path / folder, **arguments)
  version = changes.get('version')
  with pytest.raises(UserError) as raised:
    _check(tmp_path, _record(tmp_path / 'old'), _record(
        tmp_path / 'new', name=f'own:{version}' if version else 'own'))
  sentence = str(raised.value)
  assert sentence.startswith(
      f'--workdir={tmp_path}/run holds a run on other data (')
  assert sentence.endswith(
      '): restore the data that it began with, or give the --data_dir that '
      'holds them, or give another --workdir.')
  for difference in differences:
    assert re.search(difference, sentence), sentence


def test_a_slice_of_a_set_that_has_grown_is_refused(tmp_path):
  for folder, count in (('old', 40), ('new', 44)):
    tiny_dataset.prepare_own(tmp_path / folder, count=count)
  with pytest.raises(UserError, match='training split: 36 -> 40'):
    _check(tmp_path, *(_record(tmp_path / folder, 'train[:90%]')
                       for folder in ('old', 'new')))


def _exchange(folder):
  """Exchanges two records of a file, which keeps its time."""
  path, = pathlib.Path(folder).glob('*train*')
  before = os.stat(path)
  frames = list(tf.data.TFRecordDataset(os.fspath(path)).as_numpy_iterator())
  frames[7], frames[9] = frames[9], frames[7]
  with tf.io.TFRecordWriter(os.fspath(path)) as writer:
    for frame in frames:
      writer.write(frame)
  os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
  assert os.path.getsize(path) == before.st_size


def test_records_that_are_exchanged_in_place_are_noticed(tmp_path, monkeypatch):
  """The file has its old size and time, and its index was cached."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  folder = tiny_dataset.prepare_own(tmp_path / 'data')
  before = _record(tmp_path / 'data')
  _exchange(folder)
  with pytest.raises(UserError, match='content of the training split'):
    _check(tmp_path, before, _record(tmp_path / 'data'))


def test_the_same_data_elsewhere_are_the_same(tmp_path):
  tiny_dataset.prepare_own(tmp_path / 'old')
  shutil.copytree(tmp_path / 'old', tmp_path / 'new')
  tiny_dataset.prepare_own(tmp_path / 'again')
  before = _record(tmp_path / 'old')
  assert before['classes'] == ['cat', 'dog'] and before['version'] == '1.0.0'
  assert _check(tmp_path, before, _record(tmp_path / 'new')) == ''
  assert before == _record(tmp_path / 'again')
  assert before == identity.record(*(
      sources.load('own', split, Reading(os.fspath(tmp_path / 'old'))).identity
      for split in ('train', 'test')))


def test_the_first_of_many_classes_is_named():
  names = [f'class {i}' for i in range(1000)]
  record = lambda classes: {'classes': classes, 'image_shape': [8, 8, 3]}
  other = [*names[:5], *names[6:], names[5]]
  assert data_record.model_differences(record(names), record(other)) == [
      'class 5: class 5 -> class 6, and 994 others']


def test_the_shape_of_images_is_compared():
  record = lambda *shape: {'classes': ['a', 'b'], 'image_shape': list(shape)}
  assert data_record.model_differences(record(8, 8, 3), record(8, 8, 1)) == [
      'image shape: 8 x 8 x 3 -> 8 x 8 x 1']


_FLAGS = ('--config.model.width=4', '--config.train_epochs=0',
          '--config.train_steps=8', '--config.global_batch=8',
          '--config.schedule.warmup_epochs=0', '--config.data.name=own',
          '--save_every_steps=2', '--steps_per_call=1')


def _stop_at(step, done):
  if done == step:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope='module')
def data_dirs(tmp_path_factory):
  """Four folders; those named 'moved' and 'old' hold the same data."""
  folder = tmp_path_factory.mktemp('data')
  for name, arguments in (('old', {}), ('moved', {}), ('other', {'seed': 1}),
                          ('renamed', {'classes': _CLASSES[::-1]})):
    tiny_dataset.prepare_own(folder / name, **arguments)
  return folder


def _train(run, data_dir, **arguments):
  return processes.run('resnet.train', *_FLAGS, f'--workdir={run}',
                       f'--data_dir={data_dir}', **arguments)


@pytest.mark.slow
def test_runs_refuse_other_data_before_anything_else(tmp_path, data_dirs):
  run = tmp_path / 'run'
  stopped = _train(run, data_dirs / 'old',
                   between_calls=functools.partial(_stop_at, 4))
  assert stopped.code == 143, stopped.err
  contents = lambda: {
      path: path.read_bytes() for path in run.rglob('*')
      if path.is_file() and path.name not in ('.lock', '0.json')}
  before = contents()
  assert json.loads((run / 'data.json').read_text()) == _record(
      data_dirs / 'old')
  for name, words in (('other', 'content of the training split'),
                      ('renamed', 'classes: cat, dog -> dog, cat')):
    refused = _train(run, data_dirs / name)
    assert refused.code == 2 and words in refused.err, refused.err
    assert contents() == before
  # Without the record, the checkpoints know.
  (run / 'data.json').write_text('?')
  refused = _train(run, data_dirs / 'other')
  assert refused.code == 2, refused.err
  assert 'data.json is damaged' in refused.err and 'data.train' in refused.err
  resumed = _train(run, data_dirs / 'moved')
  assert resumed.code == 0, resumed.err
  assert json.loads((run / 'data.json').read_text()) == _record(
      data_dirs / 'old')

  # Finished.
  refused = _train(run, data_dirs / 'other')
  assert (refused.code, refused.out) == (2, '')
  assert 'content of the training split' in refused.err
  again = _train(run, data_dirs / 'moved')
  assert again.code == 0 and 'This run is finished' in again.out
  first_words, end = again.err.split('\n')
  assert 'starting ' in first_words and not end
  gone = _train(run, tmp_path)
  assert gone.code == 0 and 'This run is finished' in gone.out
  assert 'are not compared with those that are there now' in gone.err
  (run / 'data.json').unlink()
  unknown = _train(run, data_dirs / 'old')
  assert unknown.code == 0 and 'This run is finished' in unknown.out
  assert f'there is no {run}/data.json yet: it is not known' in unknown.err
  assert _train(run, data_dirs / 'other').code == 2  # It is recorded now.
  _evaluate_other_data(run, data_dirs)


def _evaluate_other_data(run, data_dirs):
  evaluate = lambda name, *flags: processes.run(
      'resnet.evaluate', f'--workdir={run}', f'--data_dir={data_dirs / name}',
      *flags)
  same = evaluate('moved')
  assert same.code == 0 and same.err == '', same.err
  refused = evaluate('renamed')
  assert refused.code == 2
  assert 'other data (classes: cat, dog -> dog, cat)' in refused.err
  other = evaluate('other')
  assert other.code == 0 and 'the data have changed since the run' in other.err
  part = evaluate('other', '--split=test[:5]')
  assert part.code == 0 and part.err == '' and '5 examples' in part.out


@pytest.mark.slow
def test_workers_with_other_data_are_refused(tmp_path, data_dirs):
  ports = worker_environment.free_ports(2)
  started = [
      processes.start(
          'resnet.train', '--strategy=multi_worker_mirrored', *_FLAGS,
          f'--workdir={tmp_path}/run', f'--data_dir={data_dirs / name}',
          environment={'TF_CONFIG': json.dumps({
              'cluster': {'worker': [f'127.0.0.1:{port}' for port in ports]},
              'task': {'type': 'worker', 'index': rank}})})
      for rank, name in enumerate(('old', 'other'))]
  for one in started:
    result = processes.finish(*one)
    assert result.code == 2, result.err
    assert ('The data sets of worker 1 differ from those of worker 0: prepare '
            'the same data on all workers' in result.err)
