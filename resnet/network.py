"""From a config to its network and the state that training changes."""
import dataclasses

import keras
import numpy as np
import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from pipelines import pixel_statistics, salts, sources, threefry
from resnet import state as state_lib
from resnet.distribution import strategy as strategy_lib
from resnet.models import classics, freezing, own, tutorials
from resnet.models import resnet as resnet_model

_DTYPES = {'float32': 'float32', 'bfloat16': 'mixed_bfloat16',
           'float16': 'mixed_float16'}


def build(config: schema.Config, strategy: tf.distribute.Strategy,
          train_source: sources.Source, deterministic: bool = False
          ) -> tuple[keras.Model, state_lib.State]:
  """Builds the network of a config and its state at step 0, on every replica.

  Args:
    config: what is trained.
    strategy: the devices.
    train_source: the training split. It determines the shape of images, the
      number of classes and, unless the config gives them, the mean and standard
      deviation of pixels.
    deterministic: whether gradients must be the same bits in every run, also on
      GPUs.

  Returns:
    (the model, the variables that training changes).

  Raises:
    UserError: the config asks for a network that does not exist, or does not
      fit the images.
  """
  mean, stddev = pixel_statistics.mean_and_stddev(config.data, train_source)
  return build_from(
      config, strategy, train_source.image_shape, train_source.num_classes,
      mean, stddev, deterministic)


def build_from(config: schema.Config, strategy: tf.distribute.Strategy,
               image_shape: tuple[int, ...], num_classes: int,
               mean: np.ndarray, stddev: np.ndarray,
               deterministic: bool = False
               ) -> tuple[keras.Model, state_lib.State]:
  """As `build`, where the shape of images and their statistics are known.

  Args:
    config: what is trained.
    strategy: the devices.
    image_shape: (h, w, c).
    num_classes: length of the logits.
    mean: float32 [c] or [h, w, c], in units of 0..255.
    stddev: float32 [c], in the same units.
    deterministic: see `build`.
  """
  keras.utils.set_random_seed(config.seed)
  with strategy.scope():
    model = build_model(config, image_shape, num_classes, deterministic,
                        strategy_lib.on_gpus(strategy))
    state = state_lib.create(
        model, optimizer=config.optimizer.name,
        precision=schema.loss_precision(config), mean=mean, stddev=stddev,
        ema=config.ema.decay > 0, frozen=config.finetune.frozen)
  return model, state


def build_model(config: schema.Config, image_shape: tuple[int, ...],
                num_classes: int, deterministic: bool = False,
                on_gpus: bool = False) -> keras.Model:
  """Builds the network of a config alone, for GPUs or others; see `build`."""
  model = _build_model(config, image_shape, num_classes, deterministic, on_gpus)
  freezing.freeze(model, config.finetune.frozen)
  return model


def _build_model(config, image_shape, num_classes, deterministic, on_gpus):
  fields = dataclasses.asdict(config.model)
  name = fields.pop('name')
  if name == 'own':
    return own.build(config, image_shape, num_classes)
  shared = {'image_shape': image_shape, 'num_classes': num_classes,
            'dtype': _DTYPES[config.precision],
            'deterministic': deterministic}
  sizes = sorted(schema.image_sizes(config))
  several = len(sizes) > 1
  if name == 'resnet':
    if several:
      smallest = sizes[0]
      shared['image_shape'] = (smallest, smallest, image_shape[-1])
    return resnet_model.build(
        **fields, **shared, any_size=several, on_gpus=on_gpus,
        draw_skips=_draws(config, salts.STOCHASTIC_DEPTH, on_gpus),
        draw_dropout=_draws(config, salts.DROPOUT, on_gpus))
  if several:
    raise UserError(
        f'Images of {" and ".join(map(str, sizes))} pixels need a network that '
        f'accepts several sizes, but config.model.name={name} accepts only '
        'one: set config.augment.sizes to () and config.data.eval_size to 0, '
        'or give config.model.name=resnet.')
  shared |= {key: fields[key] for key in (
      'sync_batch_norm', 'batch_norm_momentum', 'batch_norm_epsilon')}
  if name in tutorials.NAMES:
    return tutorials.build(name, depth=config.model.depth, **shared)
  return classics.build(
      name, **shared,
      draw_uniform=_draws(config, salts.DROPOUT, on_gpus))


def _draws(config, first_salt, on_gpus):
  """Returns (position int64 [b], salt, shape) -> float32 [b, *shape]."""
  def draw(position, salt, shape):
    return threefry.uniform(config.seed, position, first_salt + salt, shape)

  if not (on_gpus and config.model.sync_batch_norm):
    return draw
  # Nothing else around is compiled then, and GPUs have few kernels for uint32.
  return lambda position, salt, shape: tf.function(
      lambda p: draw(p, salt, shape), jit_compile=True, autograph=False)(
          position)
