"""Fine-tuning runs: killed equals undisturbed, two workers equal two devices.
"""
import functools
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from tests import processes
from tests.resnet import loop_techniques_test, workers_test

pytestmark = pytest.mark.slow  # Each starts several processes.
_ROOT = pathlib.Path(__file__).parents[2]
_FLAGS = (
    '--config.model.width=4', '--config.global_batch=16',
    '--config.train_epochs=0', '--config.train_steps=12',
    '--config.schedule.warmup_epochs=0', '--config.eval_batch=100',
    '--steps_per_call=1', '--log_every_steps=2', '--eval_every_steps=6',
    '--save_every_steps=3', '--save_every_secs=0')
_TUNED = (
    '--config.finetune.frozen=stem,stage1,stage2_block1_bn*',
    '--config.finetune.layer_decay=0.5', '--config.schedule.peak=0.05',
    '--config.ema.decay=0.8', '--config.seed=1')
_OTHER = '--config.seed=7'


def _train(workdir, *flags, between_calls=None):
  return processes.run('resnet.train', *_FLAGS, *flags, f'--workdir={workdir}',
                       between_calls=between_calls)


def _state(workdir, step=12):
  return loop_techniques_test._state(workdir, step)


def _kill_when_saved(workdir, step, done):
  """Between calls: kills after `step` updates and the save due before.

  Checkpoints are written beside training: without the wait, a busy machine may
  have none yet.
  """
  if done != step:
    return
  due = step // 3 * 3
  while due and not (workdir / 'checkpoints' / f'ckpt-{due}.index').exists():
    time.sleep(0.01)
  processes.kill_at(step, done)


def _init(workdir):
  return json.loads((workdir / 'run.json').read_text())['init']


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  """The folder of a finished run."""
  folder = tmp_path_factory.mktemp('source') / 'run'
  result = _train(folder, _OTHER)
  assert result.code == 0, result.err
  return folder


@pytest.fixture(scope='module')
def tuned(source, tmp_path_factory):
  """The folder of an undisturbed fine-tuning run, and what it printed."""
  folder = tmp_path_factory.mktemp('tuned') / 'run'
  result = _train(folder, *_TUNED, f'--init_from={source}:9')
  assert result.code == 0, result.err
  return folder, result


def test_frozen_parts_have_the_bits_of_the_source(source, tuned):
  """And nothing else has; among the batch norms, those of frozen parts."""
  before, after = _state(source, 9), _state(tuned[0])
  same = {name.partition('/')[2].partition('/')[0] for name in after
          if name.startswith('model/') and (after[name] == before[name]).all()}
  moved = {name.partition('/')[2].partition('/')[0] for name in after
           if name.startswith('model/')} - same
  assert same == {
      'stem_conv', 'stem_bn', 'stage1_block1_conv1', 'stage1_block1_bn1',
      'stage1_block1_conv2', 'stage1_block1_bn2', 'stage2_block1_bn1',
      'stage2_block1_bn2'}
  # Stage 2: three convolutions, the norm of the projection. Stage 3: three of
  # each. The classifier.
  assert len(moved) == 4 + 6 + 1


def test_the_run_folder_says_what_it_began_from(source, tuned):
  folder, result = tuned
  init = _init(folder)
  assert (init['what'], init['source'], init['step'], init['made_new']) == (
      f'{source}:9', f'run {source}, step 9', 9, [])
  assert (f'starting from run {source}, step 9 (SHA-256 '
          f'{init["digest"][:12]}...)\n') in result.err
  assert ('frozen: stem, stage1, stage2_block1_bn*; '
          in result.err), result.err
  events = [path for path in folder.rglob('*tfevents*')]
  texts = {value.tag: value.tensor.string_val[0].decode()
           for path in events
           for event in tf.compat.v1.train.summary_iterator(os.fspath(path))
           for value in event.summary.value if value.tag == 'run/init_from'}
  assert json.loads(texts['run/init_from'].strip('`\n')) == init


