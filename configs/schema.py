"""What is trained: every setting that can change the result, typed and checked.

Where and how a run executes (strategy, devices, folders, XLA, intervals) are
plain flags of the binaries and never stand here.

Units: epochs are passes over the training split; images sizes are pixels;
batches are global, over all replicas of all workers.
"""
import dataclasses
import difflib
import math
import typing

from configs.process.errors import UserError


def one_of(default, *others):
  """A string field that allows `default` and `others` only."""
  return dataclasses.field(
      default=default, metadata={'allowed': (default, *others)})


def at_least(minimum, default):
  """A number field (or tuple of numbers) with a smallest allowed value."""
  return dataclasses.field(default=default, metadata={'minimum': minimum})


@dataclasses.dataclass
class Model:
  """A network; `resnet` reads every field, the classics only batch norm's."""
  name: str = one_of('resnet', 'baseline', 'lenet5', 'alexnet8', 'vgg16',
                     'inception10')
  family: str = one_of('cifar', 'imagenet')  # 3 stages, or 4 stages.
  depth: int = at_least(1, 20)
  version: str = one_of('v1', 'v1.5', 'v2')
  block: str = one_of('basic', 'bottleneck')  # CIFAR family: 6n+2 or 9n+2.
  stem: str = one_of('cifar', 'imagenet')  # 3x3; or 7x7/2 and max-pool/2.
  width: int = at_least(1, 16)  # Channels of the first stage: 16 or 64.
  shortcut: str = one_of('B', 'A', 'none')
  zero_init_last_gamma: bool = False
  sync_batch_norm: bool = False  # Statistics over the global batch.
  batch_norm_momentum: float = at_least(0, 0.9)
  batch_norm_epsilon: float = at_least(0, 1e-5)


@dataclasses.dataclass
class Data:
  """A TFDS image-classification data set, or the embedded `digits`."""
  name: str = 'digits'
  train_split: str = 'train'
  eval_split: str = 'test'
  # The mean that is subtracted: one a channel, or one a pixel of each channel.
  center: str = one_of('channel', 'pixel')
  # Pixels a side that pictures of many sizes are cropped and resized to; 0: all
  # images have one size.
  image_size: int = at_least(0, 0)
  # One value a channel, in units of 0..255; empty: measured on train_split.
  mean: tuple[float, ...] = ()
  stddev: tuple[float, ...] = ()


@dataclasses.dataclass
class Augment:
  """What happens to training images, drawn anew for each (seed, position)."""
  # With data.image_size: a random box of at least this share of the picture,
  # resized to each of `sizes` for an equal share of the run, or to image_size.
  smallest_crop: float = at_least(0, 0.08)
  sizes: tuple[int, ...] = at_least(1, ())
  # Of each example in its batch; an epoch stays as many images, not examples.
  repeats: int = at_least(1, 1)
  crop_padding: int = at_least(0, 0)  # Black pixels a side; 4 for CIFAR.
  flip: bool = False  # Left-right, for half of the images.
  policy: str = one_of('none', 'rand_augment', 'auto_cifar10', 'auto_imagenet')
  layers: int = at_least(1, 2)  # rand_augment: operations on each image.
  magnitude: float = at_least(0, 9.0)  # rand_augment: their strength, of 10.
  # Factors between 1 - x and 1 + x; 0 is off.
  brightness: float = at_least(0, 0.0)
  contrast: float = at_least(0, 0.0)
  saturation: float = at_least(0, 0.0)
  cutout: int = at_least(0, 0)  # Pixels a side of a square.
  erasing: float = at_least(0, 0.0)  # Probability of a random rectangle.
  # Alpha of the Beta distribution that draws the shares; 0 is off.
  mixup: float = at_least(0, 0.0)
  cutmix: float = at_least(0, 0.0)


@dataclasses.dataclass
class Optimizer:
  name: str = one_of('sgd', 'adam')
  momentum: float = at_least(0, 0.9)  # sgd
  nesterov: bool = False  # sgd
  beta_1: float = at_least(0, 0.9)  # adam
  beta_2: float = at_least(0, 0.999)  # adam
  epsilon: float = at_least(0, 1e-8)  # adam
  # Kernels only. sgd: L2 in the gradient (He et al. 2015); adam: decoupled.
  weight_decay: float = at_least(0, 1e-4)


@dataclasses.dataclass
class Schedule:
  """Learning rate over the run, after a linear warm-up from zero."""
  name: str = one_of('constant', 'step', 'cosine', 'polynomial')
  peak: float = at_least(0, 0.1)
  end: float = at_least(0, 0.0)  # cosine, polynomial
  warmup_epochs: float = at_least(0, 0.0)
  drops_at: tuple[float, ...] = at_least(0, (0.5, 0.75))  # Shares of the run.
  drop_factor: float = at_least(0, 0.1)  # step
  power: float = at_least(0, 1.0)  # polynomial


@dataclasses.dataclass
class Config:
  model: Model = dataclasses.field(default_factory=Model)
  data: Data = dataclasses.field(default_factory=Data)
  augment: Augment = dataclasses.field(default_factory=Augment)
  optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
  schedule: Schedule = dataclasses.field(default_factory=Schedule)
  label_smoothing: float = at_least(0, 0.0)
  precision: str = one_of('float32', 'bfloat16', 'float16')
  global_batch: int = at_least(1, 128)  # Images per update.
  eval_batch: int = at_least(1, 500)
  # The run's length: exactly one of the two is not 0.
  train_epochs: float = at_least(0, 0.0)
  train_steps: int = at_least(0, 0)
  seed: int = at_least(0, 0)


