"""A user error ends with one sentence and exit code 2, and nothing is lost."""
import functools
import json
import os
import pathlib
import shutil

import pytest

from tests import processes, tiny_dataset

pytestmark = pytest.mark.slow  # Each starts a process or several.
_SHORT = ('--config.model.width=4', '--config.train_epochs=0',
          '--config.train_steps=2', '--config.schedule.warmup_epochs=0',
          '--save_every_steps=1')


def _refused(module, *argv):
  """Runs a binary that must end with 2; returns its one sentence."""
  result = processes.run(module, *argv)
  assert result.code == 2, result.err
  assert 'Traceback' not in result.err
  *_, line = result.err.strip().splitlines()
  assert line.startswith('error: ') and line.endswith('.')
  return line


def _contents(folder):
  return {path.relative_to(folder): path.read_bytes()
          for path in sorted(folder.rglob('*'))
          if path.is_file() and path.name != '.lock'}


@pytest.fixture(scope='module')
def run_folder(tmp_path_factory):
  """The folder of a short finished run; copy it before changing it."""
  workdir = tmp_path_factory.mktemp('runs') / 'run'
  result = processes.run('resnet.train', *_SHORT, f'--workdir={workdir}')
  assert result.code == 0, result.err
  return workdir


@pytest.mark.parametrize('flag, words', [
    ('--config.optimizer.lerning_rate=1',
     ['config.optimizer.lerning_rate does not exist (did you mean '
      'config.schedule.peak?)', '--help` lists the fields']),
    ('--config.schedule.peek=1', ['did you mean config.schedule.peak?']),
    ('--config.global_batch=many',
     ['config.global_batch=many', 'a whole number']),
    ('--config.schedule.name=linear',
     ["config.schedule.name='linear'", 'constant, step, cosine, polynomial']),
    ('--config=digits_resnet9', ['--config=digits_resnet9', 'did you mean '
                                 'digits_resnet8']),
    ('--config=missing.py', ['missing.py does not exist']),
    ('--workdri=x', ['--workdri is unknown (did you mean --workdir?)',
                     '--help lists the flags']),
    ('surplus', ["'surplus' is not a flag"]),
    ('--strategy=tpu', ['--strategy=tpu', 'one_device, mirrored']),
    ('--jit=maybe', ['--jit=maybe', 'one of auto, true, false']),
    ('--log_every_steps=0',
     ['--log_every_steps=0', 'an integer from 1 to 2147483647']),
    ('--devices=GPU:7', ['GPU:7', 'has CPU:0', '--virtual_devices']),
    ('--devices=CPU:0,CPU:0', ['names a device twice']),
    ('--virtual_devices=3',
     ['global_batch=64', '3 replicas', '63 or 66']),
    ('--config.data.name=cifar10x',
     ["'cifar10x' is unknown", 'did you mean cifar10?']),
    ('--config.data.name=cifar10',
     ['cifar10 3.0.2 is not prepared', 'versions found: none',
      'python -m pipelines.prepare --dataset=cifar10 --data_dir=']),
    ('--config.data.train_split=trian', ["'trian'", 'train, test']),
    ('--config.model.depth=9', ['config.model.depth=9', '6n + 2']),
    ('--config.model.stem=imagenet',
     ['8 x 8 pixels are too small', 'at least 16 x 16']),
    ('--config.model.name=alexnet8', ['too small for alexnet8', '21 x 21']),
    ('--config.data.mean=1,2,3', ['3 values', '1 channels']),
    ('--config.data.image_size=16', ['image_size=16', '8 x 8', 'set it to 0']),
    ('--devices=GPU:²', ['--devices=GPU:² asks for GPU:²', 'has CPU:0']),
    ('--devices=²', ['--devices=² asks for ²', 'has CPU:0']),
    ('--config.augment.cutout=9',
     ['cutout=9 erases a square that is larger than images of 8 pixels a side: '
      'give at most 8.']),
    ('--config.augment.crop_padding=8',
     ['crop_padding=8 can shift everything out of images of 8 pixels a side: '
      'give at most 7.']),
    ('--config.augment.mixup=0.2 --config.global_batch=9',
     ['9 images', 'in pairs', 'a multiple of 2']),
])
def test_flags(tmp_path, flag, words):
  line = _refused('resnet.train', *_SHORT, f'--workdir={tmp_path}/run',
                  f'--data_dir={tmp_path}/data', *flag.split())
  for word in words:
    assert word in line
  # Nothing is left that would stop the corrected command.
  assert not list(tmp_path.glob('run/config.json'))


