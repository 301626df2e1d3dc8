"""The benchmark measures what it says, and one short round of it runs."""
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from resnet.models import resnet
from resnet.tools import log_cost, plain_step, rounds, torch_process
from tests import processes

_LOOP, _KERAS, _FUSED = (
    'training loop', "plain step, Keras's norm", 'plain step, fused norm')


class _Clocks:
  """Two clocks that the test sets: seconds, and CPU-seconds."""
  secs, cpu_secs = 1000.0, 500.0

  def __call__(self):
    return self.secs, self.cpu_secs

  def move(self, secs, cpu_secs):
    self.secs += secs
    self.cpu_secs += cpu_secs


class _Step:
  """A step that takes seconds, and 60 s more the first time, to compile."""

  def __init__(self, clocks, secs, cpu_secs):
    self.asked = []  # The numbers of updates.
    self._clocks, self._cost = clocks, (secs, cpu_secs)

  def __call__(self, steps):
    if not self.asked:
      self._clocks.move(60, 60)
    self.asked.append(steps)
    for _ in range(steps):
      self._clocks.move(*self._cost)


def _rounds(count):
  """Returns (clocks, two steps, rounds with blocks of 10 s or longer)."""
  clocks = _Clocks()
  steps = _Step(clocks, 2, 3), _Step(clocks, 5, 0.5)
  return clocks, steps, rounds.Rounds(
      [rounds.timed(step, clocks) for step in steps], count, 10.0, clocks)


def _ask(turns, clocks, questions):
  """Asks after calls: (updates done, seconds and CPU-seconds since the last).
  """
  answers = []
  for step, *passed in questions:
    clocks.move(*passed)
    answers.append(turns.after_call(step))
  return answers


def test_blocks_alternate_and_only_what_is_warm_is_timed():
  clocks, steps, turns = _rounds(2)
  assert _ask(turns, clocks, [
      (0, 9, 9), (1, 90, 90),  # Compiles; the other steps follow.
      (2, 20, 20),  # Its batches were made during the pause.
      (5, 6, 1), (7, 6, 2),  # The first block: 5 updates.
      (9, 20, 20),  # After a pause again.
      (10, 9, 4), (13, 11, 4)]) == [False] * 7 + [True]
  assert turns.costs == [
      ((5, 12, 3), (5, 10, 15), (5, 25, 2.5)),
      ((4, 20, 8), (4, 8, 12), (4, 20, 2))]
  assert [step.asked[1:] for step in steps] == [[5, 4], [5, 4]]
  assert [step.asked[0] > 0 for step in steps] == [True, True]


def test_a_block_has_steps():
  """Where the loop asks again at the same step, it did something else."""
  clocks, steps, turns = _rounds(1)
  _ask(turns, clocks, [(1, 1, 1), (2, 1, 1)])
  assert _ask(turns, clocks, [(2, 20, 20)] * 3) == [False] * 3
  assert (turns.costs, len(steps[0].asked)) == ([], 1)
  assert _ask(turns, clocks, [(6, 20, 20)]) == [True]
  assert turns.costs[0][0] == (4, 80, 80)


def test_calls_with_and_without_a_log_point_are_paired():
  clocks = _Clocks()
  calls = log_cost.Calls(4, lambda: clocks()[0])
  assert not calls.after_call(0)
  # The first four are slow; then 2 s and 5 s, and 3 s and 7 s.
  for step, secs in enumerate([60, 50, 40, 30, 2, 5, 3, 7], 1):
    clocks.move(secs, 0)
    assert calls.after_call(step) == (step == 8)
    clocks.move(100, 0)  # An evaluation asks, too.
    calls.after_call(step)
  assert calls.pairs() == [(2, 5), (3, 7)]


