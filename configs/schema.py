"""What is trained: every setting that can change the result, typed and checked.

Where and how a run executes (strategy, devices, folders, XLA, intervals) is set
by plain flags of the programs and is not part of the config.

Units: an epoch is one pass over the training split; image sizes are in pixels;
batches are global, over all replicas of all workers.
"""
from collections.abc import Mapping
import dataclasses
from typing import Any

from configs.process import typed_fields
from configs.process.errors import UserError
from configs.process.typed_fields import at_least, off_or, one_of, share, within

# Sides of images and batches are bounded so that their products fit into the
# integers of TensorFlow, and so that a slip does not reserve all memory.
_MOST_PIXELS = 8192  # A side.
_MOST_IMAGES = 2**20  # A batch.
_MOST_EPOCHS = 10**6
_LEAST_STDDEV = 0.001  # Images are divided by it.
_MOST_STEPS = 10**12
# Random numbers are keyed by 48 bits of the position: pipelines/threefry.py.
MOST_POSITIONS = 2**48


@dataclasses.dataclass
class Model:
  """The network. Only `resnet` has all fields; the others have batch norm's."""
  name: str = one_of('resnet', 'baseline', 'lenet5', 'alexnet8', 'vgg16',
                     'inception10')
  family: str = one_of('cifar', 'imagenet')  # 3 stages; 4 stages.
  # cifar: 6n + 2 with basic blocks, 9n + 2 with bottleneck blocks. imagenet:
  # 18, 34, 50, 101 or 152.
  depth: int = within(1, 2000, 20)
  # v1: post-activation; v1.5: v1 with the stride on the 3x3 convolution; v2:
  # pre-activation.
  version: str = one_of('v1', 'v1.5', 'v2')
  block: str = one_of('basic', 'bottleneck')  # cifar; imagenet: by the depth.
  # cifar: 3x3 convolution; imagenet: 7x7 with stride 2, max-pool with stride 2.
  stem: str = one_of('cifar', 'imagenet')
  # Channels of the first stage; papers: 16 or 64.
  width: int = within(1, 1024, 16)
  # Where the shape changes. A: subsample and pad with zeros; B: 1x1
  # convolution; none: a plain network without any shortcuts.
  shortcut: str = one_of('B', 'A', 'none')
  # Whether each block starts as its shortcut alone. Not possible with v2.
  zero_init_last_gamma: bool = False
  sync_batch_norm: bool = False  # Statistics over the global batch.
  batch_norm_momentum: float = share(0.9)  # Weight of the old statistics.
  batch_norm_epsilon: float = within(0, 1, 1e-5)


@dataclasses.dataclass
class Data:
  """A prepared TFDS image-classification data set, or the embedded `digits`."""
  name: str = 'digits'
  train_split: str = 'train'
  eval_split: str = 'test'
  # The mean that is subtracted: one per channel, or one per pixel and channel.
  center: str = one_of('channel', 'pixel')
  # Height and width that images of different sizes are cropped and resized to.
  # 0: all images already have the same size.
  image_size: int = within(0, _MOST_PIXELS, 0)
  # One value per channel, on a scale of 0 to 255. (): measured on train_split.
  mean: tuple[float, ...] = within(-1000, 1000, ())
  stddev: tuple[float, ...] = within(0, 1000, ())


@dataclasses.dataclass
class Augment:
  """Random changes to training images, a function of (seed, position) alone."""
  # With data.image_size: crops a random box that covers at least this share of
  # the image. It is resized to image_size, or, if `sizes` is set, to each of
  # these sizes in turn, for equal parts of the run.
  smallest_crop: float = within(0, 1, 0.08)
  sizes: tuple[int, ...] = within(1, _MOST_PIXELS, ())
  # How often each example occurs in its batch. An epoch keeps its number of
  # images, so it has fewer different examples.
  repeats: int = within(1, _MOST_IMAGES, 1)
  # Black pixels added on each side before a random crop; 4 for CIFAR.
  crop_padding: int = within(0, _MOST_PIXELS, 0)
  flip: bool = False  # Flips half of the images left to right.
  policy: str = one_of('none', 'rand_augment', 'auto_cifar10', 'auto_imagenet')
  layers: int = within(1, 100, 2)  # rand_augment: operations per image.
  magnitude: float = within(0, 10, 9.0)  # rand_augment: their strength.
  # Color jitter by factors between 1 - x and 1 + x. 0: off.
  brightness: float = within(0, 100, 0.0)
  contrast: float = within(0, 100, 0.0)
  saturation: float = within(0, 100, 0.0)
  # Side of the erased square in pixels. 0: off.
  cutout: int = within(0, _MOST_PIXELS, 0)
  erasing: float = within(0, 1, 0.0)  # Probability of an erased rectangle.
  # Alpha of the Beta distribution of the mixing ratio. 0: off.
  mixup: float = off_or(0.001, 100, 0.0)
  cutmix: float = off_or(0.001, 100, 0.0)


@dataclasses.dataclass
class Optimizer:
  """How gradients change the weights."""
  name: str = one_of('sgd', 'adam')
  momentum: float = share(0.9)  # sgd.
  nesterov: bool = False  # sgd.
  beta_1: float = share(0.9)  # adam.
  beta_2: float = share(0.999)  # adam.
  epsilon: float = within(0, 1, 1e-8)  # adam.
  # Applies to kernels only, not to biases or batch norm. sgd: an L2 term in the
  # gradient (He et al. 2015); adam: decoupled (Loshchilov & Hutter 2017).
  weight_decay: float = within(0, 10, 1e-4)


