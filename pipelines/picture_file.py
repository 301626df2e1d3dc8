"""Reads one picture file as it is to be stored: the same bytes, if possible.

These pictures are changed:

- Cameras store a picture as the sensor saw it, with a note (the orientation of
  EXIF) of how to turn it. TensorFlow does not read the note, so the picture is
  turned here. A JPEG is encoded again, in quality 95 without chroma
  subsampling, which is close to invisible; a lossless rotation would need
  another library, and a PNG would take several times the space and time. What
  comes from PNG or WebP becomes a PNG, with the same pixels.
- TensorFlow decodes neither an animated WebP nor one with an alpha channel. It
  becomes a PNG of its first frame without alpha, as TensorFlow reads GIF and
  PNG.
- Where the user asks for it, a picture that is larger than a given size is
  reduced (Lanczos) and becomes a JPEG with chroma subsampling, which is decoded
  in a fraction of the time. Smaller ones are not encoded a second time.

A picture that would be decoded to something else than it shows is refused: some
BMPs, and PNGs of 16 bits that use less than the lowest 14. TensorFlow keeps the
higher 8 bits, so that 12 bits of data, for example, become 16 almost black
shades. Stretching them would be a guess: what shall be white is not known here.
"""
import io
import os
import re
import stat
import struct
from typing import NamedTuple

import numpy as np
from PIL import Image
import tensorflow as tf

_LARGEST_FILE = 2**30  # Bytes; TensorFlow reads examples of less than 2 GiB.
_LARGEST_JPEG = 2**29  # Bytes once decoded: a limit of TensorFlow (2.21).
_WITH_EXIF = ('JPEG', 'PNG', 'WEBP')
_ORIENTATION = 0x0112  # EXIF tag.
# Pixels [h, w, c] as stored -> upright, by EXIF's number.
_TURN = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1]}


class Picture(NamedTuple):
  """A picture that TensorFlow decodes to what it shows."""
  encoded: bytes
  is_tilted: bool  # Whether its EXIF says that its pixels are not upright.
  is_converted: bool  # Whether it is a WebP that was stored as a PNG.
  is_deep: bool  # Whether it has 16 bits per channel.
  is_reduced: bool = False  # Whether it was larger than asked for.


class Reduction(NamedTuple):
  """How large pictures are stored; smaller ones are left as they are."""
  max_side: int  # Pixels of the longer side, at most.
  jpeg_quality: int  # 1..100


class Unusable(NamedTuple):
  """Why a file is not a picture that can be used: a part of a sentence."""
  reason: str


class _Header(NamedTuple):
  """What Pillow finds out without decoding; nothing for kinds without EXIF."""
  kind: str = ''
  pixels: int = 0
  orientation: int = 1


def read(path: str | os.PathLike, *, keep_orientation: bool,
         reduction: Reduction | None = None) -> Picture | Unusable:
  """Reads a picture, and decodes it once to see whether it can be decoded.

  Args:
    path: of the file; only regular files are read.
    keep_orientation: whether to leave pictures as they are that are not upright
      according to their EXIF.
    reduction: of larger pictures; None: they keep their size.
  """
  try:
    encoded = _read_regular_file(path)
  except OSError as error:
    return Unusable(error.strerror or str(error))
  header = _header(encoded)
  is_converted = False
  try:
    pixels = tf.io.decode_image(
        encoded, channels=3, expand_animations=False).numpy()
  except tf.errors.OpError as error:
    pixels = _decode_webp(encoded) if header.kind == 'WEBP' else None
    if pixels is None:
      return Unusable(_reason(encoded, header, error))
    is_converted = True
  is_deep = encoded.startswith(b'\x89PNG') and encoded[24] == 16
  misread = _misread(encoded, is_deep)
  if misread:
    return Unusable(misread)
  is_tilted = header.orientation in _TURN
  if is_tilted and not keep_orientation:
    pixels = np.ascontiguousarray(_TURN[header.orientation](pixels))
  is_reduced = bool(reduction) and max(pixels.shape) > reduction.max_side
  if is_reduced:
    encoded = _reduced(pixels, reduction)
  elif is_converted or is_tilted and not keep_orientation:
    encoded = _encode(pixels, header.kind)
  return Picture(encoded, is_tilted, is_converted and not is_reduced, is_deep,
                 is_reduced)