def test_killed_equals_undisturbed(source, tuned, tmp_path):
  """Before the first checkpoint the source is read again, and never later."""
  theirs, folder = tmp_path / 'theirs', tmp_path / 'run'
  shutil.copytree(source, theirs)
  first = True
  for step in (1, 4, 8):
    killed = _train(folder, *_TUNED, *([f'--init_from={theirs}:9'] * first),
                    between_calls=functools.partial(
                        _kill_when_saved, folder, step))
    assert killed.code == -signal.SIGKILL, killed.err
    if step == 4:
      shutil.rmtree(theirs)
    first = False
  assert _train(folder, *_TUNED, f'--init_from={theirs}:9').code == 0
  loop_techniques_test._assert_same_end(tuned[0], folder)
  assert _init(folder)['digest'] == _init(tuned[0])['digest']


def test_a_changed_source_is_refused_before_the_first_checkpoint(
    source, tmp_path):
  theirs, folder = tmp_path / 'theirs', tmp_path / 'run'
  shutil.copytree(source, theirs)
  killed = _train(folder, *_TUNED, f'--init_from={theirs}',
                  between_calls=functools.partial(
                      processes.kill_at, 1))
  assert killed.code == -signal.SIGKILL, killed.err
  shutil.rmtree(theirs)
  assert _train(theirs, '--config.seed=8').code == 0
  refused = _train(folder, *_TUNED, f'--init_from={theirs}')
  assert refused.code == 2
  assert f'--init_from={theirs} has changed since this run' in refused.err


@pytest.mark.parametrize('flags, sentence', [
    (['--init_from={source}'], '--init_from={source} differs from what the run '
     'in --workdir={run} began from: give --init_from={source}:9, or leave it '
     'out, to continue that run, or give another --workdir.'),
    (['--init_from={source}:9', '--keep_optimizer'], '--keep_optimizer=true '
     'differs from how the run in --workdir={run} began'),
    (['--config.finetune.layer_decay=0.6'], 'config.finetune.layer_decay: 0.5 '
     '-> 0.6')])
def test_a_finished_run_that_began_otherwise_is_refused(
    source, tuned, flags, sentence):
  run, _ = tuned
  result = _train(run, *_TUNED, *(
      flag.format(source=source) for flag in flags))
  assert result.code == 2
  assert sentence.format(source=source, run=run) in result.err


def test_a_run_that_began_without_it_is_refused(source, tmp_path):
  """Whether it has a checkpoint or not."""
  for step, folder in ((1, tmp_path / 'a'), (4, tmp_path / 'b')):
    killed = _train(folder, between_calls=functools.partial(
        processes.kill_at, step))
    assert killed.code == -signal.SIGKILL, killed.err
    refused = _train(folder, f'--init_from={source}')
    assert refused.code == 2
    assert (f'--init_from={source} is for the start of a run, but --workdir='
            f'{folder} holds a run that began without it') in refused.err


def test_a_copy_with_its_optimizer_trains_on_from_there(source, tmp_path):
  """Its first update has the momentum of the source besides."""
  flags = ('--config.schedule.name=constant', '--config.schedule.peak=0.5',
           '--config.optimizer.weight_decay=0', '--config.seed=7',
           '--config.optimizer.nesterov=false',
           '--config.train_steps=1', '--save_every_steps=1')
  ends = {}
  for keep in (False, True):
    folder = tmp_path / str(keep)
    result = _train(folder, *flags, f'--init_from={source}',
                    f'--keep_optimizer={str(keep).lower()}')
    assert result.code == 0, result.err
    ends[keep] = _state(folder, 1)
  before = _state(source)
  for name in before:
    if name.startswith('momentum/'):
      weights = f'model/{name.partition("/")[2]}'
      # Goyal et al. 2017, eq. 9; the gradient is the same in both.
      np.testing.assert_allclose(
          ends[True][weights], ends[False][weights] - 0.5 * 0.9 * before[name],
          rtol=1e-4, atol=1e-6, err_msg=name)