def test_nothing_is_measured_after_the_last_round():
  clocks, steps, turns = _rounds(1)
  questions = [(step, 20, 20) for step in (1, 2, 3, 4, 5)]
  assert _ask(turns, clocks, questions) == [False, False, True, True, True]
  assert (len(turns.costs), len(steps[0].asked)) == (1, 2)


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_plain_steps_differ_in_batch_norm_alone(precision):
  config = schema.Config(precision=precision, global_batch=4)
  config.model.depth, config.model.width = 8, 4
  images = plain_step.Images((8, 8, 1), 10)
  ours, keras_model = (
      plain_step._build(config, tf.distribute.get_strategy(), images, choice)
      for choice in (False, True))
  kinds = [{type(layer) for layer in model.layers}
           for model in (ours, keras_model)]
  assert keras.layers.BatchNormalization in kinds[1] - kinds[0]
  assert len(kinds[0] - kinds[1]) == len(kinds[1] - kinds[0]) == 1
  assert [(v.path, v.shape, v.dtype) for v in ours.variables] == [
      (v.path, v.shape, v.dtype) for v in keras_model.variables]
  keras_model.set_weights(ours.get_weights())
  inputs, _ = plain_step._batch(ours, images, 4)
  np.testing.assert_allclose(
      ours(inputs, training=True), keras_model(inputs, training=True),
      atol=1e-5 if precision == 'float32' else 1e-2)


@pytest.mark.parametrize('keras_batch_norm, fused', [(True, 0), (False, 9)])
def test_plain_step_trains(keras_batch_norm, fused):
  """One batch is learned by heart; 7 convolutions and 2 shortcuts are normed.
  """
  config = schema.Config(global_batch=4)
  config.model.depth, config.schedule.peak = 8, 100.0
  step = plain_step.make(
      config, tf.distribute.get_strategy(), plain_step.Images((8, 8, 1), 10),
      'false', keras_batch_norm=keras_batch_norm)
  assert step.fused_norms == fused
  first = step.run(1)
  assert step.run(20) < first / 2


def _numbers(text):
  """Returns (median, min, max) of 'median [min, max]'."""
  return tuple(map(float, re.fullmatch(
      r'([\d.]+) \[([\d.]+), ([\d.]+)\]', text).groups()))


def _table(lines, unit):
  """Checks a table of one round; returns {name: speed}."""
  title, *rows = lines
  assert title == (f'images per {unit}, median of 1 rounds [min, max]; training'
                   ' loop / other, round by round:')
  speeds = {}
  for row in rows:
    name, speed, ratio = row[2:28].rstrip(), row[29:57].rstrip(), row[58:]
    speed = _numbers(speed)
    assert len(set(speed)) == 1 and speed[0] > 0
    speeds[name] = speed[0]
    assert (not ratio) == (name == _LOOP)
    if ratio:  # Speeds are printed to 0.1, ratios to 0.001.
      np.testing.assert_allclose(
          _numbers(ratio)[0], speeds[_LOOP] / speed[0], rtol=0.05, atol=1e-3)
  return speeds


def _run(*argv):
  result = processes.run(
      'resnet.tools.benchmark', '--rounds=1', '--block_secs=0.1', '--jit=false',
      *argv)
  assert result.code == 0, result.err
  return result.out.splitlines()


def _tiny(*argv):
  return _run('--config.global_batch=8', '--config.model.width=4', *argv)


@pytest.mark.slow
def test_loop_and_plain_steps_are_compared():
  what, where, *lines, torch, logged = _tiny('--startup=false')
  assert what == (
      'digits_resnet8, batches of 8 x (8, 8, 1), float32, --jit=false')
  assert re.fullmatch(
      r'.+, 1 x CPU, \d+ threads, load average [\d.]+ at the start', where)
  for unit, table in (('second', lines[:4]), ('CPU-second', lines[4:])):
    assert list(_table(table, unit)) == [_LOOP, _KERAS, _FUSED]
  assert torch.startswith('  PyTorch  ')
  assert re.fullmatch(
      r'a log point: -?[\d.]+ ms more than a call without one, -?[\d.]+% of '
      r'100 updates \(median of 16 pairs\)', logged)


@pytest.mark.slow
def test_what_cannot_be_compared_is_said():
  *_, fused, torch, _ = _tiny(
      '--startup=false', '--virtual_devices=2',
      '--config.model.sync_batch_norm=true')
  assert fused.split(maxsplit=4)[-1] == 'not measured: this network has none'
  assert torch.split(maxsplit=1) == [
      'PyTorch', 'not measured: only on one CPU device']


@pytest.mark.slow
def test_startup_is_measured_with_and_without_xla():
  lines = _tiny()
  title = 'start-up, seconds from process start to the end of the first step:'
  rows = lines[lines.index(title) + 1:]
  names, secs = zip(*(row.rsplit(maxsplit=1) for row in rows))
  assert [name.strip() for name in names] == [
      _KERAS, 'training loop, first start', 'second start',
      'first start with XLA', 'second start with XLA']
  assert all(float(value) > 0 for value in secs)


