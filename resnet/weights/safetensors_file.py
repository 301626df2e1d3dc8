"""Reads and writes .safetensors: a header in JSON, then the bytes of arrays.

  8 bytes: the length of the header, little-endian
  {"__metadata__": {text: text}, name: {"dtype": "F32", "shape": [64],
   "data_offsets": [begin, end]}, ...}
  the bytes of all arrays, little-endian, in C order
"""
from collections.abc import Iterator, Mapping
import json
import math
from typing import Any

import numpy as np

from resnet.weights.unreadable import Unreadable

_LENGTH_BYTES = 8
_METADATA = '__metadata__'
_DTYPES = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64':
           '<i8', 'I32': '<i4', 'I16': '<i2', 'I8': 'i1', 'U64': '<u8', 'U32':
           '<u4', 'U16': '<u2', 'U8': 'u1', 'BOOL': '?'}


def is_one(start: bytes) -> bool:
  """Returns whether a file that starts with these 16 bytes may be one."""
  return start[_LENGTH_BYTES:_LENGTH_BYTES + 2] in (b'{"', b'{}')


def read(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Returns (arrays by their names, texts by theirs) of a file.

  Raises:
    Unreadable: it is not complete, or has arrays of another type.
  """
  size = int.from_bytes(content[:_LENGTH_BYTES], 'little')
  data = memoryview(content)[_LENGTH_BYTES + size:]
  if len(content) < _LENGTH_BYTES + size:
    raise Unreadable('it ends within its header')
  try:
    header = json.loads(content[_LENGTH_BYTES:_LENGTH_BYTES + size])
    metadata = header.pop(_METADATA, {})
    return {name: _array(name, entry, data)
            for name, entry in header.items()}, dict(metadata)
  except (AttributeError, KeyError, TypeError, ValueError, RecursionError
          ) as error:
    raise Unreadable('its header is malformed') from error


def parts(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
          ) -> Iterator[Any]:
  """Yields the bytes of a file of float32 arrays, one array at a time."""
  header: dict[str, Any] = {_METADATA: dict(metadata)}
  end = 0
  for name, value in arrays.items():
    begin, end = end, end + 4 * value.size
    header[name] = {'dtype': 'F32', 'shape': list(value.shape),
                    'data_offsets': [begin, end]}
  text = json.dumps(header).encode()
  text += b' ' * (-len(text) % _LENGTH_BYTES)  # Arrays are aligned.
  yield len(text).to_bytes(_LENGTH_BYTES, 'little')
  yield text
  for value in arrays.values():
    yield np.ascontiguousarray(value, '<f4').tobytes()


def _array(name, entry, data):
  """Returns an array that a header describes."""
  begin, end = entry['data_offsets']
  if entry['dtype'] not in _DTYPES:
    raise Unreadable(f'{name} is of type {entry["dtype"]}, which is not one of '
                     f'{", ".join(_DTYPES)}')
  dtype = np.dtype(_DTYPES[entry['dtype']])
  if not 0 <= begin <= end <= len(data):
    raise Unreadable(f'it ends before {name}')
  if math.prod(entry['shape']) * dtype.itemsize != end - begin:
    raise Unreadable(f'{name} has a shape that does not fit its bytes')
  value = np.frombuffer(data[begin:end], dtype).reshape(entry['shape'])
  if entry['dtype'] == 'BF16':  # The upper half of a float32.
    return (value.astype(np.uint32) << 16).view(np.float32)
  return value
