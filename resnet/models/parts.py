"""The parts of a network, in order: which one each variable belongs to.

Residual networks have 'stem', 'stage1', 'stage2', ... and 'head', which is all
that comes after the last stage: 'logits', the last batch norm of v2. The small
classic networks have 'layer1', 'layer2', ... (those with weights) and 'head'.
"""
from collections.abc import Collection, Iterable, Sequence
import fnmatch
import re

from configs.process.errors import UserError

HEAD = 'head'
_PART = re.compile('stem|(?:stage|layer)([0-9]+)')


def part(path: str) -> str:
  """Returns the part of a variable: 'stage1' of 'stage1_block1_bn1/gamma'."""
  first = re.split('[_/]', path, maxsplit=1)[0]
  return first if _PART.fullmatch(first) else HEAD


def parts(paths: Iterable[str]) -> list[str]:
  """Returns the parts of all variables of a network, from the first one on."""
  return sorted({*map(part, paths)}, key=_place)


def rate_factors(names: Sequence[str], paths: Iterable[str],
                 layer_decay: float) -> list[float]:
  """Returns what multiplies the learning rate of each variable.

  layer_decay ** k, k parts before the head: 1 for the head itself. As for the
  layers of BEiT (Bao et al. 2021, arXiv:2106.08254, appendix H), after the
  discriminative rates of Howard & Ruder 2018 (arXiv:1801.06146, section 3.2).

  Args:
    names: paths of the variables.
    paths: those of all variables of the network.
    layer_decay: more than 0; 1: all rates are the same.

  Raises:
    UserError: the decay changes no rate, because only the head is trained.
  """
  away = {name: k for k, name in enumerate(reversed(parts([*paths, HEAD])))}
  factors = [layer_decay ** away[part(name)] for name in names]
  if layer_decay != 1 and set(factors) == {1.0}:
    raise UserError(
        f'config.finetune.layer_decay={layer_decay} has no effect, because '
        f'only the {HEAD} is trained: set it to 1.0, or freeze less.')
  return factors


def frozen(paths: Collection[str], patterns: Sequence[str]) -> set[str]:
  """Returns the paths of the variables that do not change.

  Those are the variables of each part that is named, and those whose path a
  pattern matches. The moving statistics of a batch norm do not change either if
  its scale and its offset do not; and if one of them matches, both stay.

  Args:
    paths: of all variables of the network.
    patterns: names of parts, or patterns as fnmatch takes them.

  Raises:
    UserError: a pattern matches nothing.
  """
  found = set()
  for pattern in patterns:
    new = {path for path in paths if part(path) == pattern
           or fnmatch.fnmatchcase(path, pattern)}
    if not new:
      raise UserError(
          f"config.finetune.frozen={','.join(patterns)} matches no variable "
          f"with '{pattern}': give names of parts ({', '.join(parts(paths))}), "
          'or patterns of names such as stage1_*.')
    found |= new
  for layer in still_norms(paths, found):
    found |= {f'{layer}/{name}' for name in _MOVING}
  return found


_MOVING = ('moving_mean', 'moving_variance')


def still_norms(paths: Collection[str], found: Collection[str]) -> list[str]:
  """Returns the names of batch norms that stay at their statistics.

  Args:
    paths: of all variables of the network.
    found: those of the variables that do not change, as far as they are known.
  """
  layers = [path.rpartition('/')[0] for path in paths
            if path.endswith(f'/{_MOVING[0]}')]

  def holds(layer, names):
    return [f'{layer}/{name}' in found for name in names]

  return [layer for layer in layers
          if any(holds(layer, _MOVING)) or all(holds(layer, ('gamma', 'beta')))]


def _place(name):
  """Returns what to sort the names of parts by."""
  number = _PART.fullmatch(name)
  if not number:
    return (1, 0)
  return (0, int(number[1] or 0))
