"""What a process does differently where there are GPUs."""
import types
from unittest import mock

import pytest
import tensorflow as tf

from resnet.distribution import strategy as strategy_lib
from tests.resnet import strategies


def _over(*devices):
  """Returns a stand-in for a strategy over devices."""
  return types.SimpleNamespace(extended=types.SimpleNamespace(
      worker_devices=[f'/job:localhost/device:{device}' for device in devices]))


@pytest.mark.parametrize('jit, devices, warned', [
    ('false', ['GPU:0', 'GPU:1'], True), ('auto', ['GPU:0'], False),
    ('true', ['GPU:0'], False), ('false', ['CPU:0'], False)])
def test_gpus_without_xla_are_warned_of(jit, devices, warned):
  text = strategy_lib.without_xla_warning(jit, _over(*devices))
  assert bool(text) == warned
  if text:
    assert text.startswith('--jit=false is very slow on GPUs')
    assert 'give --jit=auto' in text and text.endswith('.')


def test_a_strategy_over_cpus_is_not_one_over_gpus():
  assert not strategy_lib.on_gpus(strategies.on_cpus(2))
  assert strategy_lib.on_gpus(_over('GPU:0', 'GPU:1'))
  assert not strategy_lib.on_gpus(_over('GPU:0', 'CPU:0'))


@pytest.mark.parametrize('names', [[], ['GPU:0'], ['GPU:0', 'GPU:1']])
def test_memory_grows_on_every_gpu(names):
  gpus = [tf.config.PhysicalDevice(f'/physical_device:{name}', 'GPU')
          for name in names]
  with mock.patch.object(
      tf.config, 'list_physical_devices',
      lambda kind=None: gpus if kind == 'GPU' else [*gpus, 'a CPU']):
    with mock.patch.object(
        tf.config.experimental, 'set_memory_growth') as grow:
      strategy_lib.let_memory_grow()
  assert grow.call_args_list == [mock.call(gpu, True) for gpu in gpus]
