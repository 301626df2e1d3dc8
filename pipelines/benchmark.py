"""How fast the input is: images per CPU-second, beside plain TensorFlow.

  python -m pipelines.benchmark --config=imagenet_resnet50 --data_dir=DIR

Images that fit in memory: order, gather, pad-crop and flip as in training,
beside a pipeline that reads and decodes records, shuffles a buffer, and crops
and flips image by image, as in TensorFlow's and Keras's guides. Pictures on
disk: each stage, beside a sequential pipeline of the same decoding and the
decoding alone; with --repeat_data=10 how memory grows over a long epoch.
"""
import os
import resource
import statistics
import time

from absl import flags
import tensorflow as tf

from configs import loading
from configs.process import command_line
from pipelines import (
  augmentation,
  batches,
  on_disk,
  reading_flags,
  records,
  sources,
  stages,
  tfds_directory,
)

_STARTS = 20


def parse(argv):
  """Defines and reads the flags: (Config, recipe's name, other arguments)."""
  reading_flags.define()
  flags.adopt_module_key_flags(reading_flags)
  flags.DEFINE_integer('images', 100_000, 'Images of a round; the textbook '
                       'pipeline gets a tenth, each stage from disk a '
                       'hundredth.', lower_bound=100)
  flags.DEFINE_integer('rounds', 5, 'Rounds, everything in turn.',
                       lower_bound=1)
  flags.DEFINE_integer('images_per_second', 3000, 'Tell how many cores so many '
                       'images from disk need.', lower_bound=1)
  flags.DEFINE_integer('repeat_data', 0, 'Measure memory instead, over one '
                       'epoch of the pictures on disk so many times over; 0: '
                       'speed.', lower_bound=0)
  return loading.parse(argv)


def main(parsed):
  """Prints the figures; returns the exit code."""
  config, _, others = parsed
  command_line.refuse(others)
  reading = reading_flags.get()
  source = sources.load(config.data.name, config.data.train_split, reading,
                        config.data.image_size)
  if not isinstance(source, on_disk.OnDisk):
    _print_in_memory(config, source, reading.data_dir)
  elif flags.FLAGS.repeat_data:
    _print_memory(config, source, flags.FLAGS.repeat_data)
    return command_line.DONE
  else:
    _print_stages(config, source)
  near, far = _start_secs(config, source, 10), _start_secs(
      config, source, 10_000_000)
  print(f'first batch of a stream from step 10: {1000 * near:.1f} ms; from '
        f'step 10,000,000: {1000 * far:.1f} ms (ratio {far / near:.2f}, '
        f'medians of {_STARTS})')
  return command_line.DONE


