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


def prepare_own(data_dir, classes=('cat', 'dog'), count=40, seed=0,
                version='1.0.0'):
  """Prepares 'own' as a user would: random pictures of classes with names.

  Pictures are stored so that equally many take equally many bytes.

  Args:
    data_dir: the folder to prepare it in.
    classes: names; picture i is one of class i modulo their number.
    count: pictures of the training split; the test split has 11.
    seed: of the pictures.
    version: of the data set.

  Returns:
    The folder of its files.
  """
  def examples(number, seed):
    return [(i, {'image': image, 'label': i % len(classes)})
            for i, image in enumerate(images(number, seed))]

  builder = tfds.dataset_builders.store_as_tfds_dataset(
      name='own', version=version, data_dir=data_dir,
      features=tfds.features.FeaturesDict({
          'image': tfds.features.Image(shape=(8, 8, 3)),
          'label': tfds.features.ClassLabel(names=list(classes))}),
      split_datasets={'train': examples(count, 2 * seed),
                      'test': examples(11, 2 * seed + 1)},
      disable_shuffling=True)
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


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
  """Encodes a picture; kind and options are those of Pillow."""
  file = io.BytesIO()
  picture.save(file, kind, **options)
  return file.getvalue()


def write_tilted(root: pathlib.Path) -> pathlib.Path:
  """Writes five pictures of 24 x 16 pixels, once upright: white over black.

  Three are stored turned, with the EXIF orientation that says so. They are
  a/{3.jpg,6.png,upright.jpg} and b/{8.webp,plain.jpg}.

  Args:
    root: the folder to write them in.

  Returns:
    root.
  """
  upright = Image.fromarray(np.repeat(
      np.uint8([[255] * 24, [0] * 24]), 8, axis=0)).convert('RGB')
  stored = {  # EXIF says how to turn it clockwise: by 180, 90, 270 degrees.
      'a/3.jpg': (3, upright.rotate(180)),
      'a/6.png': (6, upright.rotate(90, expand=True)),
      'b/8.webp': (8, upright.rotate(270, expand=True)),
      'a/upright.jpg': (1, upright), 'b/plain.jpg': (None, upright)}
  for name, (orientation, picture) in stored.items():
    exif = Image.Exif()
    if orientation:
      exif[0x0112] = orientation
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    picture.save(root / name, exif=exif)
  return root


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
