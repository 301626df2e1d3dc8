"""Preparing a public data set: every failure is told with its cause."""
import errno
import os

import pytest
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager
from tensorflow_datasets.core.download import util as download_util

from configs.process.errors import TryAgain, UserError
from pipelines import download
from tests import tiny_dataset


def _refused(name, data_dir, kind=UserError):
  with pytest.raises(kind) as raised:
    download.prepare(name, os.fspath(data_dir))
  assert '\n' not in str(raised.value) and str(raised.value).endswith('.')
  return str(raised.value)


@pytest.mark.parametrize('name, words', [
    ('huggingface:mnist', '(other hubs, such as huggingface:, are not'),
    ('cifar10x', 'is unknown to TFDS: choose one'),
    ('mnist:9.9.9', 'cannot be opened (Dataset mnist cannot be loaded at '
     'version 9.9.9, only: 3.0.1): choose'),
    ('mnist:9.*.*', 'cannot be loaded at version 9.*.*, only: 3.0.1'),
    ('mnist/config', 'cannot be opened (BuilderConfig config not found'),
    ('cifar10_corrupted/nope', 'BuilderConfig nope not found'),
    ('imagenet2012', 'needs files that you must download yourself: Manual'),
])
def test_names(tmp_path, name, words):
  message = _refused(name, tmp_path)
  assert message.startswith(f'--dataset={name} ') and words in message


def _fail_with(monkeypatch, error):
  def fail(builder, **_):
    raise error
  monkeypatch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', fail)


@pytest.mark.parametrize('error, words', [
    (requests.exceptions.SSLError('certificate verify failed'),
     'no answer from the host of the data set in 3 attempts: certificate '
     'verify failed'),
    (download_util.DownloadError('Failed to get url x. HTTP code: 404.'),
     'could not be downloaded (Failed to get url x. HTTP code: 404): retry'),
    (download_manager.NonMatchingChecksumError('Artifact x has wrong checksum'),
     'could not be downloaded (Artifact x has wrong checksum): retry'),
    (ModuleNotFoundError("No module named 'scipy'", name='scipy'),
     "needs a Python package, scipy (No module named 'scipy'): install it"),
    (AssertionError('Unexpected file: x. More.'),
     'cannot be prepared by TFDS: Unexpected file: x.'),
    (AssertionError('Put it in: manual_dir. More.'),
     'needs files that you must download yourself: Put it in: manual_dir.'),
    (ValueError('mnist/1.0.0 is too old so cannot be generated.'),
     'a version that TFDS can no longer prepare: give mnist alone'),
    (OSError(errno.ENOSPC, 'No space left on device'),
     'cannot be written (No space left on device): give a writable folder'),
    (tf.errors.PermissionDeniedError(None, None, 'x; Permission denied'),
     'cannot be written (x; Permission denied): give a writable folder'),
])
def test_failures(tmp_path, monkeypatch, error, words):
  _fail_with(monkeypatch, error)
  assert words in _refused('mnist', tmp_path)


def test_an_io_error_may_pass(tmp_path, monkeypatch):
  _fail_with(monkeypatch, OSError(errno.EIO, 'Input/output error'))
  assert 'rerun the same command' in _refused('mnist', tmp_path, TryAgain)


def test_what_is_unforeseen_stays_loud(tmp_path, monkeypatch):
  _fail_with(monkeypatch, KeyError('a bug'))
  with pytest.raises(KeyError, match='a bug'):
    download.prepare('mnist', os.fspath(tmp_path))


def test_an_empty_folder_is_not_taken_for_a_data_set(tmp_path):
  (tmp_path / 'mnist/3.0.1').mkdir(parents=True)
  assert _refused('mnist', tmp_path) == (
      f'{tmp_path}/mnist/3.0.1 exists, but it is not a prepared data set: '
      'delete it and rerun the same command.')


@pytest.mark.parametrize('name', ['a[1]', 'a*', 'a?', 'a\\b'])
def test_builders_are_given_no_patterns(tmp_path, name):
  words = 'which TFDS would take for a pattern'
  assert words in _refused('mnist', tmp_path / name)
  assert not list(tmp_path.iterdir())
  # What is prepared already is only read.
  tiny_dataset.prepare(tmp_path / 'elsewhere')
  (tmp_path / 'elsewhere').rename(tmp_path / name)
  found = download.prepare('tiny_pictures', os.fspath(tmp_path / name))
  assert found.info.splits['train'].num_examples == tiny_dataset.TRAIN
