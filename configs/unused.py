"""Refuses settings that would have no effect: they are mistakes."""
from collections.abc import Callable
from typing import Any

from configs import schema
from configs.process.errors import UserError

# The fields that each optimizer uses, of those that not all do.
_OPTIMIZERS = {
    'sgd': ('momentum', 'nesterov'), 'adam': ('beta_1', 'beta_2', 'epsilon'),
    'adamw': ('beta_1', 'beta_2', 'epsilon'),
    'rmsprop': ('momentum', 'beta_2', 'epsilon'), 'lars': ('momentum', 'trust'),
    'lamb': ('beta_1', 'beta_2', 'epsilon')}
# Field -> (whether it has an effect, the settings that give it one).
_NEEDED: dict[str, tuple[Callable[[schema.Config], Any], str]] = {
    'optimizer.clip_at': (
        lambda c: c.optimizer.clip != 'none',
        'config.optimizer.clip=norm, value or adaptive'),
    'ema.warmup': (lambda c: c.ema.decay, 'config.ema.decay=0.9999'),
    'ema.evaluated': (lambda c: c.ema.decay, 'config.ema.decay=0.9999'),
    **{f'augment.{name}': (
        lambda c: c.augment.mixup or c.augment.cutmix,
        'config.augment.mixup=0.2')
       for name in ('mix_probability', 'mix_epochs')},
    **{path: (lambda c: c.data.image_size, 'config.data.image_size=224')
       for path in ('augment.largest_crop', 'augment.crop_ratio',
                    'data.eval_crop', 'data.eval_size', 'data.interpolation')},
    **{f'synthetic.{name}': (
        lambda c: c.data.name == 'synthetic', 'config.data.name=synthetic')
       for name in ('examples', 'size', 'channels', 'classes')},
    **{f'model.{name}': (
        lambda c: c.model.name in ('resnet', 'own'), 'config.model.name=resnet')
       for name in ('inner_width', 'groups', 'squeeze_excite', 'blur_pool',
                    'stochastic_depth', 'dropout')},
    **{f'monitor.plateau_{name}': (
        lambda c: c.monitor.plateau_evals, 'config.monitor.plateau_evals=5')
       for name in ('factor', 'floor')},
    **{f'recovery.{name}': (lambda c: c.recovery.most, 'config.recovery.most=3')
       for name in ('jump', 'rate_factor', 'skip')},
}


def check(config: schema.Config) -> None:
  """Checks that all that differs from its default has an effect.

  Raises:
    UserError: a setting has none with the others.
  """
  values = schema.plain_fields(config)
  defaults = schema.plain_fields(schema.Config())
  used = _OPTIMIZERS[config.optimizer.name]
  for name in sorted(set().union(*_OPTIMIZERS.values()) - set(used)):
    path = f'optimizer.{name}'
    if values[path] != defaults[path]:
      users = [o for o, fields in _OPTIMIZERS.items() if name in fields]
      raise UserError(
          f'config.{path}={values[path]} has no effect with '
          f'config.optimizer.name={config.optimizer.name}: set it to '
          f'{defaults[path]}, or give {_either(users)}.')
  for path, (has_effect, what) in _NEEDED.items():
    if values[path] != defaults[path] and not has_effect(config):
      raise UserError(
          f'config.{path}={values[path]} has no effect: set it to '
          f'{defaults[path]}, or give {what}, say.')


def _either(names):
  """Returns 'a', 'a or b', 'a, b or c'."""
  *others, last = names
  return f'{", ".join(others)} or {last}' if others else last
