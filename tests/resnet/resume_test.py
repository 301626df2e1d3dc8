"""Stopped equals never stopped: bit for bit, wherever the run is killed."""
import functools
import json
import os
import signal
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util
import tensorflow as tf

from resnet.run import checkpoint
from resnet.run.events import tags
from tests import processes, tiny_dataset

pytestmark = pytest.mark.slow  # Each starts a process or several.
_STEPS = 12
_FLAGS = (
    '--config.model.width=4', '--config.global_batch=16',
    '--config.train_epochs=0', f'--config.train_steps={_STEPS}',
    '--config.schedule.warmup_epochs=0.05', '--steps_per_call=1',
    # Neither divides the other: saves fall between log points and evaluations.
    '--log_every_steps=2', '--eval_every_steps=4', '--save_every_steps=3',
    '--save_every_secs=0')


def _signal_at(step, number, done):
  """Between calls: sends this process a signal after `step` updates."""
  if done == step:
    os.kill(os.getpid(), number)


def _kill_inside_save(step, _):
  """Between calls: kills the process after it wrote a save's data.

  The files of a checkpoint are written under other names and then renamed, the
  index last. The process is killed instead of renaming that.
  """
  replace = os.replace
  if replace.__name__ == 'replace_or_die':
    return

  def replace_or_die(source, target):
    if os.fspath(target).endswith(f'ckpt-{step}.index'):
      os.kill(os.getpid(), signal.SIGKILL)
    return replace(source, target)

  os.replace = replace_or_die


def _train(workdir, devices, between_calls=None, flags=_FLAGS):
  return processes.run(
      'resnet.train', *flags, f'--workdir={workdir}', *devices,
      between_calls=between_calls)


