"""XLA accepts every recipe and network for GPUs, on a machine without one.

What is read is the HLO that XLA would compile: every size is known, images go
through convolutions in the low precision, and nothing is left to a custom call.
"""
import dataclasses
import re

import keras
import pytest
import tensorflow as tf
from tensorflow.python.eager.polymorphic_function import compiler_ir

from configs import loading, schema
from resnet.models import classics
from tests import tiny_dataset
from tests.resnet import gpu_cases, gpu_traces

_HLO_TYPES = {'float32': 'f32', 'bfloat16': 'bf16', 'float16': 'f16'}
# Of a network, all that there is; and what fits the width of small versions.
_ADDITIONS = {
    'everything': dict(
        stem='deep', shortcut='D', squeeze_excite=4, blur_pool=True, groups=4,
        inner_width=2, stochastic_depth=0.2, dropout=0.2),
    'imagenet_resnext50': dict(groups=4)}
_QUICK = {('digits_resnet8', 'float16'), ('lenet5', 'bfloat16')}
# One precision each is enough for the tutorials'.
_NAMES = [*((name, precision) for name in (
    *loading.names(), *classics.NAMES, 'everything')
            for precision in gpu_cases.PRECISIONS
            if not name.startswith('tutorials/')),
          *((f'tutorials/{name}', 'bfloat16') for name in (
              'cifar100_resnet18', 'cifar10_keras_resnet_v1',
              'cifar10_keras_resnet_v2', 'cifar10_resnet18_flip',
              'mnist_resnet18'))]
_CASES = [
    pytest.param(name, precision, marks=(
        () if (name, precision) in _QUICK else pytest.mark.slow))
    for name, precision in _NAMES]


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp('photos')
  tiny_dataset.prepare_photos(folder)
  return str(folder)


def _config(name, precision):
  """The config of a recipe, of all additions, or of a classic network."""
  if name not in classics.NAMES:
    recipe = 'imagenet_resnet50' if name == 'everything' else name
    return gpu_cases.config(
        recipe, precision=precision, **_ADDITIONS.get(name, {}))
  config = gpu_cases.config('cifar10_resnet20', precision=precision)
  return dataclasses.replace(config, model=schema.Model(name=name))


@pytest.mark.parametrize('name, precision', _CASES)
def test_all_that_is_compiled_lowers_for_gpus(name, precision, photos):
  config = _config(name, precision)
  calls = gpu_traces.trace(config, gpu_traces.strategy_over(1),
                           *gpu_cases.splits(config, photos),
                           digest_positions=True)
  found = [_convolutions(_lowered(function)) for function in calls.compiled]
  layers = sum(isinstance(layer, keras.layers.Conv2D)
               for layer in calls.model.layers)
  # Forward; backward for kernels and, but for the first one, for inputs.
  assert sorted(map(len, found)) == [0, 0, layers, 3 * layers - 1]
  assert set().union(*found) == {_HLO_TYPES[precision]}


@pytest.mark.slow
@pytest.mark.parametrize('recipe', gpu_cases.SHALLOW)
def test_every_augmentation_lowers_for_gpus(recipe, photos):
  config = gpu_cases.config(
      recipe, augment=True, **gpu_cases.SHALLOW[recipe])
  calls = gpu_traces.trace(config, gpu_traces.strategy_over(1),
                           *gpu_cases.splits(config, photos))
  assert 'while' in ''.join(map(_lowered, calls.compiled))  # Of the policy.


def _lowered(concrete):
  """Returns the HLO of a compiled function for GPUs, checked."""
  hlo = compiler_ir.from_concrete_function(concrete)(
      stage='hlo', platform_name='GPU')
  assert hlo.startswith('HloModule')
  assert not re.findall(r'\[[\d,]*<=.*', hlo)  # A size known at run time.
  assert not re.findall('.*custom-call.*', hlo)
  return hlo


def _convolutions(hlo):
  """Returns the types of what its convolutions make, if it is used."""
  found = re.findall(r'(\S+) = (\w+)\[[\d,]*\]\S* convolution\(', hlo)
  return [dtype for name, dtype in found
          if len(re.findall(rf'{re.escape(name)}\b', hlo)) > 1]


def test_what_must_not_be_in_the_hlo_is_found():
  def padded(x):
    return tf.where(x > 0)  # As many rows as there are positive numbers.

  with pytest.raises(AssertionError, match='<='):
    _lowered(_compiled(padded))
  with pytest.raises(AssertionError, match='custom-call'):
    _lowered(_compiled(lambda x: tf.linalg.qr(x)))
  convolved = _lowered(_compiled(
      lambda x: tf.nn.conv2d(x[None, :, :, None], tf.ones([2, 2, 1, 3]), 1,
                             'SAME')))
  assert _convolutions(convolved) == ['f32']


def _compiled(function):
  return tf.function(function, jit_compile=True).get_concrete_function(
      tf.TensorSpec([4, 4], tf.float32))
