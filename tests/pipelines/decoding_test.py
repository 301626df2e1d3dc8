"""The pixels that a crop takes, for all kinds of pictures."""
import io
import math

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from configs import schema
from pipelines import decoding, salts, threefry


def _encode(pixels, **kwargs):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, **kwargs)
  return tf.constant(buffer.getvalue())


def _ramp(height, width):
  """uint8 [h, w, 3]: the row, the column, and 7 everywhere."""
  rows, columns = np.mgrid[:height, :width]
  return np.stack([rows, columns, np.full_like(rows, 7)], -1).astype(np.uint8)


def _resized_ramp(top, left, height, width, size):
  """Resizes a box of a ramp by hand: pixel centers map to pixel centers.

  Beyond the outermost centers of the box, its border is repeated.
  """
  rows = np.clip((np.arange(size) + 0.5) * height / size - 0.5, 0, height - 1)
  columns = np.clip((np.arange(size) + 0.5) * width / size - 0.5, 0, width - 1)
  planes = np.broadcast_arrays(top + rows[:, None], left + columns[None], 7)
  return np.stack(planes, -1)


def _draws(*rows):
  """Returns float32 [10, 4]: the given draws, then draws that never fit."""
  return tf.constant([*rows, *[(99, 99, 0, 0)] * (10 - len(rows))], tf.float32)


@pytest.mark.parametrize('draws, box', [
    # 200 x 128 pixels: the square root of the area is 160.
    ([(0.5, 0.4, 0.0, 0.0)], (0, 0, 80, 64)),
    # There are 200 - 80 + 1 possible tops and 128 - 64 + 1 possible lefts.
    ([(0.5, 0.4, 0.5, 0.999)], (60, 64, 80, 64)),
    ([(0.5, 0.4, 0.9999, 0.5)], (120, 32, 80, 64)),
    # The first that fits is used: 1.3 * 160 = 208 rows are too many.
    ([(1.3, 0.4, 0, 0), (0.3, 0.9, 0, 0), (0.5, 0.75, 0, 0.5)],
     (0, 4, 80, 120)),
    # None fits: the first is cut to the picture.
    ([(1.3, 0.75, 0.5, 0.0)], (0, 0, 200, 120)),
])
def test_random_crop_takes_the_box_that_was_drawn(draws, box):
  crop = decoding.RandomCrop((32, 32, 3), seed=0)
  image = crop(_encode(_ramp(200, 128), format='png'), _draws(*draws))
  assert (image.dtype, image.shape) == (tf.uint8, (32, 32, 3))
  np.testing.assert_allclose(image, _resized_ramp(*box, 32), atol=0.51)


def test_center_crop_is_the_middle_224_of_256():
  crop = decoding.CenterCrop((56, 56, 3))
  # 128 x 240: 7/8 of 128 is 112; (128 - 112) / 2 = 8, (240 - 112) / 2 = 64.
  image = crop(_encode(_ramp(128, 240), format='png'), ())
  np.testing.assert_allclose(
      image, _resized_ramp(8, 64, 112, 112, 56), atol=0.51)


@pytest.mark.parametrize('crop, draws', [
    (decoding.RandomCrop((48, 48, 3), 0), _draws((0.51, 0.77, 0.3, 0.6))),
    (decoding.CenterCrop((48, 48, 3)), ())])
def test_a_jpeg_decoded_in_part_is_the_part_of_the_whole(crop, draws):
  smooth = _ramp(203, 131)
  jpeg = _encode(smooth, format='jpeg', quality=95)
  whole = decoding.whole(jpeg, 3).numpy()
  expected = crop(_encode(whole, format='png'), draws).numpy().astype(int)
  # Color is stored at half the resolution: at the border of a box, its
  # neighbors are missing.
  np.testing.assert_allclose(crop(jpeg, draws), expected, atol=3)
  assert abs(crop(jpeg, draws).numpy() - expected)[2:-2, 2:-2].mean() < 0.05


@pytest.mark.parametrize('share, box', [
    (1.0, (0, 56, 128, 128)), (0.5, (32, 88, 64, 64)),
    (0.01, (63, 119, 1, 1))])
def test_center_crop_takes_a_share_of_the_short_side(share, box):
  crop = decoding.CenterCrop((56, 56, 3), share)
  image = crop(_encode(_ramp(128, 240), format='png'), ())
  np.testing.assert_allclose(image, _resized_ramp(*box, 56), atol=0.51)


