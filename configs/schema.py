"""What is trained: every setting that can change the result, typed and checked.

Where and how a run executes (strategy, devices, folders, XLA, intervals) is set
by plain flags of the programs and is not part of the config.

Units: an epoch is one pass over the training split; image sizes are in pixels;
batches are global, over all replicas of all workers.
"""
from collections.abc import Mapping
import dataclasses
import difflib
import math
import typing
from typing import Any, TypeVar

from configs.process.errors import UserError

_Value = TypeVar('_Value')


def one_of(default: str, *others: str) -> str:
  """Returns a string field whose value must be `default` or one of `others`."""
  return dataclasses.field(
      default=default, metadata={'allowed': (default, *others)})


def at_least(minimum: int, default: _Value) -> _Value:
  """Returns a field of numbers that are not smaller than `minimum`."""
  return _within(default, f'of at least {minimum}', lambda v: v >= minimum)


def up_to(maximum: int, default: _Value) -> _Value:
  """Returns a field of numbers from 0 to `maximum`."""
  return _within(default, f'from 0 to {maximum}', lambda v: 0 <= v <= maximum)


def share(default: _Value) -> _Value:
  """Returns a field of numbers from 0 to less than 1."""
  return _within(default, 'of at least 0 and less than 1', lambda v: 0 <= v < 1)


def _within(default, limits, fits):
  """Returns a field of a number, or of a tuple of numbers that all fit."""
  return dataclasses.field(
      default=default, metadata={'limits': limits, 'fits': fits})


@dataclasses.dataclass
class Model:
  """The network. Only `resnet` has all fields; the others have batch norm's."""
  name: str = one_of('resnet', 'baseline', 'lenet5', 'alexnet8', 'vgg16',
                     'inception10')
  family: str = one_of('cifar', 'imagenet')  # 3 stages; 4 stages.
  # cifar: 6n + 2 with basic blocks, 9n + 2 with bottleneck blocks. imagenet:
  # 18, 34, 50, 101 or 152.
  depth: int = at_least(1, 20)
  # v1: post-activation; v1.5: v1 with the stride on the 3x3 convolution; v2:
  # pre-activation.
  version: str = one_of('v1', 'v1.5', 'v2')
  block: str = one_of('basic', 'bottleneck')  # cifar; imagenet: by the depth.
  # cifar: 3x3 convolution; imagenet: 7x7 with stride 2, max-pool with stride 2.
  stem: str = one_of('cifar', 'imagenet')
  width: int = at_least(1, 16)  # Channels of the first stage; papers: 16 or 64.
  # Where the shape changes. A: subsample and pad with zeros; B: 1x1
  # convolution; none: a plain network without any shortcuts.
  shortcut: str = one_of('B', 'A', 'none')
  # Whether each block starts as its shortcut alone. Not possible with v2.
  zero_init_last_gamma: bool = False
  sync_batch_norm: bool = False  # Statistics over the global batch.
  batch_norm_momentum: float = share(0.9)  # Weight of the old statistics.
  batch_norm_epsilon: float = at_least(0, 1e-5)


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
  image_size: int = at_least(0, 0)
  # One value per channel, on a scale of 0 to 255. (): measured on train_split.
  mean: tuple[float, ...] = ()
  stddev: tuple[float, ...] = ()


@dataclasses.dataclass
class Augment:
  """Random changes to training images, a function of (seed, position) alone."""
  # With data.image_size: crops a random box that covers at least this share of
  # the image. It is resized to image_size, or, if `sizes` is set, to each of
  # these sizes in turn, for equal parts of the run.
  smallest_crop: float = up_to(1, 0.08)
  sizes: tuple[int, ...] = at_least(1, ())
  # How often each example occurs in its batch. An epoch keeps its number of
  # images, so it has fewer different examples.
  repeats: int = at_least(1, 1)
  # Black pixels added on each side before a random crop; 4 for CIFAR.
  crop_padding: int = at_least(0, 0)
  flip: bool = False  # Flips half of the images left to right.
  policy: str = one_of('none', 'rand_augment', 'auto_cifar10', 'auto_imagenet')
  layers: int = at_least(1, 2)  # rand_augment: operations per image.
  magnitude: float = up_to(10, 9.0)  # rand_augment: their strength.
  # Color jitter by factors between 1 - x and 1 + x. 0: off.
  brightness: float = at_least(0, 0.0)
  contrast: float = at_least(0, 0.0)
  saturation: float = at_least(0, 0.0)
  cutout: int = at_least(0, 0)  # Side of the erased square in pixels. 0: off.
  erasing: float = up_to(1, 0.0)  # Probability of an erased rectangle.
  # Alpha of the Beta distribution of the mixing ratio. 0: off.
  mixup: float = at_least(0, 0.0)
  cutmix: float = at_least(0, 0.0)


@dataclasses.dataclass
class Optimizer:
  """How gradients change the weights."""
  name: str = one_of('sgd', 'adam')
  momentum: float = share(0.9)  # sgd.
  nesterov: bool = False  # sgd.
  beta_1: float = share(0.9)  # adam.
  beta_2: float = share(0.999)  # adam.
  epsilon: float = at_least(0, 1e-8)  # adam.
  # Applies to kernels only, not to biases or batch norm. sgd: an L2 term in the
  # gradient (He et al. 2015); adam: decoupled (Loshchilov & Hutter 2017).
  weight_decay: float = at_least(0, 1e-4)


