"""A picture is stored as it is, or turned or refused for a reason it says."""
import io
import os
import struct
import tempfile

import numpy as np
from PIL import Image, ImageOps
import pytest
import tensorflow as tf

from pipelines import decoding, picture_file
from tests.tiny_dataset import encoded, pixels


def _read(tmp_path, content, keep_orientation=False):
  path = tmp_path / 'picture'
  path.write_bytes(content)
  return picture_file.read(path, keep_orientation=keep_orientation)


def _decoded(content):
  return decoding.whole(tf.constant(content), 3).numpy().astype(int)


def _smooth(height=24, width=40):
  """Pixels that a JPEG keeps well, different in each corner."""
  y, x = np.mgrid[:height, :width]
  return np.stack([3 * y, 2 * x, 90 + 0 * y], -1).astype(np.uint8)


def _with_orientation(kind, orientation, **options):
  exif = Image.Exif()
  exif[0x0112] = orientation
  return encoded(Image.fromarray(_smooth()), kind, exif=exif, **options)


@pytest.mark.parametrize('kind, options, most', [
    ('JPEG', {'quality': 95}, 8), ('PNG', {}, 0),
    ('WEBP', {'lossless': True}, 0)])
@pytest.mark.parametrize('orientation', range(2, 9))
def test_each_orientation_is_turned_as_pillow_turns_it(
    tmp_path, kind, options, most, orientation):
  content = _with_orientation(kind, orientation, **options)
  picture = _read(tmp_path, content)
  expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
  assert picture.is_tilted
  error = np.abs(_decoded(picture.encoded) - np.asarray(expected))
  assert error.max() <= most and error.mean() <= most / 4
  # It is not turned a second time.
  again = _read(tmp_path, picture.encoded)
  assert not again.is_tilted and again.encoded == picture.encoded
  kept = _read(tmp_path, content, keep_orientation=True)
  assert kept.is_tilted and kept.encoded == content


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.parametrize('orientation', [0, 1, 9, 65535])
def test_other_numbers_change_no_bit(tmp_path, kind, orientation):
  content = _with_orientation(kind, orientation)
  assert _read(tmp_path, content) == (content, False, False, False, False)


@pytest.mark.parametrize('mode', ['L', 'CMYK'])
@pytest.mark.parametrize('progressive', [False, True])
def test_jpegs_of_every_kind_are_turned(tmp_path, mode, progressive):
  exif = Image.Exif()
  exif[0x0112] = 6
  content = encoded(Image.fromarray(_smooth()).convert(mode), 'JPEG',
                    quality=95, exif=exif, progressive=progressive)
  picture = _read(tmp_path, content)
  plain = _decoded(content)
  np.testing.assert_allclose(  # A quarter turn clockwise.
      _decoded(picture.encoded), np.rot90(plain, -1), rtol=0, atol=6)


def _segment(order, tag, kind, count, value, offset=8):
  """Makes a JPEG with an EXIF segment of one entry."""
  tiff = {'<': b'II', '>': b'MM'}[order] + struct.pack(
      f'{order}HI H HHI4s I', 42, offset, 1, tag, kind, count, value, 0)
  body = b'Exif\0\0' + tiff
  plain = encoded(Image.fromarray(_smooth()), 'JPEG')
  return (plain[:2] + b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body
          + plain[2:])


@pytest.mark.parametrize('order', '<>')
def test_both_byte_orders(tmp_path, order):
  value = struct.pack(f'{order}HH', 6, 0)
  picture = _read(tmp_path, _segment(order, 0x0112, 3, 1, value))
  assert picture.is_tilted
  assert _decoded(picture.encoded).shape == (40, 24, 3)


@pytest.mark.parametrize('change', [
    {'kind': 2, 'value': b'6\0\0\0'},  # Text.
    {'kind': 5, 'count': 9},  # Values beyond the end.
    {'kind': 3, 'count': 4_000_000_000},
    {'kind': 99},
    {'offset': 4_000_000_000},
    {'offset': 0},
    {'tag': 0x8769, 'kind': 4, 'value': b'\x08\0\0\0'},  # A folder in itself.
])
def test_damaged_exif_stops_nothing(tmp_path, change):
  values = {'order': '<', 'tag': 0x0112, 'kind': 3, 'count': 1,
            'value': b'\x06\0\0\0', **change}
  content = _segment(**values)
  assert _read(tmp_path, content).encoded == content


def test_random_damage_raises_nothing(tmp_path):
  rng = np.random.default_rng(0)
  kinds = set()
  for kind in ('JPEG', 'PNG', 'WEBP'):
    content = _with_orientation(kind, 6)
    for _ in range(60):
      damaged = bytearray(content)
      for _ in range(rng.integers(1, 4)):
        damaged[rng.integers(len(damaged))] = rng.integers(256)
      picture = _read(tmp_path, bytes(damaged[:rng.integers(len(damaged))]
                                      if rng.random() < 0.3 else damaged))
      kinds.add(type(picture))
      if isinstance(picture, picture_file.Unusable):
        assert picture.reason and '{' not in picture.reason
        assert '[Op' not in picture.reason and '\n' not in picture.reason
  assert kinds == {picture_file.Picture, picture_file.Unusable}


def test_webp_that_tensorflow_decodes_stays_as_it_is(tmp_path):
  for lossless in (True, False):
    content = encoded(Image.fromarray(_smooth()), 'WEBP', lossless=lossless)
    assert _read(tmp_path, content) == (content, False, False, False, False)
    # As training reads it: the part that a crop needs, or all of it.
    crop = decoding.CenterCrop((8, 8, 3))
    assert crop(tf.constant(content), ()).shape == (8, 8, 3)