def _state(workdir, step=_STEPS):
  """Returns {name: array} of everything in a checkpoint."""
  reader = tf.train.load_checkpoint(
      os.fspath(workdir / 'checkpoints' / f'ckpt-{step}'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name != 'identity'}


def _curve(workdir):
  """Returns the records of metrics.jsonl without what depends on the clock."""
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [{name: value for name, value in json.loads(line).items()
           if not tags.is_of_machine(name)}
          for line in lines]


def _events(workdir, split, tag):
  events = plugin_event_accumulator.EventAccumulator(
      os.fspath(workdir / split))
  events.Reload()
  return events.Tensors(tag)


def _event_steps(workdir, split, tag):
  return [event.step for event in _events(workdir, split, tag)]


def _pictures(workdir):
  """Returns {tag: [(step, width, height, PNG)]} as TensorBoard reads them."""
  return {tag: [(event.step, *tensor_util.make_ndarray(event.tensor_proto))
                for event in _events(workdir, split, f'pictures/{tag}')]
          for split, tag in (('train', 'input'), ('eval', 'confusion'),
                             ('eval', 'worst'))}


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  """Returns a function: devices -> folder of a run that was never stopped."""
  @functools.cache
  def run(devices):
    workdir = tmp_path_factory.mktemp('undisturbed') / 'run'
    result = _train(workdir, devices)
    assert result.code == 0, result.err
    return workdir
  return run


@pytest.mark.parametrize('devices', [
    ('--strategy=one_device',),
    ('--strategy=mirrored', '--virtual_devices=2')])
def test_killed_again_and_again_equals_never_stopped(
    tmp_path, undisturbed, devices):
  workdir = tmp_path / 'run'
  at = lambda step, number: functools.partial(_signal_at, step, number)
  steps = lambda: checkpoint.steps_in(workdir / 'checkpoints')

  # Before anything is saved.
  assert _train(workdir, devices, at(2, signal.SIGKILL)).code == -signal.SIGKILL
  assert steps() == []
  # Between two log points, with the save of step 3 or 4 behind it.
  assert _train(workdir, devices, at(5, signal.SIGKILL)).code == -signal.SIGKILL
  assert set(steps()) <= {3, 4} and steps()
  # Inside the save of step 6: half of it is left, and must not count.
  killed = _train(workdir, devices, functools.partial(_kill_inside_save, 6))
  assert killed.code == -signal.SIGKILL
  assert {path.name for path in (workdir / 'checkpoints').glob('ckpt-6*')} == {
      'ckpt-6.index.partial', 'ckpt-6.data-00000-of-00001'}
  assert 6 not in steps() and steps()
  # SIGTERM ends with 143, saved at the very step.
  stopped = _train(workdir, devices, at(7, signal.SIGTERM))
  assert stopped.code == 143, stopped.err
  assert steps()[-1] == 8 and 'Stopped at step 8' in stopped.err
  # Undisturbed to its end.
  assert _train(workdir, devices).code == 0
  assert not list((workdir / 'checkpoints').glob('*.partial'))

  expected, got = _state(undisturbed(devices)), _state(workdir)
  assert expected.keys() == got.keys() and len(got) > 60
  for name, value in expected.items():
    np.testing.assert_array_equal(got[name], value, err_msg=name)
  assert _curve(workdir) == _curve(undisturbed(devices))
  assert _event_steps(workdir, 'train', 'quality/loss') == [2, 4, 6, 8, 10, 12]
  assert _event_steps(workdir, 'eval', 'quality/accuracy') == [4, 8, 12]
  pictures = _pictures(workdir)
  assert pictures == _pictures(undisturbed(devices))
  assert {tag: [step for step, *_ in found]
          for tag, found in pictures.items()} == {
              'input': [1], 'confusion': [4, 8, 12], 'worst': [4, 8, 12]}


# Images from disk, with all random augmentation; the image size changes after
# step 6.
_PICTURES = (
    '--config=imagenet_resnet50', '--config.data.name=photos',
    '--config.data.train_split=train', '--config.data.eval_split=test',
    '--config.data.image_size=48', '--config.augment.sizes=32,48',
    '--config.augment.policy=rand_augment', '--config.augment.brightness=0.4',
    '--config.augment.erasing=0.5', '--config.augment.repeats=2',
    '--config.augment.mixup=0.2', '--config.augment.cutmix=1',
    '--config.model.depth=18', '--config.model.version=v1',
    '--config.eval_batch=8', *_FLAGS, '--config.global_batch=8')


def test_images_from_disk_resume_bit_for_bit(tmp_path):
  tiny_dataset.prepare_photos(tmp_path / 'data')
  train = functools.partial(_train, flags=(
      *_PICTURES, f'--data_dir={tmp_path}/data'))
  devices = ('--virtual_devices=2',)
  undisturbed = train(tmp_path / 'undisturbed', devices)
  assert undisturbed.code == 0, undisturbed.err
  assert '11 examples counted' in undisturbed.out
  kill = functools.partial(_signal_at, 5, signal.SIGKILL)
  killed = train(tmp_path / 'killed', devices, kill)
  assert killed.code == -signal.SIGKILL, killed.err
  resumed = train(tmp_path / 'killed', devices)
  assert resumed.code == 0 and 'resuming at step ' in resumed.err
  expected, got = _state(tmp_path / 'undisturbed'), _state(tmp_path / 'killed')
  for name, value in expected.items():
    np.testing.assert_array_equal(got[name], value, err_msg=name)
  assert _curve(tmp_path / 'killed') == _curve(tmp_path / 'undisturbed')


def test_hardware_may_change_at_a_restart(tmp_path):
  """With synchronized batch norm, devices change nothing but rounding."""
  sync = '--config.model.sync_batch_norm=True'
  assert _train(tmp_path / 'one', (sync,)).code == 0
  stop = functools.partial(_signal_at, 4, signal.SIGTERM)
  assert _train(tmp_path / 'both', (sync,), stop).code == 143
  moved = _train(tmp_path / 'both', (sync, '--virtual_devices=2'))
  assert moved.code == 0 and '2 x 8 images per step' in moved.err
  expected, got = _state(tmp_path / 'one'), _state(tmp_path / 'both')
  for name, value in expected.items():
    np.testing.assert_allclose(got[name], value, atol=1e-4, err_msg=name)
  curves = [[(r['step'], r['learning_rate']) for r in _curve(tmp_path / run)
             if r['split'] == 'train'] for run in ('one', 'both')]
  assert curves[0] == curves[1]


def test_sigterm_from_outside_ends_within_seconds(tmp_path):
  process, folder = processes.start(
      'resnet.train', *_FLAGS, '--config.train_steps=1000000',
      f'--workdir={tmp_path}/run')
  metrics = tmp_path / 'run' / 'metrics.jsonl'
  while not metrics.exists() or not metrics.read_text():
    assert process.is_alive()
    time.sleep(0.05)
  os.kill(process.pid, signal.SIGTERM)
  asked = time.monotonic()
  result = processes.finish(process, folder)
  assert result.code == 143, result.err
  assert time.monotonic() - asked < 30  # A launcher's usual grace time.
  newest = checkpoint.steps_in(tmp_path / 'run' / 'checkpoints')[-1]
  assert f'Stopped at step {newest}: ' in result.err


def test_a_truncated_newest_checkpoint_is_skipped(tmp_path, undisturbed):
  devices = ('--strategy=one_device',)
  workdir = tmp_path / 'run'
  stop = functools.partial(_signal_at, 7, signal.SIGTERM)
  assert _train(workdir, devices, stop).code == 143
  data, = (workdir / 'checkpoints').glob('ckpt-8.data*')
  data.write_bytes(data.read_bytes()[:-100])
  result = _train(workdir, devices)
  assert result.code == 0
  assert 'ckpt-8 is damaged' in result.err
  assert 'resuming at step 6' in result.err
  for name, value in _state(undisturbed(devices)).items():
    np.testing.assert_array_equal(_state(workdir)[name], value, err_msg=name)
  assert _curve(workdir) == _curve(undisturbed(devices))


def test_a_finished_run_says_so_and_evaluate_repeats_its_figure(undisturbed):
  workdir = undisturbed(('--strategy=one_device',))
  before = (workdir / 'metrics.jsonl').read_bytes()
  again = _train(workdir, ('--strategy=one_device',))
  assert again.code == 0 and 'This run is finished' in again.out
  assert (workdir / 'metrics.jsonl').read_bytes() == before
  last = [r for r in _curve(workdir) if r['split'] == 'eval'][-1]
  repeated = processes.run('resnet.evaluate', f'--workdir={workdir}')
  assert repeated.code == 0, repeated.err
  assert (f'step {_STEPS} on digits test: accuracy {last["accuracy"]:.4f}, '
          f'top-5 {last["top5_accuracy"]:.4f}, loss {last["loss"]:.4f}, '
          '360 examples counted') in repeated.out


def test_max_mins_stops_and_saves(tmp_path):
  result = _train(tmp_path / 'run', ('--max_mins=0.0001',))
  assert result.code == 143, result.err
  assert 'Stopped before the first step' in result.err
  result = _train(tmp_path / 'run', ('--max_mins=100',))
  assert result.code == 0, result.err


def test_deterministic_operations_train(tmp_path):
  result = _train(tmp_path / 'run', ('--deterministic',))
  assert result.code == 0, result.err