@pytest.mark.parametrize('crop', [
    decoding.CenterCrop((90, 90, 3), 1.0, 'bicubic'),
    decoding.RandomCrop((90, 90, 3), 0, interpolation='bicubic')])
@pytest.mark.parametrize('graph', [False, True])
def test_bicubic_enlarges_as_pillow_does(crop, graph):
  # Pillow clips between its two passes: edges that overshoot lie in rows alone.
  pixels = np.random.default_rng(0).integers(70, 186, (40, 40, 3), np.uint8)
  pixels[..., 0] = 255 * (pixels[:, :1, 0] > 128)
  # Both take the whole picture.
  draws = (_draws((1.0, 1.0, 0.0, 0.0))
           if isinstance(crop, decoding.RandomCrop) else ())
  function = lambda encoded: crop(encoded, draws)
  image = (tf.function(function) if graph else function)(
      _encode(pixels, format='png'))
  expected = Image.fromarray(pixels).resize((90, 90), Image.Resampling.BICUBIC)
  difference = np.abs(image.numpy().astype(int) - np.asarray(expected))
  # Beyond the outermost centers, Pillow leaves the missing pixels out, and
  # TensorFlow repeats those at the border.
  assert difference[4:-4, 4:-4].max() <= 1 and difference.mean() < 0.5
  linear = Image.fromarray(pixels).resize((90, 90), Image.Resampling.BILINEAR)
  assert np.abs(image.numpy().astype(int) - np.asarray(linear)).mean() > 5


def test_bicubic_overshoots_are_clipped():
  # The last of five rows lies 1.1 pixels below the second white one, whose
  # weight there is -0.04 (Keys 1981). So few values do not saturate by
  # themselves when they are cast.
  rows = np.array([255, 0, 255, 0], np.uint8).reshape(4, 1, 1)
  png = _encode(np.broadcast_to(rows, (4, 4, 3)), format='png')
  image = decoding.CenterCrop((5, 5, 3), 1.0, 'bicubic')(png, ())
  np.testing.assert_array_equal(image[-1], np.zeros((5, 3)))


def test_defaults_are_those_of_the_paper():
  config = schema.Config(data=schema.Data('photos', image_size=48), seed=3)
  assert decoding.center_crop(config.data, 3) == decoding.CenterCrop(
      (48, 48, 3), 0.875, 'bilinear')
  crop = decoding.random_crop(config, 3)
  assert crop == decoding.RandomCrop(
      (48, 48, 3), 3, 0.08, 1.0, (3 / 4, 4 / 3), 'bilinear')
  # To the bit: runs that were begun with these go on with these.
  positions = tf.range(100, dtype=tf.int64)
  area, aspect, top, left = tf.unstack(
      threefry.uniform(3, positions, salts.RANDOM_CROP, (10, 4)), axis=-1)
  side = tf.sqrt(0.08 + (1 - 0.08) * area)
  low, high = math.log(3 / 4) / 2, math.log(4 / 3) / 2
  skew = tf.exp(low + (high - low) * aspect)
  np.testing.assert_array_equal(
      crop.draws(positions),
      tf.stack([side / skew, side * skew, top, left], -1))


def test_crops_follow_the_config():
  config = schema.Config(
      data=schema.Data('photos', image_size=48, eval_size=64, eval_crop=0.9,
                       interpolation='bicubic'),
      augment=schema.Augment(smallest_crop=0.2, largest_crop=0.5,
                             crop_ratio=(1.0, 2.0)), seed=3)
  assert decoding.center_crop(config.data, 1) == decoding.CenterCrop(
      (64, 64, 1), 0.9, 'bicubic')
  wanted = decoding.RandomCrop(
      (48, 48, 3), 3, 0.2, 0.5, (1.0, 2.0), 'bicubic')
  assert decoding.random_crop(config, 3) == wanted
  assert decoding.random_crop(config, 3, 32) == wanted._replace(
      shape=(32, 32, 3))


@pytest.mark.parametrize('largest, ratio', [(1.0, (3 / 4, 4 / 3)),
                                            (0.4, (1 / 2, 3.0))])
