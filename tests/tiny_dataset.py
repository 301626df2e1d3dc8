"""Small data sets and picture folders, made in a moment, offline."""
import io
import pathlib

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

TRAIN, TEST = 37, 11


def images(count, seed):
  """Makes random images, uint8 [count, 8, 8, 3]."""
  return np.random.default_rng(seed).integers(
      0, 256, (count, 8, 8, 3), dtype=np.uint8)


class TinyPictures(tfds.core.GeneratorBasedBuilder):
  """37 and 11 images with labels index % 3, and a split without labels.

  Test sets of competitions have no labels.
  """
  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({
        'image': tfds.features.Image(shape=(8, 8, 3), encoding_format='png'),
        'label': tfds.features.ClassLabel(num_classes=3)}))

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'train': self._generate_examples(TRAIN, 0),
            'test': self._generate_examples(TEST, 1),
            'unlabeled': self._generate_examples(2, 2, labeled=False)}

  def _generate_examples(self, count, seed, labeled=True):
    for i, image in enumerate(images(count, seed)):
      yield i, {'image': image, 'label': i % 3 if labeled else -1}


def prepare(data_dir):
  """Prepares TinyPictures under data_dir; returns the folder of its files."""
  builder = TinyPictures(data_dir=data_dir)
  builder.download_and_prepare()
  return builder.data_dir


def prepare_photos(data_dir, counts=(17, 7), bad=()):
  """Prepares 'photos': JPEGs and PNGs of many sizes, in two classes.

  Args:
    data_dir: the folder to prepare it in.
    counts: pictures of each class, named '<class>/<number>.<jpg or png>'.
    bad: names of pictures that are cut so that no decoder accepts them.

  Returns:
    The folder of its files.
  """
  rng = np.random.default_rng(0)
  encoded = {}
  for label, count in enumerate(counts):
    for number in range(count):
      height, width = rng.integers(40, 90, 2)
      coarse = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
      picture = Image.fromarray(coarse).resize((int(width), int(height)))
      buffer = io.BytesIO()
      ending, kind = (('png', 'png') if number % 5 == 4 else ('jpg', 'jpeg'))
      picture.save(buffer, format=kind)
      name = f'{label}/{number}.{ending}'
      data = buffer.getvalue()
      encoded[name] = data[:len(data) // 2] if name in bad else data

  examples = [(name, {'image': data, 'label': int(name[0]), 'file_name': name})
              for name, data in encoded.items()]
  builder = tfds.dataset_builders.store_as_tfds_dataset(
      name='photos', version='1.0.0', data_dir=data_dir,
      features=tfds.features.FeaturesDict({
          'image': tfds.features.Image(shape=(None, None, 3)),
          'label': tfds.features.ClassLabel(num_classes=2),
          'file_name': tfds.features.Text()}),
      split_datasets={'train': examples, 'test': examples[:11]})
  return builder.data_dir


def pixels(seed, shape=(6, 5, 3), dtype=np.uint8):
  """Makes random pixels of the whole range of a type."""
  return np.random.default_rng(seed).integers(
      0, np.iinfo(dtype).max + 1, shape, dtype)


def write_pictures(root: pathlib.Path, *names) -> pathlib.Path:
  """Writes picture files of 6 x 5 pixels; the n-th shows pixels(n).

  Args:
    root: the folder to write them in.
    *names: relative to root; the ending is that of the format.

  Returns:
    root.
  """
  for seed, name in enumerate(names):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed)).save(root / name)
  return root
