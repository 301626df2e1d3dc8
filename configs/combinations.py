"""Which settings of a config work together."""
import math

from configs import schema, unused
from configs.process import typed_fields
from configs.process.errors import UserError

_LEAST_STDDEV = 0.001  # Images are divided by it.


def check(config: schema.Config) -> None:
  """Raises UserError unless all values are allowed and fit together."""
  typed_fields.check_types(config)
  typed_fields.check_limits(config)
  _check_data_and_augment(config)
  _check_sizes(config)
  _check_padding(config.data)
  _check_depth(config.model)
  _check_length(config)
  _check_optimization(config)
  unused.check(config)


def _check_length(config):
  """Raises UserError unless the length of the run is given once, and fits."""
  if (config.train_epochs > 0) == (config.train_steps > 0):
    raise UserError(
        f'config.train_epochs={config.train_epochs:g} and '
        f'config.train_steps={config.train_steps} do not define the length of '
        'the run: set one of them to a positive value and the other to 0.')
  if config.train_steps * config.global_batch > schema.MOST_POSITIONS:
    raise UserError(
        f'config.train_steps={config.train_steps} with config.global_batch='
        f'{config.global_batch} takes more than {schema.MOST_POSITIONS} '
        f'images: give at most {schema.MOST_POSITIONS // config.global_batch} '
        'steps.')


def check_images(config: schema.Config, height: int, width: int) -> None:
  """Checks that the augmentation leaves something of images of a size.

  Args:
    config: checked.
    height: of the images that are evaluated, in pixels.
    width: of the same.

  Raises:
    UserError: a setting is larger than the images.
  """
  smallest = min(height, width, *schema.image_sizes(config))
  for name, what in (('cutout', 'erases a square that is larger than'),
                     ('crop_padding', 'can shift everything out of')):
    value = getattr(config.augment, name)
    limit = smallest - (name == 'crop_padding')
    if value > limit:
      raise UserError(
          f'config.augment.{name}={value} {what} images of {smallest} pixels '
          f'a side: give at most {limit}.')
  shift = config.augment.shift
  if 0 < shift < 1 / smallest:
    raise UserError(
        f'config.augment.shift={shift:g} is less than one pixel of images of '
        f'{smallest} pixels a side: give at least '
        f'{math.ceil(1000 / smallest) / 1000:g}, or 0.')


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


def _check_optimization(config):
  """Raises UserError if settings of the update do not fit together."""
  optimizer, schedule = config.optimizer, config.schedule
  if optimizer.clip != 'none' and not optimizer.clip_at:
    raise UserError(
        f'config.optimizer.clip_at=0 with config.optimizer.clip='
        f'{optimizer.clip} leaves no gradient: give a positive value.')
  if len(schedule.drop_factors) not in (1, len(schedule.drops_at)):
    raise UserError(
        f'config.schedule.drop_factors={schedule.drop_factors} does not fit '
        f'config.schedule.drops_at={schedule.drops_at}: give one factor, or '
        f'{len(schedule.drops_at)}, one for each drop.')
  if optimizer.accumulate > 1 and config.model.sync_batch_norm:
    raise UserError(
        f'config.optimizer.accumulate={optimizer.accumulate} does not work '
        'with config.model.sync_batch_norm=True, whose replicas would wait for '
        'each other in each part: set one of them to its default.')


def check_run(config: schema.Config, num_classes: int, *,
                      several: bool, saves: bool) -> None:
  """Checks what only the data and the flags can tell.

  Args:
    config: checked.
    num_classes: of the data.
    several: whether the run is evaluated before its end.
    saves: whether it saves at steps that are known before.

  Raises:
    UserError: the monitor has nothing to look at, recovery nothing to return
      to, or class weights do not fit.
  """
  if config.recovery.most and not saves:
    raise UserError(
        f'config.recovery.most={config.recovery.most} returns to a checkpoint, '
        'which must be of the same step in every run: give '
        '--save_every_steps=1000, say.')
  monitor = config.monitor
  for name in ('plateau_evals', 'stop_evals'):
    if getattr(monitor, name) and not several:
      raise UserError(
          f'config.monitor.{name}={getattr(monitor, name)} needs evaluations '
          'during the run, but there is only the last one: give '
          '--eval_every_epochs=1, say.')
  if monitor.metric == 'top5_accuracy' and num_classes <= 5:
    raise UserError(
        f'config.monitor.metric=top5_accuracy is always 1 with {num_classes} '
        'classes: give accuracy or loss.')
  if config.class_weights and len(config.class_weights) != num_classes:
    raise UserError(
        f'config.class_weights has {len(config.class_weights)} values, but the '
        f'data have {num_classes} classes: give one value for each.')


def _check_sizes(config):
  """Raises UserError if settings of crops and sizes do not fit together."""
  data, augment = config.data, config.augment
  if augment.largest_crop < augment.smallest_crop:
    raise UserError(
        f'config.augment.largest_crop={augment.largest_crop:g} is less than '
        f'config.augment.smallest_crop={augment.smallest_crop:g}: give a '
        'larger or a smaller one.')
  ratio = augment.crop_ratio
  if len(ratio) != 2 or ratio[0] > ratio[1]:
    raise UserError(
        f'config.augment.crop_ratio={ratio} is not a range: give two values, '
        'the smaller one first, such as 0.75,1.333.')
  sizes = sorted(schema.image_sizes(config))
  if data.center == 'pixel' and len(sizes) > 1:
    raise UserError(
        'config.data.center=pixel subtracts a mean of one size, but there are '
        f'images of {" and ".join(map(str, sizes))} pixels: give '
        '--config.data.center=channel.')
  if data.name != 'synthetic':
    return
  size, default = config.synthetic.size, schema.Synthetic().size
  if sizes and size not in (default, *sizes):
    raise UserError(
        f'config.synthetic.size={size} has no effect, because '
        f'config.data.image_size={data.image_size} determines the size: set '
        'image_size to the size that you want.')
  if data.pad_to:
    raise UserError(
        f'config.data.pad_to={data.pad_to} pads no synthetic images, which are '
        'made in any size: set config.synthetic.size, and pad_to to 0.')


def _check_padding(data):
  """Raises UserError if images would be resized and padded."""
  if data.pad_to and data.image_size:
    raise UserError(
        f'config.data.pad_to={data.pad_to} does not work with '
        f'config.data.image_size={data.image_size}, which gives images their '
        'size by cropping and resizing: set one of them to 0.')


def _check_depth(model):
  """Raises UserError if a network of 18 layers would get another depth."""
  if (model.name.startswith('resnet18_')
      and model.depth not in (18, schema.Model().depth)):
    raise UserError(
        f'config.model.depth={model.depth} has no effect with '
        f'config.model.name={model.name}, which has 18 layers: set it to 18, '
        'or give config.model.name=resnet.')
