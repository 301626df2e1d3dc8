"""A run folder belongs to one run and, while it trains, to one process."""
import errno
import fcntl
import json
import os
import pathlib
import platform
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from configs import schema
from configs.process import file_lock, json_file
from configs.process.errors import TryAgain, UserError
from resnet.run import folder_lock, run_folder

CONFIG = schema.Config(train_steps=10, seed=7)
DATA = {'classes': ['cat', 'dog'], 'image_shape': [8, 8, 3], 'version': '1.0',
         'train': {'examples': 9, 'digest': 'ab'},
         'eval': {'examples': 3, 'digest': 'cd'}}
SUMMARY = {'step': 10, 'best_step': 10, 'best_accuracy': 0.5, 'accuracy': 0.5,
            'examples': 3, 'images_per_second': None, 'seconds': 9.5,
            'time_shares': dict.fromkeys((
                'training', 'input_wait', 'evaluation', 'checkpoints',
                'start_up'), 0.2)}


@pytest.fixture
def open_folder():
  """open_for_training, with the locks released at the end."""
  folders = []

  def open_for_training(workdir, config=CONFIG):
    folders.append(run_folder.open_for_training(workdir, config))
    return folders[-1]

  yield open_for_training
  for folder in folders:
    folder.lock.close()


def _refusal(workdir, config=CONFIG):
  with pytest.raises(UserError) as error:
    run_folder.open_for_training(workdir, config)
  return str(error.value)


def _names(path):
  return sorted(entry.name for entry in path.iterdir())


# Locks the file that it is given, reports it, and holds the lock until killed.
_HOLD = """
import fcntl, os, sys
file = open(sys.argv[1], 'w')
fcntl.flock(file, fcntl.LOCK_EX)
file.write(str(os.getpid()))
file.flush()
print('locked', flush=True)
sys.stdin.read()
"""
# Tries a shared lock, which only an exclusive one keeps out.
_TRY = """
import fcntl, sys
try:
  fcntl.flock(open(sys.argv[1]), fcntl.LOCK_SH | fcntl.LOCK_NB)
except BlockingIOError:
  print('in use')
else:
  print('free')
"""


def _try_lock(path):
  return subprocess.run(
      [sys.executable, '-c', _TRY, path], capture_output=True, text=True,
      check=True).stdout.strip()


def test_new_folder(tmp_path, open_folder):
  folder = open_folder(tmp_path / 'runs' / 'new')
  assert folder.path == tmp_path / 'runs' / 'new'
  assert folder.checkpoints == folder.path / 'checkpoints'
  assert folder.checkpoints.is_dir()
  assert _names(folder.path) == ['.lock', 'checkpoints']
  assert folder.finished is None


