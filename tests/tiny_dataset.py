"""A TFDS data set of 37 small pictures, prepared in a moment, offline."""
import numpy as np
import tensorflow_datasets as tfds

TRAIN, TEST = 37, 11


def images(count, seed):
  """uint8 [count, 8, 8, 3]."""
  return np.random.default_rng(seed).integers(
      0, 256, (count, 8, 8, 3), dtype=np.uint8)


class TinyPictures(tfds.core.GeneratorBasedBuilder):
  """Labels are index % 3; a third split has none, as test sets of contests."""
  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({
        'image': tfds.features.Image(shape=(8, 8, 3), encoding_format='png'),
        'label': tfds.features.ClassLabel(num_classes=3)}))

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'train': self._generate_examples(TRAIN, 0),
            'test': self._generate_examples(TEST, 1),
            'unlabelled': self._generate_examples(2, 2, labelled=False)}

  def _generate_examples(self, count, seed, labelled=True):
    for i, image in enumerate(images(count, seed)):
      yield i, {'image': image, 'label': i % 3 if labelled else -1}


def prepare(data_dir):
  """Prepares it under data_dir; returns the folder of its files."""
  builder = TinyPictures(data_dir=data_dir)
  builder.download_and_prepare()
  return builder.data_dir
