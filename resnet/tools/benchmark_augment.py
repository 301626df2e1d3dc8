"""Measures what each augmentation costs: alone, and as part of a training step.

  python -m resnet.tools.benchmark_augment --config=imagenet_resnet50 \\
      --data_dir=DIR --config.global_batch=16

Augmentation runs on the device inside the compiled step; alone, it is timed on
the same device. Steps with and without it take turns, so a machine whose speed
drifts slows both down.
"""
from collections.abc import Callable, Sequence
import statistics
import time

from absl import flags

from configs import loading, schema
from configs.process import command_line, tensorflow_process
from pipelines import reading_flags
from resnet.execution import execution_flags

_EACH = {
    'flip': {'flip': True},
    'crop padding 4, flip': {'crop_padding': 4, 'flip': True},
    'flips, shift 0.1': {'flip': True, 'vertical_flip': True, 'shift': 0.1},
    'color jitter 0.4': {'brightness': 0.4, 'contrast': 0.4,
                         'saturation': 0.4},
    'rand_augment, 2 layers': {'policy': 'rand_augment', 'layers': 2},
    'auto_imagenet': {'policy': 'auto_imagenet'},
    'auto_cifar10': {'policy': 'auto_cifar10'},
    'trivial_augment': {'policy': 'trivial_augment'},
    'grayscale 0.2': {'grayscale': 0.2},
    'blur 0.5': {'blur': 0.5},
    'cutout 16': {'cutout': 16},
    'random erasing 1.0': {'erasing': 1.0},
    'mixup 0.2': {'mixup': 0.2},
    'cutmix 1.0': {'cutmix': 1.0},
    'mixup 0.2 or cutmix 1.0': {'mixup': 0.2, 'cutmix': 1.0},
}


def parse(argv: list[str]) -> tuple[schema.Config, str, list[str]]:
  """Defines and reads the flags.

  Returns:
    (config, the recipe's name, arguments that are not flags).
  """
  execution_flags.define()
  reading_flags.define()
  flags.DEFINE_integer(
      'rounds', 8, 'How often to time each augmentation.', lower_bound=1)
  return loading.parse(argv)


def main(parsed: tuple[schema.Config, str, list[str]]) -> int:
  """Prints a table; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  with tensorflow_process.starting():
    from resnet.tools import augmented_step

  values = flags.FLAGS
  strategy = execution_flags.make_strategy()
  make = augmented_step.Maker(
      config, strategy, reading_flags.get(), values.jit)
  bare = make(schema.Augment()).step
  device = strategy.extended.worker_devices[0].rpartition('/device:')[2]
  print(f'{recipe}, batches of {config.global_batch} x {make.image_shape}, '
        f'{device}, --jit={values.jit}; median of {values.rounds} rounds '
        '[min, max]:')
  print(f'  {"":26} {"alone, ms per image":24} step / bare step')
  for name, changes in _EACH.items():
    timed = make(schema.Augment(**changes))
    rounds = _rounds((timed.alone, timed.step, bare), values.rounds)
    cost = [1000 * secs / config.global_batch for secs, _, _ in rounds]
    ratio = [augmented / plain for _, augmented, plain in rounds]
    print(f'  {name:26} {_spread(cost):24} {_spread(ratio)}', flush=True)
  return command_line.DONE


def _rounds(functions: Sequence[Callable[[], object]],
            count: int) -> list[list[float]]:
  """Returns the seconds of each function, in rounds in which all take turns."""
  for function in functions:  # Traces and compiles.
    function()
  return [[_secs(function) for function in functions] for _ in range(count)]


def _secs(function):
  started = time.perf_counter()
  function()
  return time.perf_counter() - started


def _spread(values):
  return (f'{statistics.median(values):.3f} [{min(values):.3f}, '
          f'{max(values):.3f}]')


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
