"""Reads the file in which Weights & Biases keeps a run offline.

Its format is that of LevelDB's logs: blocks of 32 KiB, in them parts of records
(checksum, length, kind), each record a protocol buffer of the package.
"""
import json
import struct

_BLOCK = 32768
_HEADER = 7  # Of the file, and of each part.
_FULL, _LAST = 1, 4


def read(path):
  """Returns (settings {name: value}, rows [{name: value}], exit codes)."""
  from wandb.proto import wandb_internal_pb2  # pyright: ignore
  settings, rows, codes = {}, [], []
  for content in _records(path.read_bytes()):
    record = wandb_internal_pb2.Record.FromString(content)
    kind = record.WhichOneof('record_type')
    if kind == 'run':
      settings |= _values(record.run.config.update)
    elif kind == 'history':
      rows.append(_values(record.history.item))
    elif kind == 'exit':
      codes.append(record.exit.exit_code)
  return settings, rows, codes


def _values(items):
  return {item.key or '.'.join(item.nested_key): json.loads(item.value_json)
          for item in items}


def _records(data):
  at, content = _HEADER, b''
  while at + _HEADER <= len(data):
    left = _BLOCK - at % _BLOCK
    if left < _HEADER:
      at += left
      continue
    _, length, kind = struct.unpack_from('<IHB', data, at)
    content += data[at + _HEADER:at + _HEADER + length]
    at += _HEADER + length
    if kind in (_FULL, _LAST):
      yield content
      content = b''
