"""Data sets by name: a TFDS directory on disk, or the embedded digits.

A source offers `size`, `num_classes`, `image_shape` and `read(examples)`;
example i is the i-th record of the split in file order. Reading never touches
the network: `python -m pipelines.prepare` is the command that does.
"""
import os
import pathlib
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from configs.errors import UserError

_DIGITS = pathlib.Path(__file__).parent / 'digits.npz'


class InMemory(NamedTuple):
  """A split decoded once, gathered by index."""
  images: tf.Tensor  # uint8 [size, h, w, c], on the host.
  labels: tf.Tensor  # int32 [size], each in [0, num_classes).
  num_classes: int

  @property
  def size(self):
    return self.images.shape[0]

  @property
  def image_shape(self):
    """(h, w, c)."""
    return tuple(self.images.shape[1:])

  def read(self, examples):
    """Args: examples int64 [b]. Returns: uint8 [b, h, w, c], int32 [b]."""
    return tf.gather(self.images, examples), tf.gather(self.labels, examples)


def load(name, split, data_dir=None):
  """Decodes one split of a data set into memory.

  Args:
    name: 'digits', or a TFDS name such as 'cifar10' or 'cifar10:3.0.2'.
    split: a split name or a TFDS slice of one, such as 'train[:90%]'.
    data_dir: where the data set is prepared; None: TFDS's own default.

  Returns:
    InMemory.

  Raises:
    UserError: the data set or split is unknown, not prepared, not one of
      images with labels, empty, or has a corrupt record.
  """
  with tf.device('CPU:0'):
    images, labels, num_classes = (
        _load_digits(split) if name == 'digits'
        else _load_tfds(name, split, data_dir))
    return InMemory(tf.constant(images), tf.constant(labels, tf.int32),
                    num_classes)


def channel_mean_and_stddev(images):
  """Float32 [c], [c] over uint8 [size, h, w, c], from exact integer sums."""
  counts = np.stack([
      np.bincount(images[..., channel].ravel(), minlength=256)
      for channel in range(images.shape[-1])])
  values = np.arange(256)
  total = counts.sum(1)
  mean = counts @ values / total
  variance = counts @ values**2 / total - mean**2
  # A channel without variance (all black, say) must not divide by zero.
  stddev = np.sqrt(np.maximum(variance, 1.0))
  return mean.astype(np.float32), stddev.astype(np.float32)


def pixel_mean(images):
  """Float32 [h, w, c] over uint8 [size, h, w, c]."""
  return (images.sum(0, dtype=np.int64) / len(images)).astype(np.float32)