def test_sync_batch_norm_cannot_be_compiled(tmp_path):
  line = _refused(
      'resnet.train', *_SHORT, f'--workdir={tmp_path}/run', '--jit=true',
      '--virtual_devices=2', '--config.model.sync_batch_norm=True')
  assert '--jit=true' in line and '--jit=false' in line


def test_foreign_workdir_is_left_alone(tmp_path):
  (tmp_path / 'thesis.txt').write_text('years of work')
  line = _refused('resnet.train', *_SHORT, f'--workdir={tmp_path}')
  assert 'is not a run folder' in line
  assert _contents(tmp_path) == {pathlib.Path('thesis.txt'): b'years of work'}


def test_unwritable_workdir(tmp_path):
  (tmp_path / 'file').write_text('')
  line = _refused('resnet.train', *_SHORT, f'--workdir={tmp_path}/file/run')
  assert f'--workdir={tmp_path}/file/run' in line and 'may write' in line


def test_workdir_of_another_configuration(run_folder):
  before = _contents(run_folder)
  line = _refused('resnet.train', *_SHORT, f'--workdir={run_folder}',
                  '--config.seed=1', '--config.model.depth=14')
  assert 'config.model.depth: 8 -> 14; config.seed: 0 -> 1' in line
  assert _contents(run_folder) == before