@dataclasses.dataclass
class Schedule:
  """The learning rate over the run."""
  name: str = one_of('constant', 'step', 'cosine', 'polynomial')
  peak: float = at_least(0, 0.1)  # The rate after the warm-up.
  end: float = at_least(0, 0.0)  # cosine, polynomial: the rate at the end.
  warmup_epochs: float = within(0, _MOST_EPOCHS, 0.0)  # Rises linearly from 0.
  # step: shares of the run after which the rate is multiplied by drop_factor.
  drops_at: tuple[float, ...] = share((0.5, 0.75))
  drop_factor: float = at_least(0, 0.1)
  power: float = within(0, 100, 1.0)  # polynomial.


@dataclasses.dataclass
class Config:
  """Everything that can change the result of a run."""
  model: Model = dataclasses.field(default_factory=Model)
  data: Data = dataclasses.field(default_factory=Data)
  augment: Augment = dataclasses.field(default_factory=Augment)
  optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
  schedule: Schedule = dataclasses.field(default_factory=Schedule)
  label_smoothing: float = share(0.0)
  precision: str = one_of('float32', 'bfloat16', 'float16')
  # What replicas send and sum gradients in; half the bytes with the last two.
  reduce_precision: str = one_of('float32', 'bfloat16', 'float16')
  global_batch: int = within(1, _MOST_IMAGES, 128)  # Images per update.
  # Images per step of an evaluation.
  eval_batch: int = within(1, _MOST_IMAGES, 500)
  # The length of the run: exactly one of the two is positive.
  train_epochs: float = within(0, _MOST_EPOCHS, 0.0)
  train_steps: int = within(0, _MOST_STEPS, 0)
  seed: int = within(0, 2**32 - 1, 0)


def check(config: Config) -> None:
  """Raises UserError unless all values are allowed and fit together."""
  typed_fields.check_types(config)
  typed_fields.check_limits(config)
  _check_data_and_augment(config)
  _check_length(config)


def _check_length(config):
  """Raises UserError unless the length of the run is given once, and fits."""
  if (config.train_epochs > 0) == (config.train_steps > 0):
    raise UserError(
        f'config.train_epochs={config.train_epochs:g} and '
        f'config.train_steps={config.train_steps} do not define the length of '
        'the run: set one of them to a positive value and the other to 0.')
  if config.train_steps * config.global_batch > MOST_POSITIONS:
    raise UserError(
        f'config.train_steps={config.train_steps} with config.global_batch='
        f'{config.global_batch} takes more than {MOST_POSITIONS} images: give '
        f'at most {MOST_POSITIONS // config.global_batch} steps.')


def loss_precision(config: Config) -> str:
  """Returns the precision that decides whether the loss is scaled.

  float16 has too few exponents for gradients, computed or summed.
  """
  if 'float16' in (config.precision, config.reduce_precision):
    return 'float16'
  return config.precision


def check_images(config: Config, height: int, width: int) -> None:
  """Checks that the augmentation leaves something of images of a size.

  Args:
    config: checked.
    height: of the images that are evaluated, in pixels.
    width: of the same.

  Raises:
    UserError: a setting is larger than the images.
  """
  smallest = min(height, width, *config.augment.sizes)
  for name, what in (('cutout', 'erases a square that is larger than'),
                     ('crop_padding', 'can shift everything out of')):
    value = getattr(config.augment, name)
    limit = smallest - (name == 'crop_padding')
    if value > limit:
      raise UserError(
          f'config.augment.{name}={value} {what} images of {smallest} pixels '
          f'a side: give at most {limit}.')


def _check_data_and_augment(config):
  """Raises UserError if settings of the input do not fit together."""
  data, augment = config.data, config.augment
  if not all(value >= _LEAST_STDDEV for value in data.stddev):
    raise UserError(
        f'config.data.stddev={data.stddev} is out of range: give values of at '
        f'least {_LEAST_STDDEV}, or () to measure them.')
  if augment.sizes and not data.image_size:
    raise UserError(
        f'config.augment.sizes={augment.sizes} resizes images, but '
        'config.data.image_size=0 does not: set image_size to the size for '
        'evaluation, or sizes to ().')
  if config.global_batch % augment.repeats:
    raise UserError(
        f'config.global_batch={config.global_batch} is not divisible by '
        f'config.augment.repeats={augment.repeats}: give a multiple of '
        f'{augment.repeats}.')


def to_dict(config: Config) -> dict[str, Any]:
  """Returns nested dicts that json can write; tuples become lists."""
  return dataclasses.asdict(
      config, dict_factory=lambda items: {
          k: list(v) if isinstance(v, tuple) else v for k, v in items})


def from_dict(values: Mapping[str, Any]) -> Config:
  """Undoes to_dict. Fields that are missing get their default values.

  Raises:
    UserError: a field does not exist, or a group is not a dict.
  """
  return typed_fields.build(Config, values)


def differences(ours: Config, theirs: Config) -> list[str]:
  """Returns 'config.field: ours -> theirs' for each field that differs."""
  others = plain_fields(theirs)
  return [f'config.{path}: {value!r} -> {others[path]!r}'
          for path, value in plain_fields(ours).items()
          if value != others[path]]


def plain_fields(config: Config) -> dict[str, Any]:
  """Returns {'optimizer.name': value} of all fields, also those in groups."""
  return {field.path: field.value for field in typed_fields.plain(config)}