def test_two_workers_do_what_one_process_with_two_devices_does(
    source, tmp_path):
  flags = (*_TUNED, f'--init_from={source}:9')
  one = _train(tmp_path / 'one', *flags, '--virtual_devices=2')
  assert one.code == 0, one.err
  results = workers_test._train(2, tmp_path / 'two', *_FLAGS, *flags)
  assert [r.code for r in results] == [0, 0], results
  loop_techniques_test._assert_same_end(tmp_path / 'one', tmp_path / 'two')


def test_one_killed_worker_of_two_changes_nothing(source, tmp_path):
  flags = (*_FLAGS, *_TUNED, f'--init_from={source}:9')
  calm = workers_test._train(2, tmp_path / 'calm', *flags)
  assert [r.code for r in calm] == [0, 0], calm
  for step in (1, 7):
    killed = workers_test._train(
        2, tmp_path / 'killed', *flags, at={
            1: functools.partial(processes.kill_at, step)})
    assert killed[1].code == -signal.SIGKILL
  again = workers_test._train(2, tmp_path / 'killed', *flags)
  assert [r.code for r in again] == [0, 0], again
  loop_techniques_test._assert_same_end(tmp_path / 'calm', tmp_path / 'killed')


def test_two_workers_whose_files_differ_are_refused(source, tmp_path):
  """The same relative path on both, as on machines without a shared disk."""
  ports, started = workers_test._free_ports(2), []
  for rank in range(2):
    folder = tmp_path / f'machine{rank}'
    shutil.copytree(source, folder / 'weights')
    if rank:  # Another checkpoint is the newest.
      for path in (folder / 'weights' / 'checkpoints').glob('ckpt-12.*'):
        path.unlink()
    started.append(subprocess.Popen(
        [sys.executable, '-m', 'resnet.train',
         '--strategy=multi_worker_mirrored', *workers_test._FLAGS, *_FLAGS,
         *_TUNED, '--init_from=weights', f'--workdir={tmp_path / "run"}'],
        cwd=folder, stderr=subprocess.PIPE, text=True, env={
            **os.environ, 'PYTHONPATH': os.fspath(_ROOT),
            **workers_test._environment(ports, rank)}))
  for process in started:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2, err
    assert ('The weights to start from of worker 1 differ from those of worker '
            '0: give all workers the same files.') in err


@pytest.mark.parametrize('frozen, sentence', [
    ('stage9', "matches no variable with 'stage9': give names of parts (stem, "
     'stage1, stage2, stage3, head)'), ('*', 'leaves nothing to train')])
def test_what_cannot_be_frozen_is_refused(tmp_path, frozen, sentence):
  result = _train(tmp_path / 'run', f'--config.finetune.frozen={frozen}')
  assert result.code == 2
  assert sentence in result.err


def test_a_file_of_weights(source, tmp_path):
  """A run of one update with a rate of zero ends with them."""
  values = {name.removeprefix('model/'): value
            for name, value in _state(source).items()
            if name.startswith('model/')}
  np.savez(tmp_path / 'weights.npz', **values)
  flags = ('--config.schedule.peak=0', '--config.train_steps=1',
           '--config.model.batch_norm_momentum=0.999')
  result = _train(tmp_path / 'run', *flags,
                  f'--init_from={tmp_path / "weights.npz"}')
  assert result.code == 0, result.err
  for name, value in _state(tmp_path / 'run', 1).items():
    path = name.removeprefix('model/')
    if path in values and 'moving' not in path:
      np.testing.assert_array_equal(value, values[path], err_msg=name)
  init = _init(tmp_path / 'run')
  assert (init['step'], init['digest']) == (None, hashlib.sha256(
      (tmp_path / 'weights.npz').read_bytes()).hexdigest())
  refused = _train(tmp_path / 'copy', *flags, '--keep_optimizer',
                   f'--init_from={tmp_path / "weights.npz"}')
  assert refused.code == 2
  assert '--keep_optimizer is for the runs of this program, but' in refused.err
