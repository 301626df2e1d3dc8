"""The files of weights that this project writes: .npz or .safetensors.

They hold every variable of the network by its path, float32, and the arrays
`mean` and `stddev` that images are standardized with. Their metadata have one
text, `resnet`: {"classes": [names], "network": {fields of config.model}}.

  write('r50.safetensors', imported.read('runs/r50:best'))
"""
from collections.abc import Mapping
import json
import os

import numpy as np

from configs.process import atomic_file
from configs.process.errors import UserError, writing
from resnet.weights import npz_file, safetensors_file
from resnet.weights.source import Source
from resnet.weights.unreadable import Unreadable

_TEXT = 'resnet'  # Name of the metadata.
_INPUT = ('mean', 'stddev')
# What names of variables start with, also where there is no classifier.
_LAYERS = ('logits/', 'stem')


def write(path: str | os.PathLike, source: Source) -> None:
  """Writes weights, atomically.

  Args:
    path: ends with .npz or .safetensors.
    source: the weights.

  Raises:
    UserError: the path has another ending, or cannot be written.
    TryAgain: it cannot be written now.
  """
  arrays = {name: np.asarray(value, np.float32)
            for name, value in source.values.items()}
  arrays |= {name: np.asarray(value, np.float32) for name in _INPUT
             if (value := getattr(source, name)) is not None}
  metadata = {_TEXT: json.dumps({
      'classes': source.classes and list(source.classes),
      'network': dict(source.network)})}
  end = os.fspath(path).rpartition('.')[2]
  if end not in ('npz', 'safetensors'):
    raise UserError(f'{path} is to be a file of weights: give a name that ends '
                    'with .npz or .safetensors.')
  with writing(path):
    atomic_file.write(path, (npz_file.content_of(arrays, metadata)
                             if end == 'npz' else
                             safetensors_file.parts(arrays, metadata)))


def are_in(arrays: Mapping[str, np.ndarray]) -> bool:
  """Returns whether arrays have the names of a network of this project."""
  return any(name.startswith(_LAYERS) for name in arrays)


def translate(arrays: Mapping[str, np.ndarray],
              metadata: Mapping[str, str]) -> Source:
  """Returns the arrays of a file as they were given to `write`.

  Raises:
    Unreadable: the metadata are not those that `write` writes.
  """
  try:
    known = json.loads(metadata.get(_TEXT, '{}'))
    network, classes = dict(known.get('network', {})), known.get('classes')
  except (AttributeError, TypeError, ValueError, RecursionError) as error:
    raise Unreadable(f'its text {_TEXT} is malformed') from error
  return Source(
      'weights of this project',
      {name: value for name, value in arrays.items() if name not in _INPUT},
      network=network, classes=classes, mean=arrays.get('mean'),
      stddev=arrays.get('stddev'))