def test_other_webp_becomes_png(tmp_path):
  rgb, later = pixels(1), pixels(2)
  alpha = np.dstack([rgb, pixels(3, (6, 5, 1))])
  for content in (
      encoded(Image.fromarray(alpha), 'WEBP', lossless=True, exact=True),
      encoded(Image.fromarray(rgb), 'WEBP', lossless=True, save_all=True,
              append_images=[Image.fromarray(later)])):
    picture = _read(tmp_path, content)
    assert picture.is_converted and picture.encoded.startswith(b'\x89PNG')
    np.testing.assert_array_equal(_decoded(picture.encoded), rgb)


def test_half_a_webp_is_refused(tmp_path):
  content = encoded(Image.fromarray(_smooth()), 'WEBP')
  reason = _read(tmp_path, content[:len(content) // 2]).reason
  assert reason == 'Failed to decode WebP image'


@pytest.mark.parametrize('mode', ['gray', 'rgb', 'rgba'])
@pytest.mark.parametrize('bits', [8, 10, 12, 14])
def test_few_bits_in_16_are_refused(tmp_path, bits, mode):
  shape = {'gray': (16, 16, 1), 'rgb': (16, 16, 3), 'rgba': (16, 16, 4)}[mode]
  values = np.linspace(0, 2**bits - 1, np.prod(shape)).astype(np.uint16)
  values = values.reshape(shape)
  values[..., 3:] = 65535  # Alpha has all bits.
  content = tf.io.encode_png(values).numpy()
  assert _read(tmp_path, content).reason == (
      f'16 bits per channel, of which only the lowest {bits} are used: save it '
      'with 8 bits')


@pytest.mark.parametrize('most', [0, 2**14, 2**16 - 1])
def test_16_bits_and_black_are_kept_and_counted(tmp_path, most):
  values = np.linspace(0, most, 64).astype(np.uint16).reshape(8, 8, 1)
  content = tf.io.encode_png(values).numpy()
  assert _read(tmp_path, content) == (content, False, False, True, False)


def test_too_many_pixels_are_named(tmp_path):
  content = bytearray(encoded(Image.fromarray(_smooth()), 'JPEG'))
  frame = content.index(b'\xff\xc0')
  content[frame + 5:frame + 9] = struct.pack('>HH', 17_400, 17_400)
  reason = _read(tmp_path, bytes(content)).reason
  assert reason == '303 megapixels, more than the 179 that TensorFlow decodes'


@pytest.mark.parametrize('content, reason', [
    (b'', 'empty file'),
    (b'no picture', 'Unknown image file format'),
    (encoded(Image.fromarray(_smooth()), 'JPEG')[:300], 'Invalid JPEG data'),
    (encoded(Image.fromarray(_smooth()), 'PNG')[:90], 'Invalid PNG data')])
def test_what_cannot_be_decoded_is_told_in_words_of_tensorflow(
    tmp_path, content, reason):
  assert reason in _read(tmp_path, content).reason


def test_a_file_without_permission():
  with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    path = os.path.join(folder, 'secret.png')
    Image.fromarray(pixels(1)).save(path)
    os.chmod(path, 0)
    is_root = os.geteuid() == 0
    if is_root:  # Permissions do not stop root.
      os.seteuid(65534)
    try:
      reason = picture_file.read(path, keep_orientation=False).reason
    finally:
      if is_root:
        os.seteuid(0)
  assert reason == 'Permission denied'


def test_other_files_that_cannot_be_read(tmp_path):
  reasons = {}
  for name, target in (('gone', '/nowhere'), ('loop', 'loop'),
                       ('zero', '/dev/zero'), ('folder', '.')):
    (tmp_path / name).symlink_to(target)
  os.mkfifo(tmp_path / 'pipe')
  with open(tmp_path / 'huge', 'wb') as file:
    file.truncate(2**40)  # Takes no space.
  for path in tmp_path.iterdir():
    reasons[path.name] = picture_file.read(path, keep_orientation=False).reason
  assert reasons == {
      'gone': 'No such file or directory',
      'loop': 'Too many levels of symbolic links',
      'zero': 'not a regular file', 'pipe': 'not a regular file',
      'folder': 'Is a directory', 'huge': 'larger than 1024 MiB'}


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
@pytest.mark.parametrize('orientation', [1, 6])
def test_a_large_picture_is_turned_and_reduced_as_pillow_does(
    tmp_path, kind, orientation):
  path = tmp_path / 'picture'
  path.write_bytes(_with_orientation(kind, orientation))
  reduction = picture_file.Reduction(max_side=20, jpeg_quality=95)
  picture = picture_file.read(
      path, keep_orientation=False, reduction=reduction)
  assert picture.is_reduced and picture.is_tilted == (orientation == 6)
  assert picture.encoded.startswith(b'\xff\xd8')
  upright = ImageOps.exif_transpose(Image.open(path))
  expected = upright.resize(  # 24 x 40 becomes 12 x 20.
      (12, 20) if orientation == 6 else (20, 12), Image.Resampling.LANCZOS)
  error = np.abs(_decoded(picture.encoded) - np.asarray(expected).astype(int))
  assert error.mean() < 4
  smaller = picture_file.read(path, keep_orientation=True,
                              reduction=picture_file.Reduction(40, 1))
  assert not smaller.is_reduced and smaller.encoded == path.read_bytes()