def test_boxes_have_the_given_areas_and_aspects_and_lie_inside(largest, ratio):
  crop = decoding.RandomCrop((8, 8, 3), 3, 0.25, largest, ratio)
  draws = crop.draws(tf.range(4000, dtype=tf.int64)).numpy()
  assert draws.shape == (4000, 10, 4)
  area, aspect = draws[..., 0] * draws[..., 1], draws[..., 1] / draws[..., 0]
  for values, low, high in ((area, 0.25, largest),
                            (np.log(aspect), *np.log(ratio))):
    # Uniform: each decile holds a tenth, within 4 standard errors.
    counts, _ = np.histogram(values, 10, (low, high))
    assert counts.sum() == values.size
    np.testing.assert_allclose(counts / values.size, 0.1, atol=0.006)
  np.testing.assert_allclose(
      np.histogram(draws[..., 2:], 10, (0, 1))[0] / 80_000, 0.1, atol=0.0045)
  # The four numbers of a draw, and the draws of a picture, are independent.
  table = draws.reshape(4000, 40)
  np.testing.assert_allclose(
      np.corrcoef(table[:, [0, 2, 3, 4, 6, 7]].T)[0, 3:], 0, atol=0.065)


def test_draws_depend_on_seed_and_position_alone():
  positions = tf.constant([5, 2**40, 7], tf.int64)
  draws = decoding.RandomCrop((8, 8, 3), seed=1).draws(positions).numpy()
  alone = decoding.RandomCrop((8, 8, 3), seed=1).draws(positions[1:2]).numpy()
  other = decoding.RandomCrop((8, 8, 3), seed=2).draws(positions).numpy()
  np.testing.assert_array_equal(draws[1:2], alone)
  assert (draws != other).mean() > 0.99


def _rgb(h=20, w=30):
  return np.random.default_rng(0).integers(0, 256, (h, w, 3), np.uint8)


@pytest.mark.parametrize('mode, file_format', [
    ('RGB', 'png'), ('L', 'png'), ('P', 'png'), ('RGBA', 'png'),
    ('RGB', 'bmp'), ('P', 'gif')])
def test_lossless_formats_decode_to_rgb(mode, file_format):
  picture = Image.fromarray(_rgb()).convert(mode)
  buffer = io.BytesIO()
  picture.save(buffer, format=file_format)
  np.testing.assert_array_equal(
      decoding.whole(buffer.getvalue(), 3), np.asarray(picture.convert('RGB')))


def test_gray_stays_gray():
  gray = _rgb()[..., 0]
  np.testing.assert_array_equal(
      decoding.whole(_encode(gray, format='png'), 1)[..., 0], gray)


def test_sixteen_bits_become_eight():
  values = np.arange(0, 65536, 257, np.uint16).reshape(16, 16)
  png = _encode(values, format='png')
  np.testing.assert_array_equal(
      decoding.whole(png, 1)[..., 0], (values // 257).astype(np.uint8))


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_jpegs_of_every_color_space_are_cropped_as_pillow_crops(mode):
  picture = Image.fromarray(_ramp(160, 128)).convert(mode)
  buffer = io.BytesIO()
  picture.save(buffer, format='jpeg', quality=95)
  picture = Image.open(io.BytesIO(buffer.getvalue())).convert('RGB')
  crop = decoding.CenterCrop((140, 140, 3))
  image = crop(tf.constant(buffer.getvalue()), ()).numpy()
  # 7/8 of 128 is 112: rows 24..136, columns 8..120, resized by 1.25.
  middle = np.asarray(picture.crop((8, 24, 120, 136)).resize(
      (140, 140), Image.Resampling.BILINEAR)).astype(int)
  np.testing.assert_allclose(image[2:-2, 2:-2], middle[2:-2, 2:-2], atol=4)


def test_whole_refuses_a_picture_of_another_size():
  png = _encode(_rgb(20, 30), format='png')
  whole = decoding.Whole((20, 30, 3))
  np.testing.assert_array_equal(whole(png, ()), _rgb(20, 30))
  with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
    decoding.Whole((20, 31, 3))(png, ())
  with pytest.raises(tf.errors.InvalidArgumentError):
    tf.function(decoding.Whole((20, 31, 3)))(png, ())


@pytest.mark.parametrize('crop', [
    decoding.Whole((8, 8, 3)), decoding.CenterCrop((8, 8, 3))])
@pytest.mark.parametrize(
    'encoded', [b'', b'not a picture', b'\xff\xd8\xff12345'])
def test_bytes_that_are_not_a_picture_fail(crop, encoded):
  with pytest.raises(tf.errors.InvalidArgumentError):
    crop(tf.constant(encoded), ())


def test_half_a_jpeg_fails():
  jpeg = _encode(_rgb(100, 100), format='jpeg').numpy()
  with pytest.raises(tf.errors.InvalidArgumentError):
    decoding.CenterCrop((8, 8, 3))(tf.constant(jpeg[:len(jpeg) // 2]), ())
