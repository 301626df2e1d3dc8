"""Weights for a network to start from: those of another run, or of a file.

  weights = load('runs/r50:best', model, config, classes)
  weights = load('resnet50-0676ba61.pth', model, config, classes)
  for variable in model.variables:
    if variable.path in weights.values:
      variable.assign(weights.values[variable.path])

Names, shapes and the settings that change what a network computes must agree.
Only the classifier may differ: it is made new then, as it is if the classes are
known to be others. Files of other projects do not name their classes, so their
classifier is kept if the number of classes is the same.
"""
from collections.abc import Mapping, Sequence
import dataclasses
import os
import pathlib
from typing import Any

import keras
import numpy as np

from configs import schema
from configs.process import paths, whole_number
from configs.process.errors import UserError
from resnet.weights import files, run_weights
from resnet.weights.source import Source

_CLASSIFIER = 'logits/'  # The last layer of every network has this name.
_SHOWN = 3  # Names, of possibly hundreds.
# Fields of config.model that change what a resnet computes. Depth, width and
# the like are among them, so that the sentence says what to set.
_COMPUTED = (
    'name', 'family', 'block', 'depth', 'version', 'stem', 'shortcut', 'width',
    'inner_width', 'groups', 'squeeze_excite', 'blur_pool',
    'batch_norm_epsilon')


@dataclasses.dataclass(frozen=True)
class Imported:
  """Weights that fit a network.

  Attributes:
    values: {variable path: float32 array} of all variables of the network but
      those of `made_new`: weights, and batch norm's statistics.
    made_new: variables of the classifier, if they keep their fresh values.
    mean: subtracted from images, float32 [c] or [h, w, c] on a scale of 0 to
      255; None: not known.
    stddev: divides images, float32 [c]; None: not known.
    digest: hex digits, SHA-256 of the file.
    source: what the weights are, for the user: 'run runs/r50, step 400'.
  """
  values: dict[str, np.ndarray]
  made_new: tuple[str, ...]
  mean: np.ndarray | None
  stddev: np.ndarray | None
  digest: str
  source: str


def load(text: str, model: keras.Model, config: schema.Config,
         classes: Sequence[str]) -> Imported:
  """Reads weights for a network. Changes no variable.

  Args:
    text: RUN, RUN:best, RUN:STEP or a file.
    model: the network that they are for; its values are not used.
    config: what it was built from.
    classes: names of the classes, in the order of the logits.

  Raises:
    UserError: there are no such weights, they are damaged, or they are those of
      another network.
    TryAgain: they cannot be read now.
  """
  return fit(read(text), model, config, classes)


def read(text: str) -> Source:
  """Reads the weights that a text means; see `load`.

  Raises:
    UserError, TryAgain: see `load`.
  """
  path = paths.local(text, '--init_from')
  if os.path.isdir(path):
    _check_run(path)
    return run_weights.read(path)
  folder, colon, which = str(path).rpartition(':')
  absent = _is_absent(path)
  if colon and absent and os.path.isdir(folder):
    _check_run(folder)
    if which not in ('latest', 'best') and whole_number.parse(which) is None:
      raise UserError(f'{text} ends with :{which}, which is unknown: give '
                      f'{folder}, {folder}:best, or {folder}:STEP.')
    return run_weights.read(pathlib.Path(folder), which)
  if absent:
    raise UserError(f'{text} does not exist: give the folder of a run, or a '
                    'file of weights.')
  return files.read(path)


def fit(source: Source, model: keras.Model, config: schema.Config,
        classes: Sequence[str]) -> Imported:
  """Checks that weights are those of a network; see `load`.

  Raises:
    UserError: they are those of another network.
  """
  _check_network(source, dataclasses.asdict(config.model))
  shapes = {v.path: tuple(v.shape) for v in model.variables}
  made_new = _made_new(source, shapes, classes)
  _check_names(source, shapes)
  values = {path: _float32(source, path) for path in shapes
            if path not in made_new}
  return Imported(values, made_new, source.mean, source.stddev, source.digest,
                  source.name)


