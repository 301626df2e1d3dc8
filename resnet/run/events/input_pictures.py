"""The first images that a run is trained on, exactly as its network gets them.

They are read and augmented once more, on the host, apart from the stream of
batches: images are a function of (seed, position), so they are the same.
"""
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from configs import schema
from pipelines import augmentation, batches, decoding, mixing
from pipelines.sources import Source
from resnet import compilation, plan
from resnet.optimization import losses

_MOST = 16


class InputPicture(NamedTuple):
  """An image as the network gets it, before it is standardized."""
  pixels: np.ndarray  # uint8 [h, w, c].
  shares: list[tuple[int, float]]  # (label, share), the larger first; 1 or 2.


def first(config: schema.Config, source: Source, mean: np.ndarray,
          most_bytes: int) -> list[InputPicture]:
  """Returns the first images of the first global batch.

  Pictures that are skipped as bad are left out.

  Args:
    config: what is trained.
    source: the training split.
    mean: see augmentation.apply.
    most_bytes: of the images, before augmentation; at least two are taken.

  Raises:
    UserError, TryAgain: they cannot be read.
  """
  crop, shape = None, source.image_shape
  if config.data.image_size:
    sizes = config.augment.sizes or (config.data.image_size,)
    crop = decoding.random_crop(config, shape[-1], plan.phase(
        0, sizes, plan.total_steps(config, source.size))[0])
    shape = crop.shape
  count = max(2, min(_MOST, most_bytes // math.prod(shape)) // 2 * 2)
  with compilation.host():
    batch = _read(config, source, min(count, config.global_batch), crop)
    images, targets = augmentation.apply(
        batch['image'], losses.targets_of(batch['label'], source.num_classes),
        batch['position'], tf.constant(mean), seed=config.seed,
        config=config.augment, mix_until=mixing.mix_until(
            config.augment.mix_epochs, source.size))
  pixels = np.clip(np.rint(tf.cast(images, tf.float32).numpy()), 0, 255)
  return [InputPicture(image, _shares(target)) for image, target, weight in zip(
      pixels.astype(np.uint8), targets.numpy(), batch['weight'].numpy())
          if weight]


def _read(config, source, count, crop) -> Any:
  """Returns the first `count` images as a batch, see batches.py."""
  position = tf.range(count, dtype=tf.int64)
  example = batches.train_examples(
      position, size=source.size, seed=config.seed,
      global_batch=config.global_batch, repeats=config.augment.repeats)
  columns: Any = {'example': example, 'position': position,
                  'weight': tf.ones([count])}
  try:
    # To its end: freeing an iterator in mid-stream takes a second.
    (batch,) = source.read(tf.data.Dataset.from_tensors(columns), crop)
    return batch
  except tf.errors.OpError as error:
    raise source.explain(example.numpy()) or error from error


def _shares(target):
  """Returns the (label, share) of the one or two classes of an image."""
  order = np.argsort(-target, kind='stable')[:2]
  return [(int(label), float(target[label])) for label in order
          if target[label] > 0]
