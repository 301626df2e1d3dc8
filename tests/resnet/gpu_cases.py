"""Small versions of the recipes, with data of their kind, for tracing."""
import dataclasses

import numpy as np
import tensorflow as tf

from configs import loading, schema
from pipelines import sources
from pipelines.options import Reading

PRECISIONS = ('float32', 'bfloat16', 'float16')
# What makes the networks cheap to trace; outside of XLA nothing differs.
SHALLOW = {'digits_resnet8': {}, 'cifar10_resnet20': {'depth': 8},
           'imagenet_resnet50': {'depth': 18}}
_SIDE = 64  # Of pictures from disk.
# All that there is. It is the same for all recipes, if smaller for digits.
_AUGMENT = schema.Augment(
    repeats=2, crop_padding=1, flip=True, policy='rand_augment', layers=1,
    brightness=0.4, contrast=0.4, saturation=0.4, cutout=4, erasing=0.25,
    mixup=0.2, cutmix=1.0)


def config(recipe: str, *, precision: str = 'float32', augment: bool = False,
           **model) -> schema.Config:
  """Returns a recipe's config, narrow and for small batches.

  Args:
    recipe: its name.
    precision: one of PRECISIONS.
    augment: whether to add every augmentation.
    **model: further fields of the network that differ.
  """
  loaded = loading.load(recipe)
  data, changes = loaded.data, loaded.augment
  if data.image_size:
    data = dataclasses.replace(data, image_size=_SIDE)
  if augment:
    sizes = (_SIDE // 2, _SIDE) if data.image_size else ()
    changes = dataclasses.replace(_AUGMENT, sizes=sizes)
  return dataclasses.replace(
      loaded, data=data, augment=changes, precision=precision, global_batch=8,
      eval_batch=8, train_epochs=0.0, train_steps=1000,
      model=dataclasses.replace(loaded.model, **{'width': 4, **model}),
      schedule=dataclasses.replace(loaded.schedule, warmup_epochs=0.0))


def splits(settings: schema.Config,
           photos: str) -> tuple[sources.Source, sources.Source]:
  """Returns a training and an evaluation split of the kind of a config's data.

  Args:
    settings: the config.
    photos: a folder with the pictures of tiny_dataset.prepare_photos.
  """
  name, size = settings.data.name, settings.data.image_size
  if size:
    data = dataclasses.replace(settings.data, name='photos')
    return tuple(sources.load(data, split, Reading(photos))
                 for split in ('train', 'test'))
  if name == 'digits':
    return tuple(sources.load(name, split) for split in ('train', 'test'))
  side, channels = (32, 3) if name.startswith('cifar') else (28, 1)
  return (random_images(side, channels),) * 2


def random_images(side: int, channels: int, classes: int = 10,
                  count: int = 24) -> sources.InMemory:
  """Returns random images in memory."""
  rng = np.random.default_rng(0)
  return sources.InMemory(
      tf.constant(rng.integers(
          0, 256, (count, side, side, channels), np.uint8)),
      tf.constant(rng.integers(0, classes, count), tf.int32), classes)
