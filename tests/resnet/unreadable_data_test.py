"""Data that cannot be read while a run goes on, or that is all bad."""
import dataclasses
import errno
import functools
import os
import types

import numpy as np
import pytest

from configs import schema
from configs.process.errors import UserError
from pipelines import records, sources
from pipelines.options import Reading
from resnet import network
from resnet.run import checkpoint
from tests import processes, tiny_dataset
from tests.resnet import small_runs, strategies

_NAMES = [f'{label}/{number}.{"png" if number % 5 == 4 else "jpg"}'
          for label, count in enumerate((17, 7)) for number in range(count)]
_PHOTOS = (
    '--config=imagenet_resnet50', '--config.data.name=photos',
    '--config.data.eval_split=test', '--config.data.image_size=32',
    '--config.model.depth=18', '--config.model.version=v1',
    '--config.model.width=4', '--config.train_epochs=0',
    '--config.schedule.warmup_epochs=0', '--config.train_steps=6',
    '--config.global_batch=8', '--config.eval_batch=8', '--steps_per_call=1',
    '--save_every_steps=1')


@pytest.fixture(scope='module')
def all_bad(tmp_path_factory):
  """The folder of a data set of bad pictures."""
  folder = tmp_path_factory.mktemp('data')
  tiny_dataset.prepare_photos(folder, bad=_NAMES)
  return folder


def _train(data_dir):
  """Makes a call of two updates; returns (trainer, call)."""
  source = sources.load(schema.Data('photos', image_size=16), 'train', Reading(
      os.fspath(data_dir), skip_bad_images=True))
  config = small_runs.config()
  config = dataclasses.replace(config, data=dataclasses.replace(
      config.data, image_size=16, mean=(100,) * 3, stddev=(50,) * 3))
  _, _, train = small_runs.build(config, 1, source)
  return train, train(0, 2, stop=False)


@pytest.mark.slow
def test_a_call_without_a_good_image_has_a_finite_loss(all_bad):
  train, call = _train(all_bad)
  assert (call.step, call.images, call.loss, call.accuracy) == (2, 0, 0, 0)
  assert train.means() == {'loss': 0, 'accuracy': 0, 'images': 0}
  assert train.is_finite()
  sentence = str(train.all_bad(0, 2))
  assert sentence.startswith(
      'All images of the steps 1 to 2 were skipped as bad: photos-train.tfrec')
  assert 'is not a picture that can be decoded' in sentence
  assert sentence.endswith('remove it from the data set.')


def test_images_cannot_be_measured_without_a_good_one(all_bad):
  source = sources.load(schema.Data('photos', image_size=16), 'train', Reading(
      os.fspath(all_bad), skip_bad_images=True))
  with pytest.raises(UserError) as raised:
    network.build(small_runs.config(), strategies.on_cpus(1), source)
  assert str(raised.value).startswith(
      'All images of the training split were skipped as bad: photos-train')


@pytest.mark.slow
def test_a_call_with_some_good_images_has_their_mean_loss(tmp_path):
  tiny_dataset.prepare_photos(tmp_path, bad=_NAMES[::2])
  train, call = _train(tmp_path)
  assert call.step == 2 and 0 < call.images < 16
  assert np.isfinite(call.loss) and call.loss > 0
  means = train.means()
  assert means['images'] == call.images
  np.testing.assert_allclose(means['loss'], call.loss, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('every, which', [
    (2, 'the steps 1 to 2'), (9, 'the evaluation split')])
def test_a_run_without_a_good_image_says_so(all_bad, tmp_path, every, which):
  result = processes.run(
      'resnet.train', *_PHOTOS, f'--log_every_steps={every}',
      '--eval_every_steps=3', f'--data_dir={all_bad}',
      f'--workdir={tmp_path}/run', '--skip_bad_images')
  assert result.code == 2, result.err
  assert result.err.strip().splitlines()[-1].startswith(
      f'error: All images of {which} were skipped as bad: photos-t')
  assert 'learning' not in result.err and 'peak' not in result.err


def _fail_reading(number, done):
  """Between calls: nothing can be read any more after two updates."""
  def fail(*_):
    raise OSError(number, os.strerror(number))

  if done == 2:
    records.os = types.SimpleNamespace(**{**vars(os), 'pread': fail})


@pytest.mark.slow
@pytest.mark.parametrize('number, code', [
    (errno.EIO, 143), (errno.EMFILE, 143), (errno.EACCES, 2)])
def test_a_file_that_cannot_be_read_in_mid_run(tmp_path, number, code):
  folder = tiny_dataset.prepare_photos(tmp_path / 'data')
  flags = (*_PHOTOS, f'--data_dir={tmp_path}/data', f'--workdir={tmp_path}/run')
  result = processes.run('resnet.train', *flags, '--skip_bad_images',
                         between_calls=functools.partial(_fail_reading, number))
  assert result.code == code, result.err
  assert 'Traceback' not in result.err and '--workdir' not in result.err
  line = result.err.strip().splitlines()[-1]
  # That of the training split, unless its last batches had been fetched.
  assert line.startswith(f'error: {folder}/photos-t')
  assert f'-00001 cannot be read ({os.strerror(number)}): ' in line
  assert checkpoint.steps_in(tmp_path / 'run' / 'checkpoints')
  again = processes.run('resnet.train', *flags, '--skip_bad_images')
  assert again.code == 0 and 'resuming at step' in again.err, again.err
