"""Lowers the networks for GPUs where operations must be deterministic.

  python -m tests.resnet.deterministic_lowering resnet/float16/True vgg16/...

Prints a line of JSON for each 'network/precision/deterministic', whether it was
built for that: {'lines': of HLO, ...} or {'error': text}. That operations must
be deterministic holds for a whole process, so that tests start this one.
"""
import functools
import json
import sys
from unittest import mock

from configs.process import tensorflow_process

with tensorflow_process.starting():
  import tensorflow as tf

from configs import schema
from pipelines import augmentation
from resnet import bound_steps, network
from resnet.distribution import strategy as strategy_lib
from tests.resnet import small_runs

_BATCH = 4
_AUGMENT = schema.Augment(crop_padding=1, flip=True, policy='rand_augment',
                          erasing=0.25, mixup=0.2, cutmix=1.0)


def _config(name, precision):
  """Returns the config of a network; of 'resnet', that with a max-pool.

  'everything' is the same with all that a residual network can have.
  """
  fields = {}
  if name in ('resnet', 'everything'):
    fields = dict(family='imagenet', depth=50, version='v1.5', stem='imagenet',
                  width=8)
  if name == 'everything':
    name = 'resnet'
    fields |= dict(
        stem='deep', shortcut='D', squeeze_excite=4, blur_pool=True, groups=4,
        inner_width=2, stochastic_depth=0.2, dropout=0.2)
  return schema.Config(model=schema.Model(name=name, **fields),
                       precision=precision, augment=_AUGMENT,
                       global_batch=_BATCH)


def lower(name, precision, deterministic):
  """Returns the HLO of forward_backward for GPUs."""
  config = _config(name, precision)
  with mock.patch.object(strategy_lib, 'on_gpus', lambda _: True):
    model, state = network.build(
        config, tf.distribute.OneDeviceStrategy('CPU:0'),
        small_runs.random_source(
            8, side=64 if config.model.name == 'resnet' else 32),
        deterministic)
  function = bound_steps.forward_backward(config, model, functools.partial(
      augmentation.apply, seed=0, config=config.augment))
  values = lambda variables: [
      tf.convert_to_tensor(v) for v in variables]
  batch = {'image': tf.zeros([_BATCH, *model.input['image'].shape[1:]],
                             tf.uint8),
           'label': tf.zeros([_BATCH], tf.int32),
           'position': tf.zeros([_BATCH], tf.int64),
           'weight': tf.ones([_BATCH])}
  compiled = tf.function(lambda *arguments: function(*arguments),
                         jit_compile=True, autograph=False)
  return compiled.experimental_get_compiler_ir(
      values(state.params), values(state.statistics),
      *values((state.mean, state.stddev, state.loss_scale)), batch)(
          stage='hlo', platform_name='GPU')


def main():
  tf.config.experimental.enable_op_determinism()
  for case in sys.argv[1:]:
    name, precision, deterministic = case.split('/')
    try:
      text = lower(name, precision, deterministic == 'True')
      found = {'lines': len(text.splitlines()),
               'dynamic': '<=' in text, 'custom': 'custom-call' in text}
    except ValueError as error:
      found = {'error': str(error)}
    print(json.dumps(found), flush=True)


if __name__ == '__main__':
  main()
