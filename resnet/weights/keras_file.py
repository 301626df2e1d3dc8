"""Reads the files that Keras writes: .weights.h5, .keras and the older .h5.

Arrays are found by the names of their layers, not by their order, and no model
is built: what a file says of layers and functions is not executed.

  .weights.h5   layers/conv2d_3/vars/0, .../vars with the attribute `name`
  .keras        a zip of model.weights.h5, which is such a file, and of JSON
  .h5           conv1_conv/conv1_conv/kernel:0, possibly below model_weights
"""
import io
import zipfile

import h5py
import numpy as np

from resnet.weights.unreadable import Unreadable, ZIP_ERRORS

MAGIC = b'\x89HDF\r\n\x1a\n'
_INSIDE = 'model.weights.h5'
_OTHERS = ('optimizer', 'optimizer_weights')  # Groups that are no weights.
# What the variables of a layer are called, by their number.
_NAMES = {
    1: ('kernel',), 2: ('kernel', 'bias'),
    4: ('gamma', 'beta', 'moving_mean', 'moving_variance')}


def is_zip_of_keras(names: list[str]) -> bool:
  """Returns whether a zip with these members is a .keras."""
  return _INSIDE in names or 'config.json' in names


def read_zip(content: bytes) -> dict[str, np.ndarray]:
  """Returns {'layer/variable': array} of a .keras.

  Raises:
    Unreadable: it is damaged, or has no weights.
  """
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      return read(archive.read(_INSIDE))
  except KeyError as error:
    raise Unreadable(f'it has no {_INSIDE}') from error
  except ZIP_ERRORS as error:
    raise Unreadable(f'the bytes of its {_INSIDE} are damaged') from error


def read(content: bytes) -> dict[str, np.ndarray]:
  """Returns {'layer/variable': array} of a .weights.h5 or .h5.

  Raises:
    Unreadable: it is damaged, or lacks the names of layers.
  """
  try:
    with h5py.File(io.BytesIO(content), 'r') as file:
      arrays, layers = _arrays(file)
  except (OSError, RuntimeError, KeyError, ValueError, TypeError,
          OverflowError) as error:
    raise Unreadable('its bytes are not those of a complete HDF5 file'
                     ) from error
  for layer, values in layers.items():
    names = _NAMES.get(len(values))
    if names is None or sorted(values) != list(range(len(values))):
      raise Unreadable(f'layer {layer} has {len(values)} variables, which is '
                       'unknown')
    for number, value in values.items():
      _add(arrays, f'{layer}/{names[number]}', value)
  return arrays


def _arrays(file):
  """Reads the arrays of an HDF5 file.

  Returns:
    ({'layer/variable': array} of those that have names, {layer: {number of the
    variable: array}} of the others).
  """
  arrays, layers = {}, {}

  def visit(path, item):
    if not isinstance(item, h5py.Dataset) or path.split('/')[0] in _OTHERS:
      return
    if item.external or item.is_virtual:
      raise Unreadable(f'{path} is in another file')
    parts = path.split('/')
    if len(parts) > 1 and parts[-2] == 'vars':
      layer = item.parent.attrs.get('name')
      if not isinstance(layer, str):
        raise Unreadable('it does not name its layers, as files of older '
                         'versions of Keras: load it and save it again with '
                         'Keras 3.15')
      layers.setdefault(layer, {})[int(parts[-1])] = item[()]
    else:
      name = '/'.join(parts[-2:]).removesuffix(':0')
      if 'top_level_model_weights' not in parts:
        _add(arrays, name, item[()])

  file.visititems(visit)  # Follows no links to other files.
  return arrays, layers


def _add(arrays, name, value):
  if name in arrays:
    raise Unreadable(f'it has two variables {name}')
  arrays[name] = value