def _print_in_memory(config, source, data_dir):
  values = flags.FLAGS
  pairs = [(_images_per_sec(_ours(config, source), values.images)[0],
            _images_per_sec(_textbook(config, data_dir),
                            values.images // 10)[0])
           for _ in range(values.rounds)]
  print(f'{config.data.name}, batches of {config.global_batch}, crop padding '
        f'{config.augment.crop_padding}, flip {config.augment.flip}; images '
        'per CPU-second (all threads), median of '
        f'{values.rounds} rounds [least, most]:')
  for name, column in zip(('ours', 'textbook'), zip(*pairs)):
    print(f'  {name:9} {_spread(column)}')
  ratio = statistics.median(a / b for a, b in pairs)
  print(f'  ratio     {ratio:8.1f}')


def _print_stages(config, source):
  values = flags.FLAGS
  started = stages.streams(config, source)
  rounds = [{name: _images_per_sec(start(), values.images // 100)
             for name, start in started.items()}
            for _ in range(values.rounds)]
  print(f'{config.data.name}, {source.size} pictures on disk, batches of '
        f'{config.global_batch} x {source.image_shape}; '
        f'{len(os.sched_getaffinity(0))} cores; median of {values.rounds} '
        'rounds [least, most]; each stage does all above it:')
  print(f'  {"":16} {"images per CPU-second":26} images per second')
  for name in started:
    per_cpu, per_sec = zip(*(r[name] for r in rounds))
    print(f'  {name:16} {_spread(per_cpu):26} {_spread(per_sec)}')
  for one, other in (('batch', 'sequential'), ('batch', 'ceiling')):
    ratios = [r[one][0] / r[other][0] for r in rounds]
    print(f'  ratio {f"{one} / {other}, per CPU-second, round by round":53} '
          f'{statistics.median(ratios):.3f} [{min(ratios):.3f}, '
          f'{max(ratios):.3f}]')
  rate = statistics.median(r['batch'][0] for r in rounds)
  cores = values.images_per_second / rate
  print(f'  {values.images_per_second} images per second need {cores:.1f} such '
        'cores for reading, decoding and cropping')


def _print_memory(config, source, times):
  """Resident memory over one epoch of the data set repeated so many times."""
  again = on_disk.OnDisk(
      records.Records(source.records.spans * times, remedy=''),
      source.num_classes, source.crop)
  stream = stages.streams(config, again)['batch']()
  sizes, done = [], 0
  while done < again.size:
    done += next(stream)['label'].shape[0]
    if done // source.size > len(sizes):
      sizes.append(_resident_mib())
  print(f'memory of an epoch over the data set {times} times over, '
        f'{again.size} pictures: {sizes[0]:.0f} MiB after the first time, '
        f'{sizes[-1]:.0f} MiB at the end ({sizes[-1] / sizes[0] - 1:+.1%})')


def _ours(config, source):
  """An endless stream of training batches, augmented as in training."""
  crop_and_flip = tf.function(lambda batch: augmentation.crop_and_flip(
      batch['image'], batch['position'], seed=config.seed,
      padding=config.augment.crop_padding, flip=config.augment.flip))
  stream = batches.train(
      source, seed=config.seed, global_batch=config.global_batch,
      first_step=0, last_step=2**40)
  return map(crop_and_flip, stream)


def _textbook(config, data_dir):
  """An endless stream as the guides build it."""
  padding = config.augment.crop_padding

  def crop_and_flip(image):
    shape = image.shape
    image = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]])
    image = tf.image.random_crop(image, shape)
    return tf.image.random_flip_left_right(image) if config.augment.flip else (
        image)

  if config.data.name == 'digits':
    source = sources.load('digits', config.data.train_split)
    images = tf.data.Dataset.from_tensor_slices(source.images)
  else:
    builder = tfds_directory.builder(config.data.name, data_dir)
    images = builder.as_dataset(
        split=config.data.train_split, shuffle_files=True).map(
            lambda example: example['image'])
  stream = images.repeat().shuffle(10_000).map(
      crop_and_flip, num_parallel_calls=tf.data.AUTOTUNE)
  return iter(stream.batch(config.global_batch).prefetch(tf.data.AUTOTUNE))


def _images_per_sec(stream, images):
  """Takes so many images at least; returns (per CPU-second, per second).

  All threads of the process count. The stream ends with the call, so that its
  threads do not work ahead at the cost of the next one.
  """
  for _ in range(3):  # Traces, and fills buffers.
    next(stream)
  cpu, wall, done = _cpu_secs(), time.perf_counter(), 0
  while done < images:
    done += tf.nest.flatten(next(stream))[0].shape[0]
  return done / (_cpu_secs() - cpu), done / (time.perf_counter() - wall)


def _spread(values):
  return (f'{statistics.median(values):8.0f} [{min(values):.0f}, '
          f'{max(values):.0f}]')


def _resident_mib():
  with open('/proc/self/statm') as file:
    return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def _cpu_secs():
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_utime + usage.ru_stime


def _start_secs(config, source, step):
  """Median seconds from asking for a stream at `step` to its first batch."""
  def once():
    before = time.perf_counter()
    next(iter(batches.train(
        source, seed=config.seed, global_batch=config.global_batch,
        first_step=step, last_step=step + 100)))
    return time.perf_counter() - before
  return statistics.median(once() for _ in range(_STARTS))


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