def _read_regular_file(path):
  """Returns the bytes of a file; opening a pipe does not wait for a writer."""
  descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
  with open(descriptor, 'rb') as file:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
      raise OSError('not a regular file')
    if status.st_size > _LARGEST_FILE:
      raise OSError(f'larger than {_LARGEST_FILE >> 20} MiB')
    return file.read(_LARGEST_FILE)


def _header(encoded):
  """Returns the _Header of a picture, damaged or not."""
  Image.MAX_IMAGE_PIXELS = None  # Of Pillow; TensorFlow has its own limits.
  try:
    with Image.open(io.BytesIO(encoded), formats=_WITH_EXIF) as image:
      width, height = image.size
      kind = 'JPEG' if encoded[:2] == b'\xff\xd8' else str(image.format)
      # Pillow would decode a whole PNG to look for EXIF at its end.
      has_exif = kind != 'PNG' or b'eXIf' in encoded
      return _Header(kind, width * height,
                     _orientation(image) if has_exif else 1)
  except Exception:  # Damaged or foreign: Pillow raises anything.
    return _Header()


def _orientation(image):
  """Returns EXIF's number; 1 if there is none that can be read."""
  try:
    number = image.getexif().get(_ORIENTATION)
    return number if number in _TURN else 1
  except Exception:  # Damaged EXIF stops no viewer: Pillow raises anything.
    return 1


def _decode_webp(encoded):
  """Returns the first frame, uint8 [h, w, 3]; None if it cannot be decoded."""
  try:
    with Image.open(io.BytesIO(encoded), formats=('WEBP',)) as image:
      return np.asarray(image.convert('RGB'))
  except Exception:  # Damaged: Pillow raises anything.
    return None


def _reduced(pixels, reduction):
  """Returns a JPEG of pixels, uint8 [h, w, 3], whose longer side is max_side.
  """
  scale = reduction.max_side / max(pixels.shape)
  height, width = (max(round(side * scale), 1) for side in pixels.shape[:2])
  small = Image.fromarray(pixels).resize(
      (width, height), Image.Resampling.LANCZOS)
  return tf.io.encode_jpeg(np.asarray(small), format='rgb',
                           quality=reduction.jpeg_quality).numpy()


def _encode(pixels, kind):
  if kind == 'JPEG':
    return tf.io.encode_jpeg(pixels, format='rgb', quality=95,
                             chroma_downsampling=False).numpy()
  return tf.io.encode_png(pixels).numpy()


def _reason(encoded, header, error):
  """Returns why TensorFlow cannot decode a picture."""
  if not encoded:
    return 'empty file'
  if header.kind == 'JPEG' and 3 * header.pixels >= _LARGEST_JPEG:
    return (f'{header.pixels / 1e6:.0f} megapixels, more than the '
            f'{_LARGEST_JPEG // 3 / 1e6:.0f} that TensorFlow decodes')
  text = re.sub(r'^\{\{.*?\}\} ', '', error.message.strip())
  return re.sub(r'\s*\[Op:\w+\].*$', '', text, flags=re.DOTALL).rstrip('.')


def _misread(encoded, is_deep):
  """Returns how TensorFlow (2.21) would decode a picture wrongly; '' if not.

  It takes the 8-bit values of a BMP for grays, even if they are indices into a
  palette of colors, or compressed.
  """
  if is_deep:
    most = int(tf.reduce_max(
        tf.io.decode_png(encoded, channels=3, dtype=tf.uint16)))
    if 0 < most < 2**14:
      return ('16 bits per channel, of which only the lowest '
              f'{most.bit_length()} are used: save it with 8 bits')
  if encoded[:2] != b'BM' or encoded[28] != 8:
    return ''
  pixels, header = struct.unpack_from('<II', encoded, 10)
  palette, grays = encoded[14 + header:pixels], bytes(range(256))
  if encoded[30] == 0 and all(
      grays.startswith(palette[color::4]) for color in range(3)):
    return ''
  return 'BMP with a palette or compression: save it as PNG'
