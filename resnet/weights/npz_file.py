"""Reads and writes .npz: a zip of arrays. Nothing in one is ever unpickled."""
from collections.abc import Mapping
import io
import json

import numpy as np

from resnet.weights.unreadable import Unreadable, ZIP_ERRORS

_METADATA = '__metadata__'


def is_one(names: list[str]) -> bool:
  """Returns whether a zip with these members is one."""
  return bool(names) and all(name.endswith('.npy') for name in names)


def read(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Returns (arrays by their names, texts by theirs) of a file.

  Raises:
    Unreadable: it is damaged, or holds what is not an array of numbers.
  """
  arrays = {}
  with np.load(io.BytesIO(content), allow_pickle=False) as file:
    for name in file.files:
      try:
        arrays[name] = file[name]
      except ZIP_ERRORS as error:  # ValueError: objects, or not an array.
        raise Unreadable(f'{name} is not an array of numbers'
                         if isinstance(error, ValueError) else
                         f'the bytes of {name} are damaged') from error
  try:
    metadata = json.loads(str(arrays.pop(_METADATA, '{}')))
    return arrays, {str(key): str(value) for key, value in metadata.items()}
  except (AttributeError, ValueError, RecursionError) as error:
    raise Unreadable(f'{_METADATA} is malformed') from error


def content_of(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
               ) -> bytes:
  """Returns the bytes of a file."""
  file = io.BytesIO()
  named = {**arrays, _METADATA: np.array(json.dumps(dict(metadata)))}
  np.savez(file, **named)  # pyright: ignore[reportArgumentType]
  return file.getvalue()
