"""Reads the tensors that torch.save has written: .pth, .pt or .bin.

torch reads them itself, and only tensors: what else a pickle could execute is
refused.
"""
from collections.abc import Mapping
import io
import os
import re
from typing import Any

import numpy as np

from configs.process.errors import first_line, UserError
from resnet.weights.unreadable import Unreadable

_OLD_MAGIC = b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.'  # Before torch 1.6.
# What torch says of a class that it does not make.
_OTHER = re.compile(r'Unsupported global: GLOBAL (\S+)')
# Where programs that train put the weights among other things, best first.
_INSIDE = ('state_dict_ema', 'model_ema', 'state_dict', 'model_state_dict',
           'model')
# What wrappers of networks put before every name.
_PREFIXES = ('module.', '_orig_mod.', 'model.')


def is_old(start: bytes) -> bool:
  """Returns whether a file that starts so is one from before torch 1.6."""
  return start.startswith(_OLD_MAGIC)


def is_one(names: list[str]) -> bool:
  """Returns whether a zip with these members is one."""
  return any(name.endswith('data.pkl') for name in names)


def read(content: bytes, path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Returns the tensors of a state dict, those that are integers left out.

  Args:
    content: of the file.
    path: for the sentences.

  Raises:
    Unreadable: it is damaged.
    UserError: torch is not installed, or this is not a state dict.
  """
  try:
    import torch  # pyright: ignore[reportMissingImports]
  except ImportError as error:
    raise UserError(
        f'{path} is a file of PyTorch, which is not installed here: run `pip '
        'install torch`, or convert it where it is installed, to .safetensors.'
    ) from error
  try:
    loaded = torch.load(io.BytesIO(content), map_location='cpu',
                        weights_only=True)
  except Exception as error:  # Of any kind: the bytes may be damaged.
    if other := _OTHER.search(str(error)):
      raise UserError(
          f'{path} holds an object of {other[1]}, and only tensors are loaded, '
          'because others could execute anything: save only the weights, with '
          'torch.save(model.state_dict(), path).') from error
    raise Unreadable(f'torch.load raises {type(error).__name__}: '
                     f'{first_line(error)}') from error
  state = _state(loaded, torch.Tensor)
  if not state:
    raise UserError(
        f'{path} holds no state dict (names and tensors): save one with '
        'torch.save(model.state_dict(), path).')
  return {name: tensor.detach().to(torch.float32).numpy()
          for name, tensor in state.items() if tensor.is_floating_point()}


def _state(loaded: Any, tensor: type) -> Mapping[str, Any]:
  """Returns the tensors by their names; empty if there are none."""
  if not isinstance(loaded, Mapping):
    return {}
  for name in _INSIDE:
    if isinstance(loaded.get(name), Mapping):
      return _state(loaded[name], tensor)
  if not all(isinstance(name, str) and isinstance(value, tensor)
             for name, value in loaded.items()):
    return {}
  return without_prefix(loaded)


def without_prefix(state: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a state dict whose names lack what wrappers put before them."""
  state = dict(state)
  for prefix in _PREFIXES:
    if state and all(name.startswith(prefix) for name in state):
      state = {name.removeprefix(prefix): value
               for name, value in state.items()}
  return state
