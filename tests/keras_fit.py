"""The other side of the comparisons: a plain Keras script that calls `fit`.

It has the same networks, settings and data as our recipes, and nothing of this
project: Keras's layers and optimizers, tf.data with a shuffle buffer, `fit`.
It writes a folder as a run of ours has: metrics.jsonl with a line for each
epoch, and run.json with its peak memory and the time to its first batch.

  python -m tests.keras_fit --network=cifar10_resnet20 --data_dir=DIR \\
      --epochs=3 --seed=0 --workdir=runs/keras_seed=0

Networks: NETWORKS. cifar10_resnet20 is trained with batches of 128, Adam at
1e-3, random crops and flips; the others as their tutorials say, see the recipes
of the same names in configs/tutorials/.
"""
import argparse
from collections.abc import Callable
import json
import math
import pathlib
import resource
import time
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tensorflow_datasets as tfds

_STARTED = time.time()
layers: Any = keras.layers  # Keras annotates what its calls take wrongly.


class Settings(NamedTuple):
  """What a script of this kind has at its top."""
  build: Callable[[tuple[int, ...]], keras.Model]
  batch: int = 128
  rate: float = 1e-3
  crop_padding: int = 0  # Pixels.
  flip: bool = False
  zeros: int = 0  # Pixels added to each side of all images.
  mean: float | tuple[float, ...] = 0.0  # Of pixels in [0, 1].
  stddev: float | tuple[float, ...] = 1.0


def _conv(x, filters, size=3, strides=1, **options):
  return layers.Conv2D(filters, size, strides=strides, padding=options.pop(
      'padding', 'same'), **options)(x)


def _norm(x, relu=True, **options):
  x = layers.BatchNormalization(**options)(x)
  return layers.ReLU()(x) if relu else x


def _model(image, x, classes=10, **options):
  return keras.Model(image, layers.Dense(classes, **options)(x))