def test_what_pytorch_is_told_has_the_published_number_of_weights():
  """ResNet-50: 25,557,032, and 11,689,512 for 18 (torchvision's)."""
  for depth, block, weights in ((50, 'bottleneck', 25_557_032),
                                (18, 'basic', 11_689_512)):
    config = schema.Config()
    config.model = schema.Model(
        family='imagenet', depth=depth, version='v1.5', block=block,
        stem='imagenet', width=64)
    told = torch_process.settings(config, (224, 224, 3), 1000, threads=2)
    assert (told['classes'], told['image_shape']) == (1000, (224, 224, 3))
    counted, channels = 64 * 3 * 49 + 2 * 64, 64
    for stage in told['stages']:
      for index, convs in enumerate(stage):
        before, stride = channels, 1
        for filters, kernel, conv_stride in convs:
          counted += filters * channels * kernel**2 + 2 * filters
          channels, stride = filters, stride * conv_stride
        assert stride == (2 if stage is not told['stages'][0] and not index
                          else 1)
        if before != channels:
          counted += before * channels + 2 * channels
    assert counted + 1000 * (channels + 1) == weights


@pytest.mark.parametrize('change, reason', [
    ({'model.name': 'vgg16'}, 'only for config.model.name=resnet'),
    ({'model.sync_batch_norm': True}, 'only for config.model.sync_batch_norm'),
    ({'model.stem': 'deep'}, 'only without config.model.stem=deep and'),
    ({'model.shortcut': 'D'}, 'only without config.model.stem=deep and'),
    *(({f'model.{name}': value}, f'only for config.model.{name}={default}')
      for name, value, default in (
          ('inner_width', 2, 1), ('groups', 2, 1), ('squeeze_excite', 4, 0),
          ('blur_pool', True, False), ('stochastic_depth', 0.1, 0.0),
          ('dropout', 0.1, 0.0))),
    ({'precision': 'float16'}, 'only for config.precision=float32 or bfloat16'),
    ({'devices': ['/device:GPU:0']}, 'only on one CPU device'),
    ({'devices': ['/device:CPU:0', '/device:CPU:1']}, 'only on one CPU device'),
    ({}, '')])
def test_why_pytorch_is_not_compared(change, reason):
  devices = change.pop('devices', ['/device:CPU:0'])
  config = schema.Config()
  for path, value in change.items():
    *group, name = path.split('.')
    setattr(config.model if group else config, name, value)
  said = torch_process.why_not(config, devices, pathlib.Path(sys.executable))
  assert said.startswith(reason) and bool(said) == bool(reason)


@pytest.mark.parametrize('python, cause', [
    ('no/such/python', 'No such file or directory'),
    ('/bin/false', 'it ended with exit code 1: it printed no error')])
def test_a_python_without_torch(python, cause):
  with pytest.raises(UserError, match=(
      f'--torch_python={python} cannot train in PyTorch .*{cause}')):
    torch_process.TorchProcess(pathlib.Path(python), {})


def _torch_python():
  """Returns the Python with PyTorch that RESNET_TEST_TORCH_PYTHON names."""
  path = os.environ.get('RESNET_TEST_TORCH_PYTHON')
  if not path and importlib.util.find_spec('torch'):
    path = sys.executable
  if not path:
    pytest.skip('RESNET_TEST_TORCH_PYTHON names no Python with PyTorch')
  return path


@pytest.mark.slow
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_pytorch_takes_its_turn(precision):
  python = _torch_python()
  lines = _tiny('--startup=false', f'--torch_python={python}',
                f'--config.precision={precision}')
  for unit, table in (('second', lines[2:7]), ('CPU-second', lines[7:])):
    *others, torch = _table(table, unit)
    assert others == [_LOOP, _KERAS, _FUSED]
    assert re.fullmatch(r'PyTorch \d\S+', torch)


