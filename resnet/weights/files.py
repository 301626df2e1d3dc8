"""Reads a file of weights, told by its content.

  Keras        .weights.h5, .keras, .h5: see keras_file
  safetensors  see safetensors_file
  NumPy        .npz: see npz_file
  PyTorch      .pth, .pt, .bin: see torch_file

Names of variables are those of this project, of torchvision and timm, or of
keras.applications: see torch_names and keras_names. A file that Keras has
written of a network of this project does not say of which: where no shape shows
it (v1 or v1.5, shortcuts B or D, blurs), config.model is taken at its word.
"""
from collections.abc import Mapping
import dataclasses
import errno
import hashlib
import io
import os
import pathlib
import stat
import zipfile

import numpy as np

from configs.process.errors import LASTING, TryAgain, UserError
from resnet.weights import (
  keras_file,
  keras_names,
  npz_file,
  safetensors_file,
  torch_file,
  torch_names,
  written,
)
from resnet.weights.source import Source
from resnet.weights.unreadable import Foreign, Unreadable, ZIP_ERRORS

_SHOWN = 3  # Names, of possibly hundreds.
_START = 16  # Bytes that tell what a file is.
_ZIP = b'PK\x03\x04'
_PICKLE = b'\x80'


def read(path: str | os.PathLike) -> Source:
  """Reads a file of weights.

  Raises:
    UserError: it is missing, damaged, or not a file of weights.
    TryAgain: it cannot be read now.
  """
  content = _content(pathlib.Path(path))
  try:
    arrays, metadata = _arrays(content, path)
    source = _source(arrays, metadata)
  except Foreign as error:
    raise UserError(f'{path} holds weights of {error}') from error
  except Unreadable as error:
    raise UserError(f'{path} cannot be read as weights ({error}): copy or '
                    'download it again, or give other weights.') from error
  return dataclasses.replace(
      source, name=f'{path} ({source.name})',
      digest=hashlib.sha256(content).hexdigest())


def _content(path) -> bytes:
  """Returns the bytes of a file that begins like a file of weights."""
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):  # A pipe would block.
      raise IsADirectoryError(errno.EISDIR, 'not a regular file')
    with open(path, 'rb') as file:
      start = file.read(_START)
      if not _is_known(start):
        raise UserError(
            f'{path} is not a file of weights: give one of Keras (.weights.h5, '
            '.keras, .h5), .safetensors, .npz, or PyTorch (.pth), or the '
            'folder of a run.')
      return start + file.read()
  except MemoryError as error:
    raise UserError(f'{path} does not fit into the memory: give a smaller '
                    'file of weights.') from error
  except OSError as error:
    kind = UserError if error.errno in LASTING else TryAgain
    raise kind(f'{path} cannot be read ({error.strerror}): make it a file that '
               'you may read, or give other weights.') from error


def _is_known(start):
  return start.startswith((keras_file.MAGIC, _ZIP, _PICKLE)) or (
      safetensors_file.is_one(start))


def _arrays(content: bytes, path
            ) -> tuple[Mapping[str, np.ndarray], Mapping[str, str]]:
  """Returns (arrays by their names, texts by theirs)."""
  if content.startswith(keras_file.MAGIC):
    return keras_file.read(content), {}
  if content.startswith(_ZIP):
    return _of_zip(content, path)
  if torch_file.is_old(content):
    return torch_file.read(content, path), {}
  if content.startswith(_PICKLE):
    raise UserError(
        f'{path} is a pickle that torch.save has not written, which is not '
        'loaded because it could execute anything: save the arrays as .npz or '
        '.safetensors.')
  return safetensors_file.read(content)


def _of_zip(content, path):
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      names = archive.namelist()
  except ZIP_ERRORS as error:
    raise Unreadable('it is not a complete zip') from error
  if keras_file.is_zip_of_keras(names):
    return keras_file.read_zip(content), {}
  if npz_file.is_one(names):
    return npz_file.read(content)
  if torch_file.is_one(names):
    return torch_file.read(content, path), {}
  raise UserError(f'{path} is a zip, but not one of weights: give a .keras, '
                  'an .npz, or a file that torch.save has written.')


def _source(arrays, metadata) -> Source:
  """Returns arrays in the names of this project, and what is known of them.

  Raises:
    Foreign: their names are unknown.
  """
  arrays = torch_file.without_prefix(arrays)
  if torch_names.are_in(arrays):
    return torch_names.translate(arrays)
  if keras_names.are_in(arrays):
    return keras_names.translate(arrays)
  if written.are_in(arrays):
    return written.translate(arrays, metadata)
  names = ', '.join(sorted(arrays)[:_SHOWN]) or 'none at all'
  raise Foreign(
      f'an unknown network (its variables are {names}, ...): give weights of '
      'this project, of a ResNet of torchvision or timm, or of ResNet50, '
      'ResNet101 or ResNet152 of keras.applications.')
