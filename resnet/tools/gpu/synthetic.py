"""Pictures that are made on the spot, where no data set is given.

They are as large as ImageNet's are on average and compress as well, so that the
input has as much to do. All are read from the page cache: what a disk does is
not measured.
"""
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from resnet.tools.gpu.job import Job

_HEIGHT, _WIDTH, _QUALITY = 375, 500, 88
_COARSE = 6  # Pixels that share a random color, before noise.
_NOISE = 24
_COUNTS = {'train': 256, 'test': 32}


def measure(job: Job) -> None:
  """Writes the data set that `config` names, in reading.data_dir."""
  kind = job.pictures
  assert kind
  features = tfds.features.FeaturesDict({
      'image': tfds.features.Image(
          shape=kind.shape, encoding_format='jpeg' if kind.is_photo else 'png'),
      'label': tfds.features.ClassLabel(num_classes=kind.classes)})
  rng = np.random.default_rng(0)
  splits, total = {}, 0
  for name, count in _COUNTS.items():
    examples = [(i, {'image': _encoded(rng, kind),
                     'label': i % kind.classes}) for i in range(count)]
    total += sum(len(example['image']) for _, example in examples)
    splits[name] = examples
  builder = tfds.dataset_builders.AdhocBuilder(
      name=job.config.data.name, version='1.0.0',
      data_dir=job.reading.data_dir, features=features, split_datasets=splits)
  builder.download_and_prepare()
  count = sum(_COUNTS.values())
  job.found.add('pictures', count, note='random; read from the page cache')
  job.found.add('size', total / count / 1000, 'kB each', note=(
      f'{_WIDTH} x {_HEIGHT} pixels' if kind.is_photo else
      'x'.join(map(str, kind.shape))))


def _encoded(rng, kind):
  """Returns a random picture as JPEG or PNG."""
  height, width, channels = kind.shape
  if not kind.is_photo:
    pixels = rng.integers(0, 256, kind.shape, np.uint8)
    return tf.io.encode_png(pixels).numpy()
  height, width = _HEIGHT, _WIDTH
  coarse = rng.integers(
      0, 256, (height // _COARSE, width // _COARSE, channels))
  smooth = tf.image.resize(coarse, (height, width), 'bicubic').numpy()
  noise = rng.normal(0, _NOISE, smooth.shape)
  pixels = np.clip(smooth + noise, 0, 255).astype(np.uint8)
  return tf.io.encode_jpeg(pixels, quality=_QUALITY).numpy()