def test_home_is_expanded(tmp_path, open_folder, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert open_folder('~/run').path == tmp_path / 'run'


def test_describe(tmp_path, open_folder, monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['train.py', '--config.seed=7'])
  folder = open_folder(tmp_path)
  run = {'replicas': {'workers': 1, 'devices': ['CPU:0']},
         'settings': {'threads': '2'}}
  folder.describe(CONFIG, DATA, run)
  assert json.loads((tmp_path / 'run.json').read_text()) == {
      'command': ['train.py', '--config.seed=7'], 'host': platform.node(),
      **run,
      'versions': {'python': platform.python_version(),
                   'tensorflow': tf.__version__, 'keras': keras.__version__}}
  assert json.loads((tmp_path / 'config.json').read_text())['seed'] == 7
  assert json.loads((tmp_path / 'data.json').read_text()) == DATA
  assert run_folder.read_config(tmp_path) == CONFIG
  assert folder.finished is None


def test_finish_keeps_the_description(tmp_path, open_folder):
  folder = open_folder(tmp_path)
  folder.describe(CONFIG, DATA, {})
  folder.finish(SUMMARY)
  assert folder.finished == SUMMARY
  assert json.loads((tmp_path / 'run.json').read_text())['command'] == sys.argv


def test_same_configuration_opens_again(tmp_path, open_folder):
  folder = open_folder(tmp_path)
  folder.describe(CONFIG, DATA, {})
  folder.finish(SUMMARY)
  folder.lock.close()
  again = open_folder(tmp_path, schema.from_dict(schema.to_dict(CONFIG)))
  assert again.finished == SUMMARY


@pytest.mark.parametrize('left', [
    ['checkpoints/', '.lock'], ['checkpoints/', '.lock', 'config.json.partial'],
    ['checkpoints/', '.lock', 'config.json.0123abcd.partial'],
    ['checkpoints/', '.lock', '.shared', 'workers/'],
])
def test_run_killed_before_it_was_described_opens_again(
    tmp_path, open_folder, left):
  for name in left:
    if name.endswith('/'):
      (tmp_path / name).mkdir()
    else:
      (tmp_path / name).touch()
  assert open_folder(tmp_path).checkpoints.is_dir()


def test_other_configuration_lists_the_fields(tmp_path, open_folder):
  folder = open_folder(tmp_path)
  folder.describe(CONFIG, DATA, {})
  folder.lock.close()
  other = schema.Config(
      train_steps=10, seed=8, model=schema.Model(depth=56))
  assert _refusal(tmp_path, other) == (
      f'--workdir={tmp_path} holds a run with a different configuration '
      '(config.model.depth: 20 -> 56; config.seed: 7 -> 8): give these fields '
      'their old values to continue it, or give another --workdir.')
  assert run_folder.read_config(tmp_path) == CONFIG


@pytest.mark.parametrize('name', ['thesis.tex', 'run.json'])
def test_foreign_folder_is_left_alone(tmp_path, name):
  (tmp_path / name).write_text('precious')
  assert _refusal(tmp_path) == (
      f'--workdir={tmp_path} exists and is not a run folder (it has no '
      'config.json): give a run folder, or a new or empty one.')
  assert _names(tmp_path) == [name]


def test_a_file_is_not_a_run_folder(tmp_path):
  path = tmp_path / 'file'
  path.write_text('precious')
  assert ' exists and is not a run folder ' in _refusal(path)
  assert path.read_text() == 'precious'


def test_folder_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').touch()
  path = tmp_path / 'file' / 'run'
  assert _refusal(path) == (
      f'--workdir={path} cannot be written (Not a directory): give a folder '
      'that you may write to.')


def test_folder_in_use_by_another_process(tmp_path, open_folder):
  (tmp_path / 'checkpoints').mkdir()
  with subprocess.Popen(
      [sys.executable, '-c', _HOLD, tmp_path / '.lock'], text=True,
      stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
    try:
      assert other.stdout.readline() == 'locked\n'
      assert _refusal(tmp_path) == (
          f'--workdir={tmp_path} is in use by process {other.pid}: wait for '
          'it, stop it, or give another folder.')
    finally:
      other.kill()
  # A killed process leaves the file, but not the lock.
  open_folder(tmp_path)
  assert (tmp_path / '.lock').read_text() == str(os.getpid())


def test_a_killed_process_has_time_to_leave(
    tmp_path, open_folder, monkeypatch, capsys):
  """It keeps the lock until it returns from the kernel."""
  monkeypatch.setattr(folder_lock, '_SAY_SECS', -1)
  (tmp_path / 'checkpoints').mkdir()
  asked = []
  with subprocess.Popen(
      [sys.executable, '-c', _HOLD, tmp_path / '.lock'], text=True,
      stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
    assert other.stdout.readline() == 'locked\n'

    def leave(pid):
      asked.append(pid)
      other.kill()
      return True

    monkeypatch.setattr(file_lock, 'is_leaving', leave)
    open_folder(tmp_path)
  assert set(asked) == {str(other.pid)}
  assert capsys.readouterr().err == (
      f'warning: {tmp_path}/.lock is held by process {other.pid}, which is '
      'being killed or is not on this machine: waiting up to 60 s.\n')


@pytest.mark.parametrize('code', [
    errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_warned_of(
    tmp_path, open_folder, monkeypatch, capsys, code):
  def refuse(*_):
    raise OSError(code, os.strerror(code))
  monkeypatch.setattr(fcntl, 'flock', refuse)
  assert open_folder(tmp_path).checkpoints.is_dir()
  assert capsys.readouterr().err == (
      f'warning: the file system of --workdir={tmp_path} cannot lock files '
      f'({os.strerror(code)}): nothing keeps two processes from training in '
      'this folder at once, which would ruin the run; start only one.\n')


@pytest.mark.parametrize('code, kind, words', [
    (errno.EIO, TryAgain, 'cannot be locked now .Input/output error.: rerun'),
    (errno.EACCES, UserError, 'cannot be locked .Permission denied.: give a')])
def test_locks_that_fail_are_neither_in_use_nor_absent(
    tmp_path, monkeypatch, code, kind, words):
  def refuse(*_):
    raise OSError(code, os.strerror(code))
  monkeypatch.setattr(fcntl, 'flock', refuse)
  with pytest.raises(kind, match=words):
    run_folder.open_for_training(tmp_path, CONFIG)


def test_folder_is_in_use_until_the_lock_is_closed(tmp_path, open_folder):
  folder = open_folder(tmp_path)
  assert _try_lock(tmp_path / '.lock') == 'in use'
  folder.lock.close()
  assert _try_lock(tmp_path / '.lock') == 'free'


@pytest.mark.parametrize('text', ['', '{"seed": ', '\0\0\0', '[1]', 'null'])
def test_damaged_config(tmp_path, text):
  path = tmp_path / 'config.json'
  path.write_text(text)
  for refused in (_refusal(tmp_path), _read_refusal(tmp_path)):
    assert refused.startswith(f'{path} is damaged (')
    assert refused.endswith(
        '): restore it from a backup, or start over in another --workdir.')


def _read_refusal(workdir):
  with pytest.raises(UserError) as error:
    run_folder.read_config(workdir)
  return str(error.value)


def test_config_of_another_version(tmp_path):
  (tmp_path / 'config.json').write_text('{"seeds": [1]}')
  refused = _refusal(tmp_path)
  assert refused.startswith(
      'config.seeds does not exist in this version (its fields are model, ')
  assert refused.endswith('): use the version that wrote the config.')


def test_read_config_where_there_is_none(tmp_path):
  assert _read_refusal(tmp_path) == (
      f'--workdir={tmp_path} is not a run folder (there is no '
      f'{tmp_path}/config.json): give the folder that `python -m '
      'resnet.train` wrote.')


def test_write_json(tmp_path):
  path = tmp_path / 'a.json'
  run_folder.write_json(path, {'a': [1, 2.5]})
  assert json.loads(path.read_text()) == {'a': [1, 2.5]}
  run_folder.write_json(path, {'b': 2})
  assert json_file.read(path) == {'b': 2}
  assert _names(tmp_path) == ['a.json']


def test_write_json_that_fails_keeps_the_old_file(tmp_path):
  path = tmp_path / 'a.json'
  run_folder.write_json(path, {'a': 1})
  with pytest.raises(TypeError):
    run_folder.write_json(path, {'b': 2, 'c': object()})
  assert json_file.read(path) == {'a': 1}


def test_write_json_is_complete_before_it_replaces(tmp_path, monkeypatch):
  path = tmp_path / 'a.json'
  run_folder.write_json(path, {'a': 1})
  replaced = []

  def replace(source, target):
    # What a kill right before and right after this call would leave.
    replaced.append((json.loads(pathlib.Path(source).read_text()),
                     json.loads(pathlib.Path(target).read_text())))

  monkeypatch.setattr(os, 'replace', replace)
  run_folder.write_json(path, {'b': 2})
  assert replaced == [({'b': 2}, {'a': 1})]


def test_usable_folders_are_left_as_they_are(tmp_path, open_folder):
  """One of them holds a mark that the doctor left."""
  run_folder.check_usable(tmp_path / 'new', CONFIG)
  assert not list(tmp_path.iterdir())
  (tmp_path / '.doctor-0123').write_text('')
  run_folder.check_usable(tmp_path, CONFIG)
  open_folder(tmp_path).describe(CONFIG, DATA, {})
  run_folder.check_usable(tmp_path, CONFIG)
  with pytest.raises(UserError, match='config.seed: 7 -> 8'):
    run_folder.check_usable(tmp_path, schema.Config(train_steps=10, seed=8))


def test_folders_that_are_not_usable(tmp_path):
  (tmp_path / 'mine').write_text('')
  with pytest.raises(UserError, match='is not a run folder'):
    run_folder.check_usable(tmp_path, CONFIG)
  with pytest.raises(UserError, match='cannot be read .File name too long.'):
    run_folder.check_usable(tmp_path / ('x' * 300), CONFIG)