def _load_digits(split):
  """1,797 images 8x8x1 of 10 classes; every fifth is for the test."""
  with np.load(_DIGITS) as archive:
    images, labels = archive['x'], archive['y']
  # 0..16 as stored; 0..255 like every other data set.
  images = (images.astype(np.uint16) * 255 // 16).astype(np.uint8)[..., None]
  test = np.arange(len(labels)) % 5 == 0
  parts = {'train': ~test, 'test': test}
  if split not in parts:
    raise UserError(
        f'Split {split!r} of digits does not exist: choose one of '
        f'{", ".join(parts)}.')
  return images[parts[split]], labels[parts[split]], 10


def _load_tfds(name, split, data_dir):
  import tensorflow_datasets as tfds
  builder = prepared_builder(name, data_dir)
  features = builder.info.features
  kinds = {'image': tfds.features.Image, 'label': tfds.features.ClassLabel}
  if not all(key in features and isinstance(features[key], kind)
             for key, kind in kinds.items()):
    raise UserError(
        f'Data set {name} has the features {", ".join(features)}: choose an '
        'image-classification data set, one with an image and a label.')
  _check_split(tfds, builder, name, split)
  read_config = tfds.ReadConfig(
      interleave_cycle_length=1, try_autocache=False)
  dataset = builder.as_dataset(
      split=split, shuffle_files=False, read_config=read_config)
  images, labels = _decode(dataset, builder, name, split)
  return images, labels, features['label'].num_classes


def _decode(dataset, builder, name, split):
  """uint8 [size, h, w, c] and int64 [size], read in file order."""
  size = builder.info.splits[split].num_examples
  folder = pathlib.Path(builder.data_dir)
  height, width, _ = builder.info.features['image'].shape
  images, labels, count = None, np.empty(size, np.int64), 0
  try:
    # Images of one known size are decoded a thousand a call; others singly,
    # to find out whether they have one.
    rows = 1000 if height and width else 1
    for batch in dataset.batch(rows).prefetch(2).as_numpy_iterator():
      if images is None:
        images = np.empty((size, *batch['image'].shape[1:]), np.uint8)
      if batch['image'].shape[1:] != images.shape[1:]:
        raise UserError(
            f'Images of {name} differ in size ({images.shape[1:]} and '
            f'{batch["image"].shape[1:]}): choose a data set whose images are '
            'all of one size, such as cifar10.')
      stop = count + len(batch['label'])
      images[count:stop], labels[count:stop] = batch['image'], batch['label']
      count = stop
  except tf.errors.OpError as error:
    raise UserError(
        f'{_corrupt_file(builder, split)} is missing or corrupt after {count} '
        'examples of '
        f'split {split!r} ({error.message.splitlines()[0][:150]}): delete '
        f'{folder} and prepare it again with '
        f'{_prepare_command(name, folder.parents[1])}.') from error
  if count != size:
    raise UserError(
        f'Split {split!r} of {name} has {count} examples where '
        f'{folder} promises {size}: prepare it again with '
        f'{_prepare_command(name, folder.parents[1])}.')
  if labels.min() < 0:
    raise UserError(
        f'Split {split!r} of {name} has examples without a label: choose '
        f'another of {", ".join(sorted(builder.info.splits))}.')
  return images, labels


def prepared_builder(name, data_dir):
  """The TFDS builder of a prepared data set; UserError says what is missing."""
  import tensorflow_datasets as tfds  # Late: digits need none of its start-up.
  data_dir = os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)
  name_alone, _, version = name.partition(':')
  there = pathlib.Path(data_dir, name_alone, version)
  if version and (there / 'dataset_info.json').exists():
    # Whatever version lies there can be read; TFDS's code knows its own alone.
    return tfds.builder_from_directory(there)
  try:
    builder = tfds.builder(name, data_dir=data_dir)
  except tfds.core.registered.DatasetNotFoundError as error:
    guess = re.search(r'Did you mean: .*-> (\w+)', str(error))
    hint = f' (did you mean {guess[1]}?)' if guess else ''
    raise UserError(
        f'Data set {name!r} is unknown{hint}: choose digits, or an image '
        'data set of TFDS such as cifar10, or one prepared under '
        f'--data_dir={data_dir}.') from error
  except (ValueError, AssertionError) as error:
    raise UserError(
        f'Data set {name!r} cannot be opened under --data_dir={data_dir} '
        f'({str(error).splitlines()[0]}; {_versions_sentence(name, data_dir)})'
        ': give another --config.data.name.') from error
  if not builder.is_prepared():
    raise UserError(
        f'Data set {name} {builder.version} is not prepared under '
        f'--data_dir={data_dir} (looked for '
        f'{os.path.join(builder.data_dir, "dataset_info.json")}; '
        f'{_versions_sentence(name, data_dir)}): training never downloads; on '
        f'a machine with internet run {_prepare_command(name, data_dir)}, or '
        'use the embedded one with --config=digits_resnet8.')
  return builder


def _versions_sentence(name, data_dir):
  folder = pathlib.Path(data_dir) / name.partition(':')[0]
  found = sorted(p.parent.name for p in folder.glob('*/dataset_info.json'))
  if not found:
    return 'versions there: none'
  return (f'versions there: {", ".join(found)}, usable as '
          f'--config.data.name={name.partition(":")[0]}:{found[-1]}')


def _prepare_command(name, data_dir):
  return (f'`python -m pipelines.prepare --dataset={name} '
          f'--data_dir={data_dir}`')


def _check_split(tfds, builder, name, split):
  """UserError unless TFDS understands `split` for this builder."""
  try:
    size = builder.info.splits[split].num_examples
  except (KeyError, ValueError, AssertionError) as error:
    raise UserError(
        f'Split {split!r} of {name} does not exist: choose one of '
        f'{", ".join(sorted(builder.info.splits))}, or a slice such as '
        "'train[:90%]'.") from error
  if not size:
    raise UserError(
        f'Split {split!r} of {name} is empty: choose a split or slice with at '
        'least one example.')


def _corrupt_file(builder, split):
  """The first record file of the split that cannot be read to its end."""
  files = builder.info.splits[split].filenames
  for name in sorted(files):
    path = os.path.join(builder.data_dir, name)
    try:
      for _ in tf.data.TFRecordDataset(path):
        pass
    except tf.errors.OpError:
      return path
  return os.fspath(builder.data_dir)
