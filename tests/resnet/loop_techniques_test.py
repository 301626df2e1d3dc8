"""What a run does on its own is the same when it is killed and restarted."""
import functools
import json
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests import processes
from tests.resnet import workers_test

pytestmark = pytest.mark.slow  # Each starts several processes.
_STEPS = 12
_FLAGS = (
    '--config.model.name=baseline',
    '--config.global_batch=16', '--config.train_epochs=0',
    f'--config.train_steps={_STEPS}', '--config.schedule.warmup_epochs=0',
    '--steps_per_call=1', '--log_every_steps=2', '--eval_every_steps=2',
    '--save_every_steps=3', '--save_every_secs=0', '--config.eval_batch=100',
    '--config.optimizer.nesterov=false')
# No accuracy is above the first one's for long: the rate drops again and again.
_PLATEAU = ('--config.monitor.plateau_evals=1',
            '--config.monitor.plateau_factor=0.5',
            '--config.monitor.plateau_floor=0.001',
            '--config.schedule.peak=1e-7', '--config.schedule.name=constant')


def _explodes(at):
  """The rate explodes after this share of 12 updates."""
  return ('--config.schedule.name=step', f'--config.schedule.drops_at={at},',
          '--config.schedule.drop_factors=1e30,', '--config.recovery.most=3',
          '--config.recovery.rate_factor=1e-15')


_EXPLODES = _explodes(0.5)


def _train(workdir, *flags, between_calls=None):
  return processes.run('resnet.train', *_FLAGS, *flags, f'--workdir={workdir}',
                       between_calls=between_calls)


