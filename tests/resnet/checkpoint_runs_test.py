"""Whatever happens to the files of checkpoints, a run ends with the same bits.

Or it does not go on, says why in one sentence, and leaves them as they are.
"""
import errno
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from resnet.run import checkpoint
from tests import processes
from tests.resnet import small_checkpoints, workers_test

pytestmark = pytest.mark.slow
_FLAGS = (
    '--config.model.width=4', '--config.train_epochs=0',
    '--config.train_steps=12', '--config.schedule.warmup_epochs=0',
    '--save_every_steps=1', '--keep_last=20', '--eval_every_steps=6',
    '--log_every_steps=2', '--steps_per_call=1')


def _train(workdir, between_calls=None, flags=()):
  return processes.run('resnet.train', *_FLAGS, *flags, f'--workdir={workdir}',
                       between_calls=between_calls)


def _state(workdir):
  reader = tf.train.load_checkpoint(
      os.fspath(workdir / 'checkpoints' / 'ckpt-12'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map() if name != 'identity'}


def _assert_same_end(workdir, other):
  expected, got = _state(other), _state(workdir)
  assert expected.keys() == got.keys() and len(got) > 60
  for name, value in expected.items():
    np.testing.assert_array_equal(got[name], value, err_msg=name)


def _sentence(result, code=2):
  """Returns the one sentence that a run ended with."""
  assert result.code == code, result.err
  assert 'Traceback' not in result.err
  line = result.err.strip().splitlines()[-1]
  assert line.startswith('error: ') and line.endswith('.')
  return line


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  """Returns the folder of a run that was never stopped."""
  workdir = tmp_path_factory.mktemp('undisturbed') / 'run'
  result = _train(workdir)
  assert result.code == 0, result.err
  return workdir


@pytest.fixture
def stopped(undisturbed, tmp_path):
  """Returns the folder of a run that was killed after its save of step 8."""
  workdir = tmp_path / 'stopped'
  shutil.copytree(undisturbed, workdir)
  for path in (workdir / 'checkpoints').iterdir():
    if int(path.name.partition('.')[0].removeprefix('ckpt-')) > 8:
      path.unlink()
  values = json.loads((workdir / 'run.json').read_text())
  del values['summary']
  (workdir / 'run.json').write_text(json.dumps(values))
  return workdir


def _delete_as_it_appears(folder, _):
  """Between calls: from now on, deletes the index of step 8 on its renaming."""
  replace = os.replace
  if replace.__name__ == 'replace_and_delete':
    return

  def replace_and_delete(source, target):
    replace(source, target)
    if os.fspath(target).endswith('ckpt-8.index'):
      os.unlink(target)

  os.replace = replace_and_delete


def _delete_later(folder, done):
  """Between calls: deletes the index of step 8 two steps later, and dies."""
  index = pathlib.Path(folder) / 'checkpoints' / 'ckpt-8.index'
  if done == 10:
    index.unlink()
    for path in index.parent.glob('ckpt-9.*'):
      path.unlink()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize('delete, code', [
    (_delete_as_it_appears, 2), (_delete_later, -signal.SIGKILL)])
def test_an_index_that_others_delete_is_not_written_again(
    tmp_path, undisturbed, delete, code):
  workdir = tmp_path / 'run'
  result = _train(workdir, functools.partial(delete, os.fspath(workdir)))
  assert result.code == code, result.err
  assert 'Traceback' not in result.err
  assert 8 not in checkpoint.steps_in(workdir / 'checkpoints')
  again = _train(workdir)
  assert again.code == 0 and 'resuming at step 7' in again.err
  _assert_same_end(workdir, undisturbed)


def _remove(folder, at, done):
  """Between calls: removes a folder after some updates."""
  if done == at:
    removed = os.path.join(os.path.dirname(folder.rstrip('/')), 'removed')
    os.rename(folder, removed)
    shutil.rmtree(removed)


@pytest.mark.parametrize('name', ['', 'checkpoints'])
def test_a_folder_that_is_removed_ends_the_run(tmp_path, undisturbed, name):
  workdir = tmp_path / 'run'
  line = _sentence(_train(workdir, functools.partial(
      _remove, os.fspath(workdir / name), 5)))
  assert 'No such file or directory' in line
  assert _train(workdir).code == 0  # From the start.
  _assert_same_end(workdir, undisturbed)


def test_a_run_whose_last_save_fails_does_not_end_well(tmp_path):
  folder = tmp_path / 'run' / 'checkpoints'
  line = _sentence(_train(
      tmp_path / 'run', functools.partial(_remove, os.fspath(folder), 11),
      ('--save_every_steps=0', '--save_every_secs=0', '--eval_every_steps=12')))
  assert f'step 12 could not be written to {folder} (No such file' in line
  assert 'summary' not in json.loads((tmp_path / 'run/run.json').read_text())


@pytest.mark.parametrize('pages', [(0,), (4,), (1, 20)])
def test_a_zeroed_page_costs_one_checkpoint(stopped, undisturbed, pages):
  with next(stopped.glob('checkpoints/ckpt-8.data*')).open('r+b') as file:
    for page in pages:
      file.seek(4096 * page)
      file.write(bytes(4096))
  result = _train(stopped)
  assert result.code == 0, result.err
  assert 'ckpt-8 is damaged' in result.err
  assert 'resuming at step 7' in result.err
  assert [path.name for path in stopped.glob('checkpoints/*.corrupt')] == [
      'ckpt-8.index.corrupt']
  _assert_same_end(stopped, undisturbed)


@pytest.mark.parametrize('number, words', [
    (9, '(it holds step 3, not 9)'), (99, '(it holds step 3, not 99)')])
def test_a_renamed_checkpoint_is_refused(stopped, number, words):
  folder = stopped / 'checkpoints'
  for path in folder.glob('ckpt-3.*'):
    shutil.copy(path, folder / path.name.replace('ckpt-3', f'ckpt-{number}'))
  before = small_checkpoints.contents(folder)
  assert words in _sentence(_train(stopped))
  assert small_checkpoints.contents(folder) == before


def test_a_checkpoint_of_another_seed_is_refused(stopped, tmp_path):
  other = tmp_path / 'other'
  assert _train(other, flags=('--config.seed=1',)).code == 0
  folder = stopped / 'checkpoints'
  for path in (other / 'checkpoints').glob('ckpt-9.*'):
    shutil.copy(path, folder)
  before = small_checkpoints.contents(folder)
  assert '(config.seed is 1 there, 0 here)' in _sentence(_train(stopped))
  refused = processes.run('resnet.evaluate', f'--workdir={stopped}')
  assert '(config.seed is 1 there, 0 here)' in _sentence(refused)
  assert small_checkpoints.contents(folder) == before


def test_evaluate_never_renames(stopped):
  data = next(stopped.glob('checkpoints/ckpt-8.data*'))
  data.write_bytes(data.read_bytes()[:-1])
  folder = stopped / 'checkpoints'
  before = small_checkpoints.contents(folder)
  line = _sentence(processes.run(
      'resnet.evaluate', f'--workdir={stopped}', '--checkpoint=8'))
  assert 'step 8 is damaged' in line and '1, 2, 3, 4, 5, 6, 7' in line
  result = processes.run('resnet.evaluate', f'--workdir={stopped}')
  assert result.code == 0 and 'step 7 on digits test' in result.out
  assert 'ckpt-8 is damaged' in result.err
  assert small_checkpoints.contents(folder) == before


# Trains, on a machine that reads no checkpoint if the first argument is given.
_TRAIN = """
import errno, os, sys
from configs.process import command_line, tensorflow_process
from resnet.train import main, parse
with tensorflow_process.starting():
  from resnet.run import checkpoint_file
unreadable = sys.argv.pop(1)
def fail(prefix):
  raise OSError(int(unreadable), os.strerror(int(unreadable)))
if unreadable:
  checkpoint_file.read = fail
command_line.run(main, parse)
"""


def _train_on_two(workdir, unreadable_on):
  """Trains in two processes; returns the (code, stderr) of each."""
  ports = workers_test._free_ports(2)
  started = [subprocess.Popen(
      [sys.executable, '-c', _TRAIN, str(errno.EIO) * (rank == unreadable_on),
       *_FLAGS, '--strategy=multi_worker_mirrored', '--config.train_steps=4',
       '--start_secs=60', f'--workdir={workdir}'],
      env={**os.environ, **workers_test._environment(ports, rank)},
      stderr=subprocess.PIPE, text=True) for rank in range(2)]
  ended = [process.communicate()[1] for process in started]
  assert not any('Traceback' in text for text in ended)
  return [(process.returncode, text) for process, text in zip(started, ended)]


@pytest.mark.parametrize('rank', [0, 1])
def test_a_worker_that_cannot_read_says_so_and_the_others_name_it(
    tmp_path, rank):
  workdir = tmp_path / 'run'
  folder = workdir / 'checkpoints'
  assert [code for code, _ in _train_on_two(workdir, None)] == [0, 0]
  values = json.loads((workdir / 'run.json').read_text())
  del values['summary']
  (workdir / 'run.json').write_text(json.dumps(values))
  before = small_checkpoints.contents(folder)
  ended = _train_on_two(workdir, rank)
  assert [code for code, _ in ended] == [143, 143], ended
  assert 'ckpt-4 cannot be read now (Input/output error)' in ended[rank][1]
  assert (f'error: The checkpoint cannot be restored on worker {rank}, whose '
          'own message says why.') in ended[1 - rank][1]
  assert small_checkpoints.contents(folder) == before
  assert [code for code, _ in _train_on_two(workdir, None)] == [0, 0]
