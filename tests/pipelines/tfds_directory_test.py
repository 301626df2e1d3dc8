"""Prepared data sets are found, or one sentence says why not."""
import os
import pathlib
import pwd
import shlex

from etils import epath
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import constants

from configs.process.errors import UserError
from pipelines import tfds_directory, tfds_name
from tests import tiny_dataset


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """A folder that holds the data set 'photos'; copy it before changing it."""
  folder = tmp_path_factory.mktemp('data')
  tiny_dataset.prepare_photos(folder)
  return folder


@pytest.fixture
def version(prepared, tmp_path):
  """The folder of a copy of 'photos'."""
  os.system(f'cp -r {shlex.quote(str(prepared))}/photos {tmp_path}')
  return tmp_path / 'photos/1.0.0'


def _refused(folder, name='photos'):
  with pytest.raises(UserError) as raised:
    tfds_directory.builder(name, os.fspath(folder))
  assert '\n' not in str(raised.value) and str(raised.value).endswith('.')
  return str(raised.value)


@pytest.mark.parametrize('name', [
    'mnist', 'MNIST', 'cifar10:3.0.2', 'cifar10:3.*.*', 'a/b', 'a/b_c-1.0+d',
    'a/b:1.2.3'])
def test_names(name):
  tfds_name.check(name, '--dataset')


@pytest.mark.parametrize('name', [
    '', ' ', 'huggingface:mnist', 'kubric:movi_a', 'huggingface:', '../x', '..',
    '/abs/x', 'mnist/', 'mnist/a/b', 'mnist/..', 'mnist/x=1', 'mnist:',
    'mnist:1', 'mnist:*', 'mnist:experimental_latest', 'mnist:3.0.1/x', 'a b',
    'mnist ', 'mnist\n', 'mn\nist', 'café', '1st', 'gs://a/b', 200 * 'a'])
@pytest.mark.parametrize('flag', ['--dataset', '--config.data.name'])
def test_other_names_are_refused(tmp_path, name, flag):
  with pytest.raises(UserError) as raised:
    if flag == '--dataset':
      tfds_name.check(name, flag)
    else:
      tfds_directory.builder(name, os.fspath(tmp_path))
  message = str(raised.value)
  assert message.startswith(f'{flag}=') and '\n' not in message
  assert 'is not the name of a TFDS data set: give' in message
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['photos', 'photos:1.0.0', 'photos:1.*.*'])
def test_a_prepared_data_set_is_found(prepared, name):
  found = tfds_directory.builder(name, os.fspath(prepared))
  assert found.info.full_name == 'photos/1.0.0'
  assert tfds_directory.is_prepared(found)


@pytest.mark.parametrize('name', ['photos', 'photos:1.0.0'])
@pytest.mark.parametrize('file', ['dataset_info.json', 'features.json'])
@pytest.mark.parametrize('content', [
    b'', b'{}', b'[1]', b'null', b'garbage', b'\xff\xfe', bytes(100), None])
def test_damaged_descriptions(version, name, file, content):
  (version / file).unlink()
  if content is not None:
    (version / file).write_bytes(content)
  message = _refused(version.parents[1], name)
  assert f"Data set '{name}' cannot be opened" in message
  assert 'unknown' not in message


@pytest.mark.parametrize('names', ['cat\n', 'cat\ncat \n', 'cat\nblack\ndog\n'])
def test_names_of_classes_that_are_not_one_for_each_class(version, names):
  (version / 'label.labels.txt').write_text(names)
  message = _refused(version.parents[1])
  assert message.startswith('Data set photos has 2 classes, but ')
  assert f'delete {version} and prepare it again' in message


def test_a_data_set_of_configurations_asks_for_one(version):
  (version.parent / 'small').mkdir()
  version.rename(version.parent / 'small/1.0.0')
  message = _refused(version.parents[1])
  assert 'photos holds small, but no folder of a version' in message
  assert tfds_directory.builder('photos/small', os.fspath(version.parents[1]))


def test_what_tfds_would_take_for_a_bucket_is_a_folder():
  for name in 'gs', 's3', 'az', 'hf':
    folder = tfds_directory.default_folder(f'/{name}/data')
    # TFDS builds its paths with epath.
    assert os.fspath(epath.Path(folder) / 'x') == f'//{name}/data/x'
    assert os.fspath(epath.Path(f'/{name}/data')) == f'{name}://data'
    assert tfds_directory.default_folder(f'{name}/data') == f'{name}/data'
  assert tfds_directory.default_folder('/s3x/data') == '/s3x/data'


@pytest.mark.parametrize('home', [None, 'relative'])
def test_without_a_home_the_default_is_refused(monkeypatch, home):
  def unknown(_):
    raise KeyError('no such user')

  monkeypatch.setattr(pwd, 'getpwuid', unknown)
  monkeypatch.delenv('HOME')
  if home is not None:
    monkeypatch.setenv('HOME', home)
  monkeypatch.delenv('TFDS_DATA_DIR', raising=False)
  with pytest.raises(UserError) as raised:
    tfds_directory.default_folder(None)
  assert str(raised.value).startswith('--data_dir=')
  assert tfds_directory.default_folder('/data') == '/data'


def test_the_variable_of_tfds_is_named(monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', 'gs://a/b')
  with pytest.raises(UserError, match='^TFDS_DATA_DIR=gs://a/b is not a fold'):
    tfds_directory.default_folder(None)
  monkeypatch.setenv('TFDS_DATA_DIR', '/data')
  assert tfds_directory.default_folder(None) == '/data'


def test_the_default_is_that_of_tfds(monkeypatch):
  monkeypatch.delenv('TFDS_DATA_DIR', raising=False)
  assert tfds_directory.default_folder(
      None) == constants.get_default_data_dir()


@pytest.mark.parametrize('folder', ['gs://a/b', 's3://a', 'file:///a', '', ' '])
def test_other_folders_are_refused(folder):
  with pytest.raises(UserError, match='--data_dir='):
    tfds_directory.default_folder(folder)


@pytest.mark.parametrize('name', ['mnist', 'cifar10_corrupted'])
def test_the_remedy_names_the_folder_that_holds_the_data_set(name):
  found = tfds.builder(name, data_dir='/data')
  assert tfds_directory.remedy(found, name) == (
      f'delete {found.data_dir} and prepare it again with `python -m '
      f'pipelines.prepare --dataset={name} --data_dir=/data`')


def test_the_command_that_prepares_can_be_pasted():
  command = tfds_directory.prepare_command('mnist', pathlib.Path("/a 'b' [1]"))
  assert shlex.split(command.strip('`'))[-1] == "--data_dir=/a 'b' [1]"