def _state(workdir, step=_STEPS):
  reader = tf.train.load_checkpoint(
      os.fspath(workdir / 'checkpoints' / f'ckpt-{step}'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map() if name != 'identity'}


def _records(workdir, split):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [r for r in map(json.loads, lines) if r['split'] == split]


def _recoveries(workdir):
  return [json.loads(line) for line in
          (workdir / 'recoveries.jsonl').read_text().splitlines()]


def _assert_same_end(one, other, step=_STEPS):
  expected = _state(one, step)
  for name, value in _state(other, step).items():
    np.testing.assert_array_equal(value, expected[name], err_msg=name)
  curves = [[(r['step'], r['loss'], r.get('learning_rate'))
             for split in ('train', 'eval') for r in _records(run, split)]
            for run in (one, other)]
  assert curves[0] == curves[1]


@pytest.mark.parametrize('flags', [
    _PLATEAU, (*_EXPLODES, '--config.recovery.skip'),
    # Saves at other steps too, which do not count.
    (*_explodes(0.7), '--save_every_secs=0.001'),
], ids=['plateau', 'skip', 'rate'])
def test_killed_equals_undisturbed(tmp_path, flags):
  calm = _train(tmp_path / 'calm', *flags)
  assert calm.code == 0, calm.err
  for step in (4, 8, 10):
    killed = _train(tmp_path / 'killed', *flags,
                    between_calls=functools.partial(processes.kill_at, step))
    assert killed.code == -signal.SIGKILL, killed.err
  assert _train(tmp_path / 'killed', *flags).code == 0
  _assert_same_end(tmp_path / 'calm', tmp_path / 'killed')
  if flags != _PLATEAU:
    assert _recoveries(tmp_path / 'calm') == _recoveries(tmp_path / 'killed')


def test_a_plateau_lowers_the_rate_to_the_floor(tmp_path):
  assert _train(tmp_path / 'run', *_PLATEAU,
                '--config.monitor.plateau_floor=2e-8').code == 0
  rates = [r['learning_rate'] for r in _records(tmp_path / 'run', 'train')]
  # The first evaluation, at step 2, is the best; each later one halves.
  np.testing.assert_allclose(
      rates, [1e-7, 1e-7, 5e-8, 2.5e-8, 2e-8, 2e-8], rtol=1e-6)


def test_early_stopping_ends_the_run_well(tmp_path):
  run = _train(tmp_path / 'run', '--config.monitor.stop_evals=2',
               '--config.schedule.peak=1e-7')
  assert run.code == 0, run.err
  assert [r['step'] for r in _records(tmp_path / 'run', 'eval')] == [2, 4, 6]
  again = _train(tmp_path / 'run', '--config.monitor.stop_evals=2',
                 '--config.schedule.peak=1e-7')
  assert again.code == 0 and 'finished' in again.out
  killed = _train(tmp_path / 'killed', '--config.monitor.stop_evals=2',
                  '--config.schedule.peak=1e-7',
                  between_calls=functools.partial(processes.kill_at, 5))
  assert killed.code == -signal.SIGKILL
  assert _train(tmp_path / 'killed', '--config.monitor.stop_evals=2',
                '--config.schedule.peak=1e-7').code == 0
  _assert_same_end(tmp_path / 'run', tmp_path / 'killed', step=6)


def test_a_broken_loss_returns_to_a_checkpoint_with_a_smaller_rate(tmp_path):
  """First to the last one; when it breaks again, to the one before."""
  run = _train(tmp_path / 'run', *_EXPLODES)
  assert run.code == 0, run.err
  recoveries = _recoveries(tmp_path / 'run')
  assert [(r['recovery'], r['step'], r['skipped_batches'])
          for r in recoveries] == [(1, 6, 0), (2, 3, 0)]
  np.testing.assert_allclose([r['rate_scale'] for r in recoveries],
                             [1e-15, 1e-30], rtol=1e-5)
  assert all(np.isfinite(value).all() for value in _state(
      tmp_path / 'run').values())
  assert _records(tmp_path / 'run', 'train')[-1]['recoveries'] == 2
  assert 'back to step 6' in run.err and 'back to step 3' in run.err


def test_after_so_many_returns_the_run_ends(tmp_path):
  run = _train(tmp_path / 'run', *_EXPLODES, '--config.recovery.most=1')
  assert run.code == 2
  assert 'is not a finite number' in run.err
  assert len(_recoveries(tmp_path / 'run')) == 1


def test_skipping_trains_on_later_batches(tmp_path):
  """After n batches left out, step s trains on batch s + n."""
  flags = ('--log_positions', '--log_every_steps=1')
  skips = _train(tmp_path / 'skips', *_EXPLODES, *flags,
                 '--config.recovery.skip')
  assert skips.code == 0, skips.err
  assert [(r['step'], r['broken_at'], r['skipped_batches'])
          for r in _recoveries(tmp_path / 'skips')] == [(6, 8, 2), (3, 8, 7)]
  calm = _train(tmp_path / 'calm', '--config.train_steps=20', *flags)
  assert calm.code == 0, calm.err
  drawn = {r['step']: r['positions']
           for r in _records(tmp_path / 'calm', 'train')}
  for record in _records(tmp_path / 'skips', 'train'):
    before = 0 if record['step'] <= 3 else 7
    assert record['positions'] == drawn[record['step'] + before]


def test_a_jump_of_the_loss_counts_as_broken(tmp_path):
  """At 30 times the rate the loss rises by more than half."""
  flags = ('--config.schedule.name=step', '--config.schedule.drops_at=0.5,',
           '--config.schedule.drop_factors=300,', '--config.recovery.most=1',
           '--config.recovery.rate_factor=0.001', '--config.recovery.jump=1.2',
           '--config.schedule.peak=0.1')
  run = _train(tmp_path / 'run', *flags)
  assert run.code == 0, run.err
  recovery, = _recoveries(tmp_path / 'run')
  assert 'jumped' in recovery['what'] and recovery['step'] == 6


_MANY = ('--config.optimizer.name=lamb', '--config.optimizer.accumulate=2',
         '--config.optimizer.clip=adaptive', '--config.optimizer.clip_at=0.1',
         '--config.ema.decay=0.9', '--config.loss=sigmoid',
         '--config.label_smoothing=0.1', '--config.augment.mixup=0.2',
         '--config.schedule.peak_batch=256', *_PLATEAU)


@pytest.mark.parametrize('flags', [
    _MANY, (*_explodes(0.5), '--config.recovery.skip')], ids=['many', 'broken'])
def test_two_workers_do_what_one_process_with_two_devices_does(
    tmp_path, flags):
  one = processes.run('resnet.train', *_FLAGS, *flags, '--virtual_devices=2',
                      f'--workdir={tmp_path / "one"}')
  assert one.code == 0, one.err
  for result in workers_test._train(2, tmp_path / 'two', *_FLAGS, *flags):
    assert result.code == 0, result.err
  _assert_same_end(tmp_path / 'one', tmp_path / 'two')
  if flags != _MANY:
    assert _recoveries(tmp_path / 'one') == _recoveries(tmp_path / 'two')
