"""Measures the input in images per CPU-second, next to plain TensorFlow.

  python -m pipelines.benchmark --config=imagenet_resnet50 --data_dir=DIR

If the images fit into memory, the input of training (order, gather, crop and
flip) is compared with a pipeline as TensorFlow's and Keras's guides build it,
which reads and decodes records, shuffles a buffer, and crops and flips image by
image. Synthetic images are measured in the same way, without the comparison. If
the images are on disk, each stage of the input is measured and
compared with a sequential pipeline that decodes in the same way, and with
decoding alone. With --memory_gib=0, small images are read from disk too, and
'free decoding' shows how many small records a second the input can move. With
--repeat_data=10, the growth of memory over a long epoch from disk is measured
instead.
"""
from collections.abc import Sequence
import os
import statistics
from typing import TYPE_CHECKING

from absl import flags

from configs import loading, schema
from configs.process import command_line, tensorflow_process
from pipelines import reading_flags

if TYPE_CHECKING:
  from pipelines import input_speed, on_disk, sources

_STARTS_PER_ROUND = 4  # Of a stream, from each of two steps.
_FAST = ('read', 'free decoding')  # Stages that decode nothing.
_NEAR_STEP, _FAR_STEP = 10, 10_000_000


def parse(argv: list[str]) -> tuple[schema.Config, str, list[str]]:
  """Defines and reads the flags.

  Returns:
    (config, the recipe's name, arguments that are not flags).
  """
  reading_flags.define()
  flags.DEFINE_integer(
      'images', 100_000, 'Images per round. The textbook pipeline gets a tenth '
      'of them, each stage from disk a hundredth, or a tenth if it decodes '
      'nothing.', lower_bound=100)
  flags.DEFINE_integer(
      'rounds', 5, 'How many rounds to measure; each measures everything once.',
      lower_bound=1)
  flags.DEFINE_integer(
      'images_per_second', 3000, 'The speed from disk for which to print the '
      'number of cores that it needs.', lower_bound=1)
  flags.DEFINE_integer(
      'repeat_data', 0, 'Measures memory instead of speed, during one epoch of '
      'a data set that contains the pictures on disk this many times. 0: off.',
      lower_bound=0, upper_bound=1000)  # Memory is reserved for each record.
  return loading.parse(argv)


def main(parsed: tuple[schema.Config, str, list[str]]) -> int:
  """Prints the figures; returns the exit code."""
  config, _, others = parsed
  command_line.refuse(others)
  with tensorflow_process.starting():
    from pipelines import on_disk, sources

  reading = reading_flags.get()
  source = sources.load(config.data, config.data.train_split, reading,
                        made=config.synthetic)
  if not isinstance(source, on_disk.OnDisk):
    _print_in_memory(config, source, reading.data_dir)
  elif flags.FLAGS.repeat_data:
    _print_memory(config, source, flags.FLAGS.repeat_data)
    return command_line.DONE
  else:
    _print_stages(config, source)
  _print_starts(config, source)
  return command_line.DONE


def _print_in_memory(config: schema.Config, source: 'sources.Source',
                     data_dir: str | None) -> None:
  from pipelines import input_speed, sources

  values = flags.FLAGS
  streams = {'training': lambda: input_speed.measure(
      input_speed.training(config, source), values.images)}
  if isinstance(source, sources.InMemory):
    streams['textbook'] = lambda: input_speed.measure(
        input_speed.textbook(config, source, data_dir), values.images // 10)
  rounds = [{name: stream().per_cpu_sec for name, stream in streams.items()}
            for _ in range(values.rounds)]
  where = 'in memory' if 'textbook' in streams else 'made when they are read'
  print(f'{config.data.name}, {source.size} images {where}, batches of '
        f'{config.global_batch} x {source.image_shape}, crop padding '
        f'{config.augment.crop_padding}, flip {config.augment.flip}; images '
        f'per CPU-second (all threads), median of {values.rounds} rounds '
        '[min, max]:')
  for name in streams:
    print(f'  {name:8} {_spread([speeds[name] for speeds in rounds])}')
  if 'textbook' in streams:
    ratio = statistics.median(
        speeds['training'] / speeds['textbook'] for speeds in rounds)
    print(f'  {"ratio":8} {ratio:10.1f}')


def _print_stages(config: schema.Config, source: 'on_disk.OnDisk') -> None:
  from pipelines import input_speed, stages

  values = flags.FLAGS
  streams = stages.streams(config, source)
  images = lambda name: values.images // (10 if name in _FAST else 100)
  rounds = [{name: input_speed.measure(start(), images(name))
             for name, start in streams.items()}
            for _ in range(values.rounds)]
  print(f'{config.data.name}, {source.size} pictures on disk, batches of '
        f'{config.global_batch} x {source.image_shape}; '
        f'{len(os.sched_getaffinity(0))} cores; median of {values.rounds} '
        'rounds [min, max]; up to augmentation, each stage includes those '
        'above it:')
  print(f'  {"":16} {"images per CPU-second":26} images per second')
  for name in streams:
    per_cpu_sec, per_sec = zip(*(speeds[name] for speeds in rounds))
    print(f'  {name:16} {_spread(per_cpu_sec):26} {_spread(per_sec)}')
  _print_comparisons(rounds, values.images_per_second)


def _print_comparisons(rounds: Sequence[dict[str, 'input_speed.Speed']],
                       wanted: int) -> None:
  for other in ('sequential', 'ceiling'):
    if other not in rounds[0]:
      continue
    ratios = [speeds['batch'].per_cpu_sec / speeds[other].per_cpu_sec
              for speeds in rounds]
    print(f'  {f"ratio of each round, batch / {other}, per CPU-second":59} '
          f'{statistics.median(ratios):.3f} [{min(ratios):.3f}, '
          f'{max(ratios):.3f}]')
  speed = statistics.median(speeds['batch'].per_cpu_sec for speeds in rounds)
  print(f'  {wanted} images per second need {wanted / speed:.1f} cores like '
        'these to read, decode and crop')


def _print_memory(config: schema.Config, source: 'on_disk.OnDisk',
                  times: int) -> None:
  from pipelines import input_speed

  pictures, first_mib, last_mib = input_speed.memory(config, source, times)
  print(f'memory during one epoch over {config.data.name} repeated {times} '
        f'times, {pictures} pictures: {first_mib:.0f} MiB after the first '
        f'repetition, {last_mib:.0f} MiB at the end '
        f'({last_mib / first_mib - 1:+.1%})')


def _print_starts(config: schema.Config, source: 'sources.Source') -> None:
  from pipelines import input_speed

  starts = _STARTS_PER_ROUND * flags.FLAGS.rounds
  near, far = (input_speed.start_secs(config, source, step, starts)
               for step in (_NEAR_STEP, _FAR_STEP))
  print(f'first batch of a stream: {1000 * near:.1f} ms from step '
        f'{_NEAR_STEP:,}, {1000 * far:.1f} ms from step {_FAR_STEP:,} (ratio '
        f'{far / near:.2f}; medians of {starts} starts)')


def _spread(values: Sequence[float]) -> str:
  return (f'{statistics.median(values):10.0f} [{min(values):.0f}, '
          f'{max(values):.0f}]')


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
