"""Which residual networks exist: their choices, depths and stages."""
from collections.abc import Iterable

from configs.process.errors import UserError

_FAMILIES = ('imagenet', 'cifar')
_VERSIONS = ('v1', 'v1.5', 'v2')
_SHORTCUTS = ('A', 'B', 'D', 'none')
_STEM_STRIDES = {'imagenet': 4, 'cifar': 1, 'deep': 4}
# Depth -> the residual blocks of each stage, and the kind of block.
_IMAGENET_STAGES = {
    18: ((2, 2, 2, 2), 'basic'),
    34: ((3, 4, 6, 3), 'basic'),
    50: ((3, 4, 6, 3), 'bottleneck'),
    101: ((3, 4, 23, 3), 'bottleneck'),
    152: ((3, 8, 36, 3), 'bottleneck'),
    200: ((3, 24, 36, 3), 'bottleneck'),
}
# A CIFAR network of depth k * n + 2 has three stages of n blocks.
_CIFAR_LAYERS_PER_N = {'basic': 6, 'bottleneck': 9}


def check(*, family: str, version: str, stem: str, shortcut: str,
          zero_init_last_gamma: bool, stochastic_depth: float) -> None:
  """Checks the choices of a network; see resnet.build.

  Raises:
    UserError: a value is unknown, or two of them do not work together.
  """
  _check_choice('family', family, _FAMILIES)
  _check_choice('version', version, _VERSIONS)
  _check_choice('stem', stem, _STEM_STRIDES)
  _check_choice('shortcut', shortcut, _SHORTCUTS)
  if zero_init_last_gamma and version == 'v2':
    raise UserError(
        'config.model.zero_init_last_gamma=True does not work with '
        'config.model.version=v2, which has no batch norm after the last '
        'convolution of a block: set it to False, or give '
        'config.model.version=v1.5.')
  if zero_init_last_gamma and shortcut == 'none':
    raise UserError(
        'config.model.zero_init_last_gamma=True does not work with '
        'config.model.shortcut=none, because nothing would pass through a '
        'block: set it to False, or give config.model.shortcut=B.')
  if stochastic_depth and shortcut == 'none':
    raise UserError(
        f'config.model.stochastic_depth={stochastic_depth:g} does not work '
        'with config.model.shortcut=none, because nothing would pass a block '
        'that is skipped: set it to 0, or give config.model.shortcut=B.')


def check_blocks(*, family: str, block: str, width: int, inner_width: int,
                 groups: int, squeeze_excite: int) -> None:
  """Checks the settings of the blocks; see resnet.build.

  Args:
    family: 'imagenet' or 'cifar'.
    block: as `stages` returns it.
    width: channels of the first stage.
    inner_width: of bottlenecks.
    groups: likewise.
    squeeze_excite: see resnet.build.

  Raises:
    UserError: the blocks have no such settings, or not enough channels.
  """
  if block == 'basic':
    other = 'depth=50' if family == 'imagenet' else 'block=bottleneck'
    for name, value in (('groups', groups), ('inner_width', inner_width)):
      if value > 1:
        raise UserError(
            f'config.model.{name}={value} needs bottleneck blocks, but this '
            f'network has basic ones: set it to 1, or give config.model.{other}'
            '.')
  inner = inner_width * width
  if inner % groups:
    raise UserError(
        f'config.model.groups={groups} does not divide the {inner} channels '
        'that 3x3 convolutions have in the first stage '
        f'(config.model.width={width} times config.model.inner_width='
        f'{inner_width}): give a divisor of {inner}.')
  channels = width if block == 'basic' else 4 * width
  if squeeze_excite > channels:
    raise UserError(
        f'config.model.squeeze_excite={squeeze_excite} leaves nothing of the '
        f'{channels} channels of the first stage: give at most {channels}.')


def stages(family: str, depth: int, block: str) -> tuple[tuple[int, ...], str]:
  """Returns the number of blocks in each stage, and the kind of block.

  Args:
    family: 'imagenet' or 'cifar'.
    depth: layers with weights on the longest path.
    block: the kind of block, used only by the 'cifar' family.

  Raises:
    UserError: the family has no network of this depth, or the block is unknown.
  """
  if family == 'imagenet':
    if depth not in _IMAGENET_STAGES:
      nearest = min(_IMAGENET_STAGES, key=lambda known: abs(known - depth))
      raise UserError(
          f'config.model.depth={depth} does not exist in the imagenet family, '
          f'whose depths are {_listed(_IMAGENET_STAGES)}: give {nearest}, the '
          'nearest, or config.model.family=cifar.')
    return _IMAGENET_STAGES[depth]
  _check_choice('block', block, _CIFAR_LAYERS_PER_N)
  per_n = _CIFAR_LAYERS_PER_N[block]
  n, rest = divmod(depth - 2, per_n)
  if n < 1 or rest:
    below, above = (per_n * k + 2 for k in (n, n + 1))
    nearest = f'{below} or {above}' if n > 0 else f'{per_n + 2} or more'
    raise UserError(
        f'config.model.depth={depth} does not exist in the cifar family with '
        f'{block} blocks, whose depths are {per_n}n + 2: give {nearest}.')
  return (n, n, n), block


def check_image(image_shape: tuple[int, ...], stem: str,
                stage_count: int) -> None:
  """Checks that an image leaves at least one pixel after the last stage.

  Raises:
    UserError: a side of the image is smaller than the total stride.
  """
  stride = _STEM_STRIDES[stem] * 2 ** (stage_count - 1)
  height, width, _ = image_shape
  if min(height, width) < stride:
    smaller_stem = ', or config.model.stem=cifar' if stem != 'cifar' else ''
    raise UserError(
        f'Images of {height} x {width} pixels are too small for this network, '
        f'whose total stride is {stride}: give images of at least '
        f'{stride} x {stride} pixels{smaller_stem}.')


def _check_choice(field: str, value: str, allowed: Iterable[str]) -> None:
  if value not in allowed:
    raise UserError(
        f'config.model.{field}={value!r} is unknown: choose one of '
        f'{_listed(allowed)}.')


def _listed(values: Iterable[object]) -> str:
  return ', '.join(map(str, values))