def test_every_checkpoint_corrupt(run_folder, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(run_folder, workdir)
  _forget_summary(workdir)
  for data in (workdir / 'checkpoints').glob('*.data*'):
    data.write_bytes(data.read_bytes()[:100])
  line = _refused('resnet.evaluate', f'--workdir={workdir}')
  assert 'No checkpoint in' in line and 'can be read' in line
  line = _refused('resnet.train', *_SHORT, f'--workdir={workdir}')
  assert 'No checkpoint in' in line
  # Not overwritten, and refused again: it never starts over by surprise.
  assert len(list((workdir / 'checkpoints').glob('*.data*'))) == 2
  _refused('resnet.train', *_SHORT, f'--workdir={workdir}')


def _forget_summary(workdir):
  path = workdir / 'run.json'
  values = json.loads(path.read_text())
  del values['summary']
  path.write_text(json.dumps(values))


@pytest.mark.parametrize('flags, words', [
    ((), ['--workdir is missing']),
    (('--workdir=/nowhere',), ['/nowhere', 'is not a run folder']),
    (('--workdir={run}', '--checkpoint=17'), ['step 17', '1, 2']),
    (('--workdir={run}', '--checkpoint=worst'), ['--checkpoint=worst', 'best']),
    (('--workdir={run}', '--split=valid'), ["'valid'", 'train, test']),
])
def test_evaluate(run_folder, flags, words):
  line = _refused('resnet.evaluate',
                  *(flag.format(run=run_folder) for flag in flags))
  for word in words:
    assert word in line


def test_missing_checkpoint(run_folder, tmp_path):
  shutil.copy(run_folder / 'config.json', tmp_path)
  line = _refused('resnet.evaluate', f'--workdir={tmp_path}')
  assert 'There is no checkpoint in' in line and 'resnet.train' in line


def test_a_corrupt_record_is_named_by_its_file(tmp_path):
  """The data set is a user's own, opened without its builder's code."""
  folder = pathlib.Path(tiny_dataset.prepare(tmp_path))
  file, = folder.glob('*train.tfrecord*')
  content = bytearray(file.read_bytes())
  content[-100] ^= 1
  file.write_bytes(content)
  line = _refused(
      'resnet.train', *_SHORT, f'--workdir={tmp_path}/run',
      '--config.data.name=tiny_pictures', f'--data_dir={tmp_path}')
  assert os.fspath(file) in line and 'prepare it again' in line


_PHOTOS = (
    '--config=imagenet_resnet50', '--config.data.name=photos',
    '--config.data.eval_split=test', '--config.data.image_size=32',
    '--config.model.depth=18', '--config.model.version=v1', *_SHORT,
    '--config.global_batch=24')


def test_a_picture_that_cannot_be_decoded_is_named_or_skipped(tmp_path):
  tiny_dataset.prepare_photos(tmp_path, bad=('0/12.jpg', '1/5.jpg'))
  flags = (*_PHOTOS, f'--data_dir={tmp_path}', f'--workdir={tmp_path}/run')
  line = _refused('resnet.train', *flags)
  assert 'photos-train.tfrecord-00000-of-00001__' in line
  assert 'is not a picture that can be decoded' in line
  # The same command with bad pictures left out: 22 of 24 in each epoch.
  result = processes.run('resnet.train', *flags, '--skip_bad_images')
  assert result.code == 0, result.err
  *_, train, evaluation = [
      json.loads(text) for text in
      (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()]
  assert (train['split'], train['skipped_images']) == ('train', 2 * 2)
  # The test split is the first eleven pictures of class 0: all are good.
  assert evaluation['examples'] == 11 and 'skipped_images' not in evaluation
  again = processes.run('resnet.evaluate', '--skip_bad_images', '--split=train',
                        f'--workdir={tmp_path}/run', f'--data_dir={tmp_path}')
  assert '22 examples counted, 2 bad images skipped' in again.out


def test_a_missing_shard_is_named(tmp_path):
  folder = pathlib.Path(tiny_dataset.prepare_photos(tmp_path))
  file, = folder.glob('*train*')
  file.rename(tmp_path / 'elsewhere')
  line = _refused('resnet.train', *_PHOTOS, f'--data_dir={tmp_path}',
                  f'--workdir={tmp_path}/run')
  assert f'{file} cannot be read (No such file or directory)' in line
  assert f'delete {folder} and prepare it again' in line


def _overwrite(folder, done):
  """Overwrites the records after one update; called between host calls."""
  if done == 1:
    file, = pathlib.Path(folder).glob('*train*')
    file.write_bytes(bytes(file.stat().st_size))


def test_files_that_are_overwritten_during_training_are_named(tmp_path):
  folder = tiny_dataset.prepare_photos(tmp_path)
  result = processes.run(
      'resnet.train', *_PHOTOS, '--config.train_steps=40',
      '--steps_per_call=1', f'--data_dir={tmp_path}',
      f'--workdir={tmp_path}/run', '--memory_gib=0',  # Else they are kept.
      between_calls=functools.partial(_overwrite, folder))
  assert result.code == 2, result.err
  line = result.err.strip().splitlines()[-1]
  assert 'photos-train.tfrecord-00000-of-00001 was changed while' in line
  # The updates before are kept.
  assert list((tmp_path / 'run' / 'checkpoints').glob('ckpt-*.index'))


@pytest.mark.parametrize('factor, end', [
    # Update number 3 has a rate that float32 cannot hold: no weight survives.
    (1e40, 'After step 4 a weight is not a finite number; the last good '
     'checkpoint, of step 3, is kept'),
    # Its rate of 1e34 leaves weights whose squares overflow in the next loss.
    (1e35, 'After step 5 the loss is not a finite number; the last good '
     'checkpoint, of step 4, is kept'),
])
def test_a_run_that_diverges(tmp_path, factor, end):
  line = _refused(
      'resnet.train', '--config.model.width=4', '--config.train_epochs=0',
      '--config.train_steps=8', '--config.schedule.name=step',
      '--config.schedule.warmup_epochs=0', '--config.schedule.drops_at=0.375',
      f'--config.schedule.drop_factors={factor}', '--save_every_steps=1',
      '--keep_last=20', f'--workdir={tmp_path}/run')
  assert end in line and 'config.schedule.peak' in line
  last = int(end.split('of step ')[1].split(',')[0])
  there = (tmp_path / 'run' / 'checkpoints').glob('*.index')
  assert sorted(path.stem for path in there) == [
      f'ckpt-{step}' for step in range(1, last + 1)]


def test_prepare_without_a_network_names_the_host(tmp_path, monkeypatch):
  monkeypatch.setenv('HTTPS_PROXY', 'http://127.0.0.1:9')  # Nobody listens.
  line = _refused('pipelines.prepare', '--dataset=cifar10',
                  f'--data_dir={tmp_path}')
  assert 'www.cs.toronto.edu' in line and '3 attempts' in line


@pytest.mark.parametrize('flags, word', [
    ((), '--dataset is missing'),
    (('--dataset=cifa10',), '--dataset=cifa10 is unknown to TFDS'),
    (('--dataset=mnist', '--data_dir=/proc/none'), '--data_dir=/proc/none'),
])
def test_prepare_refuses_wrong_flags(flags, word):
  assert word in _refused('pipelines.prepare', *flags)