def _resnet20(shape):
  """He et al. 2015, section 4.2: shortcuts without weights."""
  options: dict[str, Any] = {'use_bias': False,
                             'kernel_initializer': 'he_normal'}
  norm = {'momentum': 0.9, 'epsilon': 1e-5}
  image = keras.Input(shape)
  x = _norm(_conv(image, 16, **options), **norm)
  for filters in (16, 32, 64):
    for block in range(3):
      strides = 2 if block == 0 and filters > 16 else 1
      y = _norm(_conv(x, filters, strides=strides, **options), **norm)
      y = _norm(_conv(y, filters, **options), relu=False, **norm)
      if strides == 2:
        x = keras.ops.pad(x[:, ::2, ::2], (
            (0, 0), (0, 0), (0, 0), (filters // 4, filters // 4)))
      x = layers.ReLU()(x + y)
  return _model(image, layers.GlobalAveragePooling2D()(x))


def _blocks_18(x, bias=True, always=False, projection_norm=False):
  """The four stages of ResNet-18, pooled."""
  for stage, filters in enumerate((64, 128, 256, 512)):
    for block in range(2):
      strides = 2 if stage and not block else 1
      y = _norm(_conv(x, filters, strides=strides, use_bias=bias))
      y = _norm(_conv(y, filters, use_bias=bias), relu=False)
      if always or strides == 2:
        x = _conv(x, filters, 1, strides, use_bias=bias)
        if projection_norm:
          x = _norm(x, relu=False)
      x = layers.ReLU()(x + y)
  return x


def _cifar100_resnet18(shape):
  image = keras.Input(shape)
  x = _norm(_conv(image, 64))
  x = _blocks_18(layers.MaxPool2D(2, padding='same')(x), always=True)
  return _model(image, layers.GlobalAveragePooling2D()(x), 100)


def _mnist_resnet18(shape):
  image = keras.Input(shape)
  x = _conv(image, 64, 7, 2, activation='relu')
  x = layers.MaxPool2D(3, 2, padding='same')(x)
  x = layers.Flatten()(_blocks_18(x, projection_norm=True))
  return _model(image, layers.Dense(1000, 'relu')(x))


def _resnet18_flip(shape):
  image = keras.Input(shape)
  x = _norm(_conv(image, 64, padding='valid'))
  x = _blocks_18(layers.MaxPool2D(2, 1, padding='same')(x))
  return _model(image, layers.GlobalAveragePooling2D()(x))


def _resnet18(shape):
  image = keras.Input(shape)
  x = _blocks_18(_norm(_conv(image, 64, use_bias=False)), bias=False,
                 projection_norm=True)
  return _model(image, layers.GlobalAveragePooling2D()(x),
                kernel_regularizer=keras.regularizers.L2(0.01))


def _baseline(shape):
  image = keras.Input(shape)
  x = layers.MaxPool2D(2, padding='same')(_norm(_conv(image, 6, 5)))
  x = layers.Flatten()(layers.Dropout(0.2)(x))
  return _model(image, layers.Dropout(0.2)(layers.Dense(128, 'relu')(x)))


def _lenet5(shape):
  image = x = keras.Input(shape)
  for filters in (6, 16):
    x = layers.MaxPool2D(2)(
        _conv(x, filters, 5, padding='valid', activation='sigmoid'))
  x = layers.Dense(120, 'sigmoid')(layers.Flatten()(x))
  return _model(image, layers.Dense(84, 'sigmoid')(x))


def _alexnet8(shape):
  image = x = keras.Input(shape)
  for filters in (96, 256):
    x = layers.MaxPool2D(3, 2)(_norm(_conv(x, filters, padding='valid')))
  for filters in (384, 384, 256):
    x = _conv(x, filters, activation='relu')
  x = layers.Flatten()(layers.MaxPool2D(3, 2)(x))
  for _ in range(2):
    x = layers.Dropout(0.5)(layers.Dense(2048, 'relu')(x))
  return _model(image, x)


def _vgg16(shape):
  image = x = keras.Input(shape)
  for filters, convs in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
    for _ in range(convs):
      x = _norm(_conv(x, filters))
    x = layers.Dropout(0.2)(layers.MaxPool2D(2, padding='same')(x))
  x = layers.Flatten()(x)
  for _ in range(2):
    x = layers.Dropout(0.2)(layers.Dense(512, 'relu')(x))
  return _model(image, x)


def _inception10(shape):
  """Its batch norm stays at its initial statistics."""
  def unit(x, filters, size=3, strides=1):
    x = _conv(x, filters, size, strides)
    return layers.ReLU()(layers.BatchNormalization()(x, training=False))
  image = keras.Input(shape)
  x = unit(image, 16)
  for filters in (16, 32):
    for strides in (2, 1):
      pooled = layers.MaxPool2D(3, 1, padding='same')(x)
      x = layers.Concatenate()([
          unit(x, filters, 1, strides),
          unit(unit(x, filters, 1, strides), filters, 3),
          unit(unit(x, filters, 1, strides), filters, 5),
          unit(pooled, filters, 1, strides)])
  return _model(image, layers.GlobalAveragePooling2D()(x))


NETWORKS = {
    'cifar10_resnet20': Settings(_resnet20, crop_padding=4, flip=True),
    'cifar100_resnet18': Settings(_cifar100_resnet18, rate=0.01),
    'mnist_resnet18': Settings(_mnist_resnet18, batch=64, zeros=2),
    'cifar10_resnet18_flip': Settings(
        _resnet18_flip, batch=256, flip=True, mean=(0.485, 0.456, 0.406),
        stddev=(0.229, 0.224, 0.225)),
    'cifar10_baseline': Settings(_baseline, batch=32),
    'cifar10_lenet5': Settings(_lenet5, batch=32),
    'cifar10_alexnet8': Settings(_alexnet8, batch=32),
    'cifar10_vgg16': Settings(_vgg16, batch=32),
    'cifar10_inception10': Settings(_inception10, batch=1024),
    'cifar10_resnet18': Settings(_resnet18, batch=32),
}


def _scaled(settings, image, label):
  image = (tf.cast(image, tf.float32) / 255 - settings.mean) / settings.stddev
  n = settings.zeros
  return tf.pad(image, [[n, n], [n, n], [0, 0]]), label


def _augmented(settings, image, label):
  n, shape = settings.crop_padding, image.shape
  if n:
    image = tf.image.random_crop(
        tf.pad(image, [[n, n], [n, n], [0, 0]]), shape)
  if settings.flip:
    image = tf.image.random_flip_left_right(image)
  return image, label


def _data(name, data_dir, settings):
  """Returns the training and the test images as data sets of batches."""
  train, test = tfds.load(name, split=['train', 'test'], data_dir=data_dir,
                          as_supervised=True, download=False)
  def scaled(*example):
    return _scaled(settings, *example)
  train = train.map(scaled).cache().shuffle(50_000).map(
      lambda *example: _augmented(settings, *example),
      num_parallel_calls=tf.data.AUTOTUNE)
  return (train.batch(settings.batch).prefetch(tf.data.AUTOTUNE),
          test.map(scaled).batch(500).cache())


class _Lines(keras.callbacks.Callback):
  """Writes a line for each epoch; times the way to the end of the first batch.
  """

  def __init__(self, path):
    super().__init__()
    self._file = path.open('w', encoding='utf-8', buffering=1)
    self.start_up = 0.0

  def on_train_batch_end(self, batch, logs=None):
    self.start_up = self.start_up or time.time() - _STARTED

  def on_epoch_begin(self, epoch, logs=None):
    self._began = time.time()

  def on_epoch_end(self, epoch, logs=None):
    now, logs = time.time(), logs or {}
    for split, start in (('train', ''), ('eval', 'val_')):
      print(json.dumps({
          'split': split, 'step': int(self.model.optimizer.iterations),
          'epoch': epoch + 1, 'time': now,
          'loss': logs[f'{start}loss'], 'accuracy': logs[f'{start}accuracy'],
          'seconds': now - self._began}), file=self._file)


def main() -> None:
  parser = argparse.ArgumentParser(description='Trains with Keras alone.')
  parser.add_argument('--network', choices=NETWORKS, required=True)
  parser.add_argument('--data', default='cifar10', help='Data set of TFDS.')
  parser.add_argument('--data_dir', help='Where TFDS has prepared it.')
  parser.add_argument('--epochs', type=int, default=5)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  flags = parser.parse_args()
  flags.workdir.mkdir(parents=True)
  keras.utils.set_random_seed(flags.seed)
  settings = NETWORKS[flags.network]
  train, test = _data(flags.data, flags.data_dir, settings)
  model: Any = settings.build(tuple(train.element_spec[0].shape[1:]))
  model.compile(
      keras.optimizers.Adam(settings.rate),
      keras.losses.SparseCategoricalCrossentropy(from_logits=True),
      metrics=['accuracy'])
  lines = _Lines(flags.workdir / 'metrics.jsonl')
  model.fit(train, validation_data=test, epochs=flags.epochs, verbose=0,
            callbacks=[lines])
  (flags.workdir / 'run.json').write_text(json.dumps({
      'command': f'python -m tests.keras_fit --network={flags.network} '
                 f'--data={flags.data} --epochs={flags.epochs} '
                 f'--seed={flags.seed} --data_dir=DIR',
      'versions': {'tensorflow': tf.__version__, 'keras': keras.__version__},
      'weights': sum(math.prod(v.shape) for v in model.trainable_weights),
      'start_up_secs': lines.start_up,
      'peak_gib': resource.getrusage(
          resource.RUSAGE_SELF).ru_maxrss / 2**20}))


if __name__ == '__main__':
  main()