def _is_absent(path):
  """Returns whether it is sure that nothing has this path."""
  try:
    os.stat(path)
  except (FileNotFoundError, NotADirectoryError):
    return True
  except OSError:  # Who reads it says why it cannot be read.
    pass
  return False


def _check_run(folder):
  if not run_weights.is_run(folder):
    raise UserError(f'{folder} is a folder, but not that of a run (it has no '
                    'config.json): give the folder that `python -m '
                    'resnet.train` wrote, or a file of weights.')


def _check_network(source, ours: Mapping[str, Any]):
  """Raises UserError if a setting differs that changes what is computed."""
  there, here = _computed({**ours, **source.network}), _computed(ours)
  differing = [name for name in there
               if there[name] != here.get(name, ours[name])]
  if not differing:
    return
  clauses = ', '.join(f'{name} is {there[name]} there, {ours[name]} here'
                      for name in differing)
  flags = ' '.join(f'--config.model.{name}={there[name]}'
                   for name in differing)
  raise UserError(f'{source.name}: its network is not that of config.model '
                  f'({clauses}); give {flags}, or other weights.')


def _computed(fields: Mapping[str, Any]) -> dict[str, Any]:
  """Returns those of the fields of a network that change what it computes."""
  used = {name: fields[name] for name in _COMPUTED}
  if fields['name'] != 'resnet':
    names = ['name', 'batch_norm_epsilon']
    if fields['name'] in ('keras_v1', 'keras_v2'):
      names.append('depth')
    return {name: used[name] for name in names}
  if fields['family'] == 'imagenet':
    del used['block']
    basic = fields['depth'] < 50
  else:
    basic = fields['block'] == 'basic'
  if basic and fields['version'] == 'v1.5':
    used['version'] = 'v1'  # They differ in bottlenecks alone.
  return used


def _made_new(source, shapes, classes) -> tuple[str, ...]:
  """Returns the variables of the classifier, unless the source's serves."""
  names = [path for path in shapes if path.startswith(_CLASSIFIER)]
  others = source.classes is not None and list(source.classes) != list(classes)
  serves = not others and all(
      name in source.values and source.values[name].shape == shapes[name]
      for name in names)
  return () if serves else tuple(names)


def _check_names(source, shapes):
  """Raises UserError if names or shapes of other layers differ."""
  there = {name: value.shape for name, value in source.values.items()
           if not name.startswith(_CLASSIFIER)}
  here = {name: shape for name, shape in shapes.items()
          if not name.startswith(_CLASSIFIER)}
  lacking = [name for name in here if name not in there]
  unknown = [name for name in there if name not in here]
  others = [f'{name} is {list(there[name])} there, {list(shape)} here'
            for name, shape in here.items()
            if name in there and there[name] != shape]
  clauses = []
  if lacking:
    clauses.append(f'{len(lacking)} of its {len(here)} variables are not '
                   f'there ({_some(lacking)})')
  if unknown:
    clauses.append(f'{len(unknown)} are there that it does not have '
                   f'({_some(unknown)})')
  if others:
    clauses.append(f'{len(others)} have another shape ({_some(others, "; ")})')
  if clauses:
    raise UserError(
        f'{source.name}: these weights do not fit the network, '
        f'{", ".join(clauses)}; give weights of this network, or the '
        'config.model that they were trained with.')


def _some(names: Sequence[str], separator: str = ', ') -> str:
  """Returns the first few of some names, and how many are left."""
  more = len(names) - _SHOWN
  return separator.join(names[:_SHOWN]) + (f' and {more} more' * (more > 0))


def _float32(source, path):
  """Returns a variable's values.

  Raises:
    UserError: they are not floating-point numbers, or one is not finite.
  """
  there = np.asarray(source.values[path])
  if there.dtype.kind != 'f':
    raise UserError(f'{source.name} holds {path} as {there.dtype}: give '
                    'weights that are floating-point numbers.')
  value = np.ascontiguousarray(there, np.float32)
  if not np.isfinite(value).all():
    raise UserError(f'{source.name} holds values that are not finite, in '
                    f'{path}: give other weights, of an earlier step for '
                    'example.')
  return value
