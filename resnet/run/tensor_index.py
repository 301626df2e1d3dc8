"""The index of a TensorFlow checkpoint: where each tensor stands in its data.

It is a sorted table in LevelDB's format, of names and BundleEntryProtos:

  blocks, each followed by a zero byte and its masked CRC-32C
  a block of the places of these blocks
  a footer of 48 bytes: the place of that block; 8 bytes that mark a table

A block is a sequence of (length of the prefix that the key shares with the one
before, length of the rest, length of the value, rest, value), then the offsets
of keys that share nothing, then their number. Numbers are varints there, and
little-endian uint32 or uint64 elsewhere. Here are bytes alone, no files.
"""
from collections.abc import Iterator, Mapping
import struct
from typing import NamedTuple

import google_crc32c

_MARK = struct.pack('<Q', 0xdb4775248b80fb57)
_FOOTER_BYTES = 48
_CRC = struct.Struct('<I')
# BundleHeaderProto, under the empty name: 1 file of data, little-endian, made
# for readers of version 1.
_HEADER = b'\x08\x01\x1a\x02\x08\x01'
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # Wire types of protobuf.


class Damaged(Exception):
  """What has been read is not a checkpoint. The message says why."""


class Entry(NamedTuple):
  """One tensor."""
  dtype: int  # TensorFlow's DataType.
  shape: tuple[int, ...]
  offset: int  # Of its first byte in the data.
  size: int  # Bytes.
  crc: int  # Masked CRC-32C of its bytes; see `crc_of_text`.


def encode(entries: Mapping[str, Entry]) -> bytes:
  """Returns the index of some tensors."""
  rows = {b'': _HEADER, **{name.encode(): _entry_bytes(entry)
                           for name, entry in entries.items()}}
  keys = sorted(rows)
  content = _block((key, rows[key]) for key in keys)
  # Tables have an unused block of other properties.
  places, table = [], b''
  for block in (content, _block([])):
    places.append(_varint(len(table)) + _varint(len(block)))
    table += _sealed(block)
  blocks = _block([(keys[-1], places[0])])
  footer = places[1] + _varint(len(table)) + _varint(len(blocks))
  return (table + _sealed(blocks)
          + footer.ljust(_FOOTER_BYTES - len(_MARK), b'\0') + _MARK)


def decode(index: bytes) -> dict[str, Entry]:
  """Returns the tensors that an index names, all of its checksums checked.

  Raises:
    Damaged: it is not an index.
  """
  footer = index[-_FOOTER_BYTES:]
  if len(index) < _FOOTER_BYTES or not footer.endswith(_MARK):
    raise Damaged('the index is incomplete or is not one')
  try:
    _, at = _two_varints(footer, 0)
    (start, size), _ = _two_varints(footer, at)
    rows = {}
    for _, place in _rows(_checked(index, start, size)):
      rows.update(_rows(_checked(index, *_two_varints(place, 0)[0])))
    if rows.pop(b'', None) is None:
      raise Damaged('the index has no header')
    return {name.decode(): _entry(value) for name, value in rows.items()}
  except (IndexError, KeyError, ValueError, struct.error) as error:
    raise Damaged('the index is malformed') from error


def masked_crc(content, crc: int = 0) -> int:
  """Returns the CRC-32C of bytes as TensorFlow stores it.

  Args:
    content: bytes or an array of bytes.
    crc: of what comes before them, not masked.
  """
  crc = google_crc32c.extend(crc, content)
  return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def text_bytes(text: bytes) -> tuple[bytes, int]:
  """Returns (the data, the masked CRC) of a scalar string."""
  length = struct.pack('<I', len(text))
  checked_length = _CRC.pack(masked_crc(length))
  return (_varint(len(text)) + checked_length + text,
          masked_crc(length + checked_length + text))


def text_of(data: bytes, crc: int) -> bytes:
  """Returns the text of a scalar string; undoes `text_bytes`.

  Raises:
    Damaged: it does not match its checksum.
  """
  try:
    length, start = _varint_at(data, 0)
    text = data[start + _CRC.size:]
  except IndexError as error:
    raise Damaged('a text is malformed') from error
  if len(text) != length or text_bytes(text) != (data, crc):
    raise Damaged('a text does not match its checksum')
  return text


def _checked(index, start, size):
  """Returns a block of an index, without what follows it."""
  block, crc = index[start:start + size + 1], index[start + size + 1:][:4]
  if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != masked_crc(block):
    raise Damaged('the index does not match its checksum')
  if block[-1]:
    raise Damaged('the index is compressed')
  return block[:-1]


def _sealed(block):
  block += b'\0'  # Not compressed.
  return block + _CRC.pack(masked_crc(block))


def _block(rows):
  """Returns a block of sorted (key, value), none of which is shortened."""
  content, starts = b'', []
  for key, value in rows:
    starts.append(len(content))
    content += (_varint(0) + _varint(len(key)) + _varint(len(value))
                + key + value)
  starts = starts or [0]
  return content + struct.pack(f'<{len(starts) + 1}I', *starts, len(starts))


def _rows(block) -> Iterator[tuple[bytes, bytes]]:
  """Yields the (key, value) of a block."""
  restarts, = struct.unpack('<I', block[-4:])
  at, end, key = 0, len(block) - 4 * (restarts + 1), b''
  while at < end:
    shared, at = _varint_at(block, at)
    (rest, size), at = _two_varints(block, at)
    key = key[:shared] + block[at:at + rest]
    at += rest + size
    yield key, block[at - size:at]


def _entry_bytes(entry):
  """Returns a tensor's BundleEntryProto."""
  dims = [b'\x08' + _varint(size) for size in entry.shape]
  shape = b''.join(b'\x12' + _varint(len(dim)) + dim for dim in dims)
  return (b'\x08' + _varint(entry.dtype) + b'\x12' + _varint(len(shape)) + shape
          + b'\x20' + _varint(entry.offset) + b'\x28' + _varint(entry.size)
          + b'\x35' + _CRC.pack(entry.crc))


def _entry(message):
  """Returns the tensor of a BundleEntryProto."""
  fields = dict(_fields(message))
  if fields.get(3) or 7 in fields:
    raise Damaged('a tensor is in several parts')
  dims = [dict(_fields(dim)).get(1, 0)
          for number, dim in _fields(fields.get(2, b'')) if number == 2]
  return Entry(fields[1], tuple(dims), fields.get(4, 0), fields.get(5, 0),
               fields[6])


def _fields(message):
  """Yields (number, value) of the fields of a protobuf message."""
  at = 0
  while at < len(message):
    tag, at = _varint_at(message, at)
    kind = tag & 7
    if kind == _VARINT:
      value, at = _varint_at(message, at)
    elif kind == _BYTES:
      size, at = _varint_at(message, at)
      value, at = message[at:at + size], at + size
    else:
      size = {_FIXED64: 8, _FIXED32: 4}[kind]
      value, at = int.from_bytes(message[at:at + size], 'little'), at + size
    yield tag >> 3, value


def _varint(number):
  """Returns the bytes of a number, 7 bits in each, the lowest first."""
  content = bytearray()
  while number > 127:
    content.append(number & 127 | 128)
    number >>= 7
  return bytes([*content, number])


def _varint_at(content, at):
  """Returns (the number that starts there, where it ends)."""
  number = shift = 0
  while content[at] > 127:
    number |= (content[at] & 127) << shift
    shift, at = shift + 7, at + 1
  return number | content[at] << shift, at + 1


def _two_varints(content, at):
  first, at = _varint_at(content, at)
  second, at = _varint_at(content, at)
  return (first, second), at
