"""What data a run trains on: data.json, compared at every start.

The file holds what pipelines.identity.record returns.
"""
from collections.abc import Mapping
import os
import pathlib
from typing import Any

from configs.process import json_file
from configs.process.errors import UserError

FILE = 'data.json'
_SPLITS = {'train': 'training', 'eval': 'evaluation'}
_MOST_CLASSES = 5  # Whose names are shown.
_DIGITS = 8  # Of a digest that are shown.


def check(folder: pathlib.Path, now: Mapping[str, Any],
          extend: bool = False) -> str:
  """Checks that a run has the data that it began with.

  Args:
    folder: the run folder.
    now: the record of the data that are there now.
    extend: whether the evaluation split may differ.

  Returns:
    '', or why there is nothing to compare with, the beginning of a sentence.

  Raises:
    UserError: the data differ.
  """
  path = folder / FILE
  try:
    before = read(folder)
  except json_file.Damaged as damage:
    return f'{path} is damaged ({damage.reason})'
  if before is None:
    return f'there is no {path} yet'
  found = differences(before, now if not extend else {
      **now, 'eval': before['eval']})
  if found:
    raise UserError(
        f'--workdir={folder} holds a run on other data ({"; ".join(found)}): '
        'restore the data that it began with, or give the --data_dir that '
        'holds them, or give another --workdir.')
  return ''


def read(folder: str | os.PathLike) -> dict[str, Any] | None:
  """Returns the record in a run folder; None if there is none.

  Raises:
    json_file.Damaged: the file holds something else.
    UserError, TryAgain: it cannot be read.
  """
  path = pathlib.Path(folder, FILE)
  values = json_file.read(path)
  if values is not None and not _is_record(values):
    raise json_file.Damaged(path, 'it does not describe data')
  return values


def differences(before: Mapping[str, Any],
                now: Mapping[str, Any]) -> list[str]:
  """Returns 'what: before -> now' for everything that differs."""
  found = model_differences(before, now)
  if before['version'] != now['version']:
    found.append(f'version: {before["version"]} -> {now["version"]}')
  return found + [difference for name in _SPLITS
                  if (difference := split_difference(name, before, now))]


def model_differences(before: Mapping[str, Any],
                      now: Mapping[str, Any]) -> list[str]:
  """Returns those of the differences that matter to a trained network."""
  found = []
  if before['classes'] != now['classes']:
    found.append(_classes(before['classes'], now['classes']))
  if before['image_shape'] != now['image_shape']:
    found.append('image shape: ' + ' -> '.join(
        ' x '.join(map(str, record['image_shape'])) for record in (before, now)
    ))
  return found


def split_difference(name: str, before: Mapping[str, Any],
                     now: Mapping[str, Any]) -> str:
  """Returns how a split, 'train' or 'eval', differs; '' if it does not."""
  split, ours, theirs = _SPLITS[name], before[name], now[name]
  if ours['examples'] != theirs['examples']:
    return (f'examples of the {split} split: {ours["examples"]} -> '
            f'{theirs["examples"]}')
  if ours['digest'] != theirs['digest']:
    return (f'content of the {split} split: {ours["digest"][:_DIGITS]} -> '
            f'{theirs["digest"][:_DIGITS]}')
  return ''


def _classes(before, now):
  if len(before) != len(now):
    return f'number of classes: {len(before)} -> {len(now)}'
  if len(before) <= _MOST_CLASSES:
    return f'classes: {", ".join(before)} -> {", ".join(now)}'
  changed = [label for label, names in enumerate(zip(before, now))
             if names[0] != names[1]]
  first = changed[0]
  others = f', and {len(changed) - 1} others' * (len(changed) > 1)
  return f'class {first}: {before[first]} -> {now[first]}{others}'


def _is_record(values):
  """Returns whether a JSON object is what pipelines.identity.record returns."""
  classes, shape = values.get('classes'), values.get('image_shape')
  return (
      isinstance(classes, list) and all(isinstance(c, str) for c in classes)
      and isinstance(shape, list) and all(type(n) is int for n in shape)
      and isinstance(values.get('version', 0), str | None)
      and all(isinstance(split := values.get(name), dict)
              and type(split.get('examples')) is int
              and isinstance(split.get('digest'), str) for name in _SPLITS))