@dataclasses.dataclass
class Schedule:
  """The learning rate over the run."""
  name: str = one_of('constant', 'step', 'cosine', 'polynomial')
  peak: float = at_least(0, 0.1)  # The rate after the warm-up.
  end: float = at_least(0, 0.0)  # cosine, polynomial: the rate at the end.
  warmup_epochs: float = at_least(0, 0.0)  # Rises linearly from 0.
  # step: shares of the run after which the rate is multiplied by drop_factor.
  drops_at: tuple[float, ...] = share((0.5, 0.75))
  drop_factor: float = at_least(0, 0.1)
  power: float = at_least(0, 1.0)  # polynomial.


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
  global_batch: int = at_least(1, 128)  # Images per update.
  eval_batch: int = at_least(1, 500)  # Images per step of an evaluation.
  # The length of the run: exactly one of the two is positive.
  train_epochs: float = at_least(0, 0.0)
  train_steps: int = at_least(0, 0)
  seed: int = at_least(0, 0)


def check(config: Config) -> None:
  """Raises UserError unless all values are allowed and fit together."""
  for path, value, field, field_type in _leaves(config):
    _check_type(path, value, field_type)
    allowed = field.metadata.get('allowed')
    if allowed and value not in allowed:
      raise UserError(
          f'config.{path}={value!r} is unknown: choose one of '
          f'{", ".join(allowed)}.')
    limits = field.metadata.get('limits')
    values = value if isinstance(value, tuple) else (value,)
    if limits and not all(map(field.metadata['fits'], values)):
      raise UserError(
          f'config.{path}={value!r} is out of range: give a value {limits}.')
  _check_data_and_augment(config)
  if (config.train_epochs > 0) == (config.train_steps > 0):
    raise UserError(
        f'config.train_epochs={config.train_epochs:g} and '
        f'config.train_steps={config.train_steps} do not define the length of '
        'the run: set one of them to a positive value and the other to 0.')


def _check_data_and_augment(config):
  """Raises UserError if settings of the input do not fit together."""
  data, augment = config.data, config.augment
  if not all(value > 0 for value in data.stddev):
    raise UserError(
        f'config.data.stddev={data.stddev} is out of range: give positive '
        'values, or () to measure them.')
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
    UserError: a field does not exist.
  """
  return _build(Config, values, '')


def differences(ours: Config, theirs: Config) -> list[str]:
  """Returns 'config.field: ours -> theirs' for each field that differs."""
  others = plain_fields(theirs)
  return [f'config.{path}: {value!r} -> {others[path]!r}'
          for path, value in plain_fields(ours).items()
          if value != others[path]]


def plain_fields(config: Config) -> dict[str, Any]:
  """Returns {'optimizer.name': value} of all fields, also those in groups."""
  return {path: value for path, value, *_ in _leaves(config)}


def unknown_field(path: str, config: Config) -> str:
  """Returns the sentence for an override of a field that does not exist."""
  names = [name for name, *_ in _leaves(config)]
  last = path.rpartition('.')[-1]
  near = [name for name in names if name.rpartition('.')[-1] == last]
  near += difflib.get_close_matches(path, names, n=1)
  hint = f' (did you mean config.{near[0]}?)' if near else ''
  group = path.rpartition('.')[0]
  siblings = [name for name in names if name.rpartition('.')[0] == group]
  return (f'config.{path} does not exist{hint}: the fields are '
          f'{", ".join(siblings or names)}.')


def _leaves(config, prefix=''):
  """Yields (path, value, dataclass field, type) of each plain field."""
  types = typing.get_type_hints(type(config))
  for field in dataclasses.fields(config):
    value, path = getattr(config, field.name), prefix + field.name
    if dataclasses.is_dataclass(types[field.name]):
      yield from _leaves(value, path + '.')
    else:
      yield path, value, field, types[field.name]


def _check_type(path, value, field_type):
  """Raises UserError unless value is a field_type; an int passes as float."""
  if typing.get_origin(field_type) is tuple:
    item_type = typing.get_args(field_type)[0]
    if not isinstance(value, tuple):
      raise UserError(
          f'config.{path}={value!r} has the wrong type: give '
          f'{_TYPE_NAMES[field_type]}.')
    for item in value:
      _check_type(path, item, item_type)
    return
  if field_type is float:
    fits = isinstance(value, (int, float)) and math.isfinite(value)
  else:
    fits = isinstance(value, field_type)
  if not fits or (isinstance(value, bool) and field_type is not bool):
    raise UserError(
        f'config.{path}={value!r} has the wrong type: give '
        f'{_TYPE_NAMES[field_type]}.')


_TYPE_NAMES = {
    int: 'a whole number', float: 'a number', str: 'a word',
    bool: 'true or false',
    tuple[int, ...]: 'a tuple of whole numbers such as 128,224',
    tuple[float, ...]: 'a tuple of numbers such as 0.5,0.75'}


def type_name(path: str, config: Config) -> str:
  """Returns what a value of the field at `path` must be: 'a number'.

  Raises:
    KeyError: there is no such field.
  """
  for name, _, _, field_type in _leaves(config):
    if name == path:
      return _TYPE_NAMES[field_type]
  raise KeyError(path)


def _build(cls, values, prefix):
  types = typing.get_type_hints(cls)
  unknown = sorted(set(values) - set(types))
  if unknown:
    raise UserError(
        f'config.{prefix}{unknown[0]} does not exist in this version (its '
        f'fields are {", ".join(types)}): use the version that wrote the '
        'config.')
  fields = {}
  for name, value in values.items():
    if dataclasses.is_dataclass(types[name]):
      value = _build(types[name], value, f'{prefix}{name}.')
    elif typing.get_origin(types[name]) is tuple:
      value = tuple(value)
    fields[name] = value
  return cls(**fields)
