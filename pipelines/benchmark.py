"""How fast small images come: images per CPU-second, beside the textbook way.

  python -m pipelines.benchmark --config=cifar10_resnet20 --data_dir=DIR

Ours is order, gather, pad-crop and flip as in training. The textbook pipeline
reads and decodes records, shuffles a buffer, and crops and flips image by
image, as in TensorFlow's and Keras's guides.
"""
import resource
import statistics
import time

from absl import flags
import tensorflow as tf

from configs import command_line
from configs import recipes
from pipelines import augment
from pipelines import batches
from pipelines import sources

_STARTS = 20


def parse(argv):
  """Defines and reads the flags: (Config, recipe's name, other arguments)."""
  flags.DEFINE_string('data_dir', None, 'Where TFDS data sets are prepared; '
                      "none: TFDS's default, ~/tensorflow_datasets.")
  flags.DEFINE_integer('images', 100_000, 'Images of a round of ours; the '
                       'textbook pipeline gets a tenth.', lower_bound=1)
  flags.DEFINE_integer('rounds', 5, 'Rounds, ours and textbook in turn.',
                       lower_bound=1)
  return recipes.parse(argv)


def main(parsed):
  """Prints the figures; returns the exit code."""
  config, _, others = parsed
  command_line.refuse(others)
  values = flags.FLAGS
  source = sources.load(
      config.data.name, config.data.train_split, values.data_dir)
  pairs = [(_images_per_cpu_sec(_ours(config, source), values.images),
            _images_per_cpu_sec(_textbook(config, values.data_dir),
                                values.images // 10))
           for _ in range(values.rounds)]
  print(f'{config.data.name}, batches of {config.global_batch}, crop padding '
        f'{config.augment.crop_padding}, flip {config.augment.flip}; images '
        'per CPU-second (all threads), median of '
        f'{values.rounds} rounds [least, most]:')
  for name, column in zip(('ours', 'textbook'), zip(*pairs)):
    print(f'  {name:9} {statistics.median(column):8.0f} '
          f'[{min(column):.0f}, {max(column):.0f}]')
  ratio = statistics.median(a / b for a, b in pairs)
  print(f'  ratio     {ratio:8.1f}')
  near, far = _start_secs(config, source, 10), _start_secs(
      config, source, 10_000_000)
  print(f'first batch of a stream from step 10: {1000 * near:.1f} ms; from '
        f'step 10,000,000: {1000 * far:.1f} ms (ratio {far / near:.2f}, medians '
        f'of {_STARTS})')
  return command_line.DONE


def _ours(config, source):
  """An endless stream of training batches, augmented as in training."""
  crop_and_flip = tf.function(lambda batch: augment.crop_and_flip(
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
    builder = sources.prepared_builder(config.data.name, data_dir)
    images = builder.as_dataset(
        split=config.data.train_split, shuffle_files=True).map(
            lambda example: example['image'])
  stream = images.repeat().shuffle(10_000).map(
      crop_and_flip, num_parallel_calls=tf.data.AUTOTUNE)
  return iter(stream.batch(config.global_batch).prefetch(tf.data.AUTOTUNE))


def _images_per_cpu_sec(stream, images):
  """Takes so many images at least; all threads of the process count.

  The stream ends with the call, so that its threads do not work ahead at the
  cost of the next one.
  """
  for _ in range(10):  # Traces, and fills buffers.
    next(stream)
  before, done = _cpu_secs(), 0
  while done < images:
    done += next(stream).shape[0]
  return done / (_cpu_secs() - before)


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
