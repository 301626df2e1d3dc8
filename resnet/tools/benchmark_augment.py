"""What each augmentation costs: alone, and as a share of the training step.

  python -m resnet.tools.benchmark_augment --config=imagenet_resnet50 --data_dir=DIR \
      --config.global_batch=16

All of them run on the device inside the compiled step; alone they are timed on
the same device. Each is set against the bare step in turn, so that a machine
whose speed drifts slows both.
"""
import dataclasses
import functools
import statistics
import time

from absl import flags
import tensorflow as tf

from configs import loading, schema
from configs.process import command_line
from pipelines import augmentation, batches, reading_flags, sources
from resnet import compilation, network, steps
from resnet.execution import execution_flags

_NOTHING = {'crop_padding': 0, 'flip': False, 'policy': 'none',
            'brightness': 0.0, 'contrast': 0.0, 'saturation': 0.0,
            'cutout': 0, 'erasing': 0.0, 'mixup': 0.0, 'cutmix': 0.0}
_EACH = {
    'flip': {'flip': True},
    'crop padding 4, flip': {'crop_padding': 4, 'flip': True},
    'colour jitter 0.4': {'brightness': 0.4, 'contrast': 0.4,
                          'saturation': 0.4},
    'rand_augment, 2 layers': {'policy': 'rand_augment', 'layers': 2},
    'auto_imagenet': {'policy': 'auto_imagenet'},
    'auto_cifar10': {'policy': 'auto_cifar10'},
    'cutout 16': {'cutout': 16},
    'random erasing 1.0': {'erasing': 1.0},
    'mixup 0.2': {'mixup': 0.2},
    'cutmix 1.0': {'cutmix': 1.0},
    'mixup 0.2 or cutmix 1.0': {'mixup': 0.2, 'cutmix': 1.0},
}


def parse(argv):
  """Defines and reads the flags: (Config, recipe's name, other arguments)."""
  for shared in (execution_flags, reading_flags):
    shared.define()
    flags.adopt_module_key_flags(shared)
  flags.DEFINE_integer('rounds', 8, 'Pairs that are timed.', lower_bound=1)
  return loading.parse(argv)


def main(parsed):
  """Prints a table; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  values = flags.FLAGS
  strategy = execution_flags.make_strategy()
  source = sources.load(config.data.name, config.data.train_split,
                        reading_flags.get(), config.data.image_size)
  model, state = network.build(config, strategy, source)
  batch = next(iter(batches.train(
      source, seed=config.seed, global_batch=config.global_batch, first_step=0,
      last_step=1)))
  make = functools.partial(_timed, config, strategy, model, state, batch,
                           values.jit)
  _, bare = make(_NOTHING)
  device = strategy.extended.worker_devices[0].rpartition('/device:')[2]
  print(f'{recipe}, batches of {config.global_batch} x {source.image_shape}, '
        f'{device}, --jit={values.jit}; median of {values.rounds} rounds '
        '[least, most]:')
  print(f'  {"":26} {"ms an image, alone":24} step / bare step')
  for name, changes in _EACH.items():
    timed = (*make({**_NOTHING, **changes}), bare)
    for function in timed:  # Traces and compiles.
      function()
    rounds = [[_secs(function) for function in timed]
              for _ in range(values.rounds)]
    cost = [1000 * secs / config.global_batch for secs, _, _ in rounds]
    ratio = [augmented / plain for _, augmented, plain in rounds]
    print(f'  {name:26} {_spread(cost):24} {_spread(ratio)}', flush=True)
  return command_line.DONE


def _timed(config, strategy, model, state, batch, jit, fields):
  """Two functions of no arguments, for one batch.

  Returns:
    The augmentation alone; forward and backward with it.
  """
  config = dataclasses.replace(config, augment=schema.Augment(**fields))
  augment_images = compilation.augment(config, strategy, jit)
  compiled = compilation.compiler(config, strategy, jit)
  forward_backward = tf.function(compiled(functools.partial(
      steps.forward_backward, model=model, augment=augment_images,
      standardize=augmentation.standardize, label_smoothing=config.label_smoothing,
      global_batch=config.global_batch)), autograph=False)
  alone = tf.function(compiled(augment_images), autograph=False)
  read = lambda variables: [tf.convert_to_tensor(v) for v in variables]
  mean, stddev, scale = read([state.mean, state.stddev, state.loss_scale])
  params, statistics = read(state.params), read(state.statistics)
  target = tf.one_hot(batch['label'], model.output_shape[-1])
  return (
      lambda: alone(
          batch['image'], target, batch['position'], mean)[0].numpy(),
      lambda: forward_backward(
          params, statistics, mean, stddev, scale, batch)[2].numpy())


def _secs(function):
  started = time.perf_counter()
  function()
  return time.perf_counter() - started


def _spread(values):
  return (f'{statistics.median(values):.3f} [{min(values):.3f}, '
          f'{max(values):.3f}]')


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