# Prints the logits of torch_step's network for images and weights that are
# waves, in training mode. Weights are waves in Keras's order of their axes.
_LOGITS = """
import json, math, sys
from types import SimpleNamespace
import torch
sys.path.insert(0, sys.argv[1])
import torch_step
settings = SimpleNamespace(**json.loads(sys.argv[2]))
def wave(*shape):
  return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64)
                   ).reshape(shape).float()
net = torch_step.build(settings).train()
with torch.no_grad():
  for layer in net.modules():
    if isinstance(layer, torch.nn.Conv2d):
      o, i, h, w = layer.weight.shape
      layer.weight.copy_(wave(h, w, i, o).permute(3, 2, 0, 1))
    elif isinstance(layer, torch.nn.BatchNorm2d):
      layer.weight.copy_(1 + 0.5 * wave(len(layer.weight)))
      layer.bias.copy_(0.5 * wave(len(layer.bias)))
    elif isinstance(layer, torch.nn.Linear):
      o, i = layer.weight.shape
      layer.weight.copy_(wave(i, o).T)
      layer.bias.zero_()
  images = wave(2, *settings.image_shape).permute(0, 3, 1, 2)
  print(json.dumps(net(images).tolist()))
"""


def _wave(*shape):
  return np.sin(np.arange(np.prod(shape))).reshape(shape).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize('family, depth, block, version, shortcut', [
    ('cifar', 8, 'basic', 'v1', 'A'), ('cifar', 20, 'basic', 'v1.5', 'B'),
    ('cifar', 11, 'bottleneck', 'v1', 'B'), ('cifar', 8, 'basic', 'v2', 'A'),
    ('cifar', 11, 'bottleneck', 'v2', 'B'), ('cifar', 8, 'basic', 'v1', 'none'),
    ('cifar', 11, 'bottleneck', 'v1.5', 'B'),
    ('imagenet', 18, 'basic', 'v1', 'B')])
def test_the_network_in_pytorch_is_the_same(
    family, depth, block, version, shortcut):
  config = schema.Config()
  config.model = schema.Model(
      family=family, depth=depth, block=block, version=version,
      shortcut=shortcut, width=4, stem=family)
  shape = (33, 40, 3)
  told = torch_process.settings(config, shape, 5, threads=1)
  done = subprocess.run(
      [_torch_python(), '-c', _LOGITS,
       os.fspath(pathlib.Path(torch_process.__file__).parent),
       json.dumps(told)], capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr

  model = resnet.build(
      image_shape=shape, num_classes=5, family=family, depth=depth,
      version=version, block=block, stem=family, width=4, shortcut=shortcut,
      zero_init_last_gamma=False, sync_batch_norm=False,
      batch_norm_momentum=0.9, batch_norm_epsilon=1e-5, dtype='float32')
  for v in model.trainable_variables:
    scale, offset = {'kernel': (1, 0), 'gamma': (0.5, 1), 'beta': (0.5, 0),
                     'bias': (0, 0)}[v.path.rpartition('/')[2]]
    v.assign(offset + scale * _wave(*v.shape))
  logits = model({'image': _wave(2, *shape)}, training=True)
  np.testing.assert_allclose(
      json.loads(done.stdout), logits, rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_each_augmentation_is_timed():
  result = processes.run(
      'resnet.tools.benchmark_augment', '--rounds=1',
      '--config.model.name=baseline', '--config.global_batch=8')
  assert result.code == 0, result.err
  header, columns, *rows = result.out.splitlines()
  assert header == (
      'digits_resnet8, batches of 8 x (8, 8, 1), CPU:0, --jit=auto; median of '
      '1 rounds [min, max]:')
  assert columns.split('  ')[-1].strip() == 'step / bare step'
  assert [row[2:28].rstrip() for row in rows] == [
      'flip', 'crop padding 4, flip', 'flips, shift 0.1', 'color jitter 0.4',
      'rand_augment, 2 layers', 'auto_imagenet', 'auto_cifar10',
      'trivial_augment', 'grayscale 0.2', 'blur 0.5', 'cutout 16',
      'random erasing 1.0', 'mixup 0.2', 'cutmix 1.0',
      'mixup 0.2 or cutmix 1.0']
  for row in rows:
    for numbers in (_numbers(row[29:53].strip()), _numbers(row[53:].strip())):
      assert numbers[0] > 0 and len(set(numbers)) == 1


@pytest.mark.parametrize('module', [
    'resnet.tools.benchmark', 'resnet.tools.benchmark_augment',
    'resnet.tools.benchmark_gpu', 'resnet.tools.profile_step'])
def test_a_wrong_flag_is_one_sentence(module):
  result = processes.run(module, '--round=1')
  assert (result.code, result.out) == (2, '')
  assert re.fullmatch(r'error: [^\n]*--round[^\n]*\.\n', result.err)