def check(config):
  """Raises UserError unless each field has its type and an allowed value."""
  for path, value, field, field_type in _leaves(config):
    _check_type(path, value, field_type)
    allowed = field.metadata.get('allowed')
    if allowed and value not in allowed:
      raise UserError(
          f'config.{path}={value!r} is unknown: choose one of '
          f'{", ".join(allowed)}.')
    minimum = field.metadata.get('minimum')
    values = value if isinstance(value, tuple) else (value,)
    if minimum is not None and not all(v >= minimum for v in values):
      raise UserError(
          f'config.{path}={value!r} is out of range: give at least {minimum}.')
  _check_shares(config)
  _check_augment(config)
  if not all(value > 0 for value in config.data.stddev):
    raise UserError(
        f'config.data.stddev={config.data.stddev} divides the images: give '
        'positive values, or none to have them measured.')
  if (config.train_epochs > 0) == (config.train_steps > 0):
    raise UserError(
        f'config.train_epochs={config.train_epochs:g} and '
        f'config.train_steps={config.train_steps} must be one positive, one 0: '
        'set the other to 0.')


def _check_shares(config):
  """Values that are shares of something must lie below (or at) one."""
  below_one = {
      'label_smoothing': config.label_smoothing,
      'optimizer.momentum': config.optimizer.momentum,
      'optimizer.beta_1': config.optimizer.beta_1,
      'optimizer.beta_2': config.optimizer.beta_2,
      'model.batch_norm_momentum': config.model.batch_norm_momentum,
      'schedule.drops_at': max(config.schedule.drops_at, default=0),
  }
  for path, value in below_one.items():
    if value >= 1:
      raise UserError(
          f'config.{path}={value!r} is out of range: give a value from 0 to '
          'below 1.')


def _check_augment(config):
  """Settings of augmentation that must fit each other."""
  augment = config.augment
  at_most = {'smallest_crop': 1, 'erasing': 1, 'magnitude': 10}
  for name, most in at_most.items():
    if getattr(augment, name) > most:
      raise UserError(
          f'config.augment.{name}={getattr(augment, name)!r} is out of range: '
          f'give a value from 0 to {most}.')
  if augment.sizes and not config.data.image_size:
    raise UserError(
        f'config.augment.sizes={augment.sizes} resizes pictures that '
        'config.data.image_size=0 leaves as they are: set image_size to the '
        'size of evaluation, or sizes to ().')
  if config.global_batch % augment.repeats:
    raise UserError(
        f'config.global_batch={config.global_batch} does not hold whole '
        f'examples config.augment.repeats={augment.repeats} times: give a '
        f'multiple of {augment.repeats}.')


def to_dict(config):
  """The config as nested dicts that json can write; tuples become lists."""
  return dataclasses.asdict(
      config, dict_factory=lambda items: {
          k: list(v) if isinstance(v, tuple) else v for k, v in items})


def from_dict(values):
  """The inverse of to_dict. Raises UserError on fields that do not exist."""
  return _build(Config, values, '')


def differences(ours, theirs):
  """Lines 'config.field: ours -> theirs' of the fields that differ."""
  others = plain_fields(theirs)
  return [f'config.{path}: {value!r} -> {others[path]!r}'
          for path, value in plain_fields(ours).items()
          if value != others[path]]


def plain_fields(config):
  """{'optimizer.name': value} of all fields, of groups as well."""
  return {path: value for path, value, *_ in _leaves(config)}


def unknown_field(path, config):
  """The sentence for an override that names no field of `config`."""
  names = [name for name, *_ in _leaves(config)]
  last = path.rpartition('.')[-1]
  near = [name for name in names if name.rpartition('.')[-1] == last]
  near += difflib.get_close_matches(path, names, n=1)
  hint = f'did you mean config.{near[0]}; ' if near else ''
  group = path.rpartition('.')[0]
  siblings = [name for name in names if name.rpartition('.')[0] == group]
  return (f'config.{path} does not exist: {hint}the fields are '
          f'{", ".join(siblings or names)}.')


def _leaves(config, prefix=''):
  """Yields (path, value, dataclass field, type) of every plain field."""
  types = typing.get_type_hints(type(config))
  for field in dataclasses.fields(config):
    value, path = getattr(config, field.name), prefix + field.name
    if dataclasses.is_dataclass(types[field.name]):
      yield from _leaves(value, path + '.')
    else:
      yield path, value, field, types[field.name]


def _check_type(path, value, field_type):
  """Raises UserError if value is not a field_type; an int passes as float."""
  if typing.get_origin(field_type) is tuple:
    item_type = typing.get_args(field_type)[0]
    if not isinstance(value, tuple):
      raise UserError(
          f'config.{path}={value!r} has the wrong type: give a tuple of '
          f'{item_type.__name__}s such as 0.5,0.75.')
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


_TYPE_NAMES = {int: 'a whole number', float: 'a number', str: 'a word',
               bool: 'true or false'}


def type_name(path, config):
  """What a value of the field at `path` must be, in words."""
  for name, _, _, field_type in _leaves(config):
    if name == path:
      return _TYPE_NAMES.get(field_type, 'numbers such as 0.5,0.75')
  raise KeyError(path)


def _build(cls, values, prefix):
  types = typing.get_type_hints(cls)
  unknown = sorted(set(values) - set(types))
  if unknown:
    raise UserError(
        f'config.{prefix}{unknown[0]} does not exist in this version: '
        f'the fields are {", ".join(types)}.')
  fields = {}
  for name, value in values.items():
    if dataclasses.is_dataclass(types[name]):
      value = _build(types[name], value, f'{prefix}{name}.')
    elif typing.get_origin(types[name]) is tuple:
      value = tuple(value)
    fields[name] = value
  return cls(**fields)
