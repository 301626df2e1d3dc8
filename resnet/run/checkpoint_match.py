"""Whether what a checkpoint holds is what a run expects, and if not, why.

  why = mismatch(tensors, variables, identity)
"""
from collections.abc import Iterator, Mapping, Sequence
import json
from typing import Any

import numpy as np
import tensorflow as tf

from configs import schema

IDENTITY = 'identity'  # The name of the text that says what was trained.
_SHOWN = 3  # Names, of possibly hundreds.
_LONGEST = 60  # Characters of both values; longer ones are not shown.


def text(identity: Mapping[str, Any]) -> bytes:
  """Returns what a checkpoint holds under the name IDENTITY."""
  return json.dumps(identity, sort_keys=True).encode()


def mismatch(tensors: Mapping[str, np.ndarray | bytes],
             variables: Mapping[str, tf.Variable],
             identity: Mapping[str, Any]) -> str:
  """Returns why a checkpoint is not one of a run; '' if it is.

  Args:
    tensors: what the checkpoint holds.
    variables: what the run is to restore.
    identity: what the run trains, as JSON can hold it. Only the groups that
      are given are compared; the group `config` is that of schema.to_dict.
  """
  if IDENTITY in tensors:
    differences = list(_differences(
        _recorded(tensors[IDENTITY], identity), json.loads(text(identity))))
    if differences:
      return _some(differences, '; ')
  lacking = sorted({*variables, IDENTITY} - tensors.keys())
  unknown = sorted(tensors.keys() - {*variables, IDENTITY})
  if lacking or unknown:
    return ' and '.join(
        f'{verb} {_some(names)}' for verb, names in (
            ('it lacks', lacking), ('it has the unknown', unknown)) if names)
  others = [f'{name} is {_kind(tensors[name])} there, {_kind(variable)} here'
            for name, variable in sorted(variables.items())
            if _kind(tensors[name]) != _kind(variable)]
  return _some(others, '; ')


def _recorded(stored, identity):
  """Returns what a checkpoint says of the groups that are to be compared."""
  try:
    there = dict(json.loads(stored))
    if 'config' in identity:  # Fields added since have their default values.
      there['config'] = schema.to_dict(schema.from_dict(there['config']))
  except (KeyError, TypeError, ValueError):
    return None  # Written by another program.
  return {group: there.get(group) for group in identity}


def _differences(there, here, name='') -> Iterator[str]:
  """Yields a clause for each field of nested groups that differs."""
  if isinstance(there, dict) and isinstance(here, dict):
    for field in sorted(there.keys() | here.keys()):
      yield from _differences(there.get(field), here.get(field),
                              f'{name}.{field}' if name else field)
  elif there != here:
    values = f'is {there!r} there, {here!r} here'
    yield f'{name or IDENTITY} ' + (
        values if len(values) <= _LONGEST else 'differs')


def _kind(value):
  """Returns the type and shape of a tensor or variable: 'float32 [3, 2]'."""
  if isinstance(value, bytes):
    return 'a text'
  return f'{tf.as_dtype(value.dtype).name} {list(value.shape)}'


def _some(names: Sequence[str], separator: str = ', ') -> str:
  """Returns the first few of some names, and how many are left."""
  more = len(names) - _SHOWN
  return separator.join(names[:_SHOWN]) + (f' and {more} more' * (more > 0))
