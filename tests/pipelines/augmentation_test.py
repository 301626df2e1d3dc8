"""Crops, flips and standardization against NumPy, eagerly and compiled."""
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from pipelines import (
  augmentation,
  blur,
  color,
  erasing,
  mixing,
  policies,
  threefry,
)


def _images(b=16, h=6, w=5, c=3):
  rng = np.random.default_rng(0)
  return rng.integers(1, 256, (b, h, w, c), dtype=np.uint8)


def _crop_by_hand(image, down, right, flip, padding):
  """Crops from `down`, `right` of the image's corner, then flips."""
  padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
  h, w, _ = image.shape
  top, left = padding + down, padding + right
  crop = padded[top:top + h, left:left + w]
  return crop[:, ::-1] if flip else crop


@pytest.mark.parametrize('padding, flip', [(4, True), (2, False), (0, True)])
@pytest.mark.parametrize('jit', [False, True])
def test_crop_and_flip_match_numpy(padding, flip, jit):
  images = _images()
  positions = tf.range(100, 116, dtype=tf.int64)
  function = tf.function(
      lambda x, p: augmentation.crop_and_flip(
          x, p, seed=5, padding=padding, flip=flip),
      jit_compile=jit, autograph=False)
  result = function(images, positions).numpy()

  draws = threefry.uniform(5, positions, 1, (3,)).numpy()
  for image, draw, got in zip(images, draws, result):
    down, right = np.floor(draw[:2] * (2 * padding + 1)).astype(int) - padding
    flipped = flip and draw[2] < 0.5
    np.testing.assert_array_equal(
        got, _crop_by_hand(image, down, right, flipped, padding))


def test_all_shifts_and_both_orientations_occur():
  b, padding = 4000, 2
  image = np.zeros((b, 5, 5, 1), np.uint8)
  image[:, 2, 1] = 255  # A mark to the left of the middle.
  result = augmentation.crop_and_flip(
      tf.constant(image), tf.range(b, dtype=tf.int64), seed=0,
      padding=padding, flip=True).numpy()
  places, counts = np.unique(
      [np.argmax(r) for r in result if r.any()], return_counts=True)
  # Down: 5 rows. Across: columns -1..3, or mirrored 1..5; 0..4 are visible.
  assert set(places) == set(range(25))
  # Columns 0 and 4 come from only one side, 1..3 from both.
  by_column = np.bincount(places % 5, weights=counts, minlength=5) / b
  np.testing.assert_allclose(by_column, [.1, .2, .2, .2, .1], atol=0.03)


@pytest.mark.parametrize('fields', [
    {'shift': 0.4}, {'vertical_flip': True}, {'shift': 0.2, 'flip': True},
    {'shift': 0.5, 'vertical_flip': True, 'flip': True, 'padding': 2}])
@pytest.mark.parametrize('run', ['eager', 'graph', 'xla'])
def test_crop_flips_and_shift_match_numpy_in_this_order(fields, run):
  images = _images(h=11)
  positions = tf.range(2**40, 2**40 + 16, dtype=tf.int64)
  fields = {'padding': 0, 'flip': False, **fields}
  function = lambda x, p: augmentation.crop_and_flip(x, p, seed=5, **fields)
  if run != 'eager':
    function = tf.function(function, jit_compile=run == 'xla', autograph=False)
  result = function(images, positions).numpy()

  crops, flips, shifts = (
      threefry.uniform(5, positions, salt, (n,)).numpy()
      for salt, n in ((1, 3), (8, 1), (9, 2)))
  share, padding = fields.get('shift', 0), fields['padding']
  most = np.floor(share * np.array([11, 5])).astype(int)
  for image, crop, flip, shift, got in zip(
      images, crops, flips, shifts, result):
    down, right = np.floor(crop[:2] * (2 * padding + 1)).astype(int) - padding
    expected = _crop_by_hand(
        image, down, right, fields['flip'] and crop[2] < 0.5, padding)
    if fields.get('vertical_flip') and flip < 0.5:
      expected = expected[::-1]
    down, right = np.floor(shift * (2 * most + 1)).astype(int) - most
    expected = np.pad(expected, [(most[0],) * 2, (most[1],) * 2, (0, 0)],
                      mode='edge')[most[0] + down:, most[1] + right:][:11, :5]
    np.testing.assert_array_equal(got, expected)


def test_all_shifts_occur_equally_often():
  b = 9000
  rows, columns = np.mgrid[:10, :10]
  image = np.broadcast_to(np.stack([rows, columns], -1), (b, 10, 10, 2))
  result = augmentation.crop_and_flip(
      tf.constant(image, tf.uint8), tf.range(b, dtype=tf.int64), seed=0,
      padding=0, flip=False, shift=0.14).numpy()
  # One pixel in each direction: the middle shows which.
  shifts, counts = np.unique(
      result[:, 5, 5].astype(int) - 5, axis=0, return_counts=True)
  assert shifts.tolist() == [[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
  np.testing.assert_allclose(counts, 1000, atol=150)  # 5 deviations.


@pytest.mark.parametrize('share, side, pixels', [
    (0.1, 32, 3), (0.1, 30, 3), (0.29, 100, 29), (0.7, 10, 7), (0.03, 33, 0)])
def test_shares_of_sides_are_rounded_down(share, side, pixels):
  assert augmentation.most_shifted(share, side) == pixels


def test_half_of_the_images_are_turned_upside_down():
  image = np.zeros((2000, 2, 1, 1), np.uint8)
  image[:, 0] = 1
  result = augmentation.crop_and_flip(
      tf.constant(image), tf.range(2000, dtype=tf.int64), seed=1, padding=0,
      flip=False, vertical_flip=True)
  assert abs(np.mean(result[:, 0]) - 0.5) < 0.056  # 5 deviations.


def test_crop_and_flip_that_are_off_leave_the_images_unchanged():
  images = _images()
  result = augmentation.crop_and_flip(
      images, tf.range(16, dtype=tf.int64), seed=0, padding=0, flip=False)
  np.testing.assert_array_equal(result, images)


@pytest.mark.parametrize('mean_shape', [(3,), (6, 5, 3)])
def test_standardize_subtracts_the_mean_and_divides(mean_shape):
  images = _images()
  mean = np.full(mean_shape, 100, np.float32)
  stddev = np.array([10, 20, 40], np.float32)
  result = augmentation.standardize(tf.constant(images), mean, stddev)
  np.testing.assert_allclose(
      result, (images.astype(float) - 100) / [10, 20, 40], rtol=1e-6, atol=1e-6)


_KEYS = {'seed': 5}


def _apply_by_hand(images, targets, positions, mean, config):
  """Does what apply must do, step by step, for one field at a time."""
  images = tf.constant(images)
  if config.crop_padding or config.flip:
    images = augmentation.crop_and_flip(
        images, positions, padding=config.crop_padding, flip=config.flip,
        **_KEYS)
  if config.vertical_flip:
    images = augmentation.crop_and_flip(
        images, positions, padding=0, flip=False, vertical_flip=True, **_KEYS)
  if config.shift:
    images = augmentation.crop_and_flip(
        images, positions, padding=0, flip=False, shift=0.3, **_KEYS)
  if config.policy == 'rand_augment':
    images = policies.rand_augment(
        images, positions, layers=3, magnitude=4.0, **_KEYS)
  if config.policy == 'auto_cifar10':
    images = policies.auto_augment(images, positions, policy='cifar10', **_KEYS)
  if config.policy == 'trivial_augment':
    images = policies.trivial_augment(images, positions, **_KEYS)
  if config.brightness:
    images = color.jitter(images, positions, brightness=0.1, contrast=0.2,
                          saturation=0.3, **_KEYS)
  if config.grayscale:
    images = color.grayscale(images, positions, probability=0.6, **_KEYS)
  if config.blur:
    images = blur.gaussian(images, positions, probability=0.7, **_KEYS)
  if config.cutout:
    images = erasing.cutout(images, positions, mean, side=3, **_KEYS)
  if config.erasing:
    images = erasing.random_erasing(
        images, positions, mean, probability=0.5, **_KEYS)
  if config.mixup:
    return mixing.mix(images, targets, positions, mixup=0.2, cutmix=0.7,
                      probability=config.mix_probability, until=112, **_KEYS)
  return images, targets


@pytest.mark.parametrize('fields', [
    {}, {'flip': True}, {'crop_padding': 2},
    {'policy': 'rand_augment', 'layers': 3, 'magnitude': 4.0},
    {'policy': 'auto_cifar10'},
    {'brightness': 0.1, 'contrast': 0.2, 'saturation': 0.3},
    {'vertical_flip': True}, {'shift': 0.3}, {'policy': 'trivial_augment'},
    {'grayscale': 0.6}, {'blur': 0.7},
    {'cutout': 3}, {'erasing': 0.5}, {'mixup': 0.2, 'cutmix': 0.7},
    {'crop_padding': 2, 'flip': True, 'policy': 'rand_augment', 'layers': 3,
     'magnitude': 4.0, 'brightness': 0.1, 'contrast': 0.2, 'saturation': 0.3,
     'cutout': 3, 'erasing': 0.5, 'mixup': 0.2, 'cutmix': 0.7,
     'vertical_flip': True, 'shift': 0.3, 'grayscale': 0.6, 'blur': 0.7,
     'mix_probability': 0.8}])
@pytest.mark.parametrize('jit', [False, True])
def test_apply_does_what_the_config_asks_for_in_order(fields, jit):
  config = schema.Augment(**fields)
  images, targets = _images(), np.eye(16, dtype=np.float32)
  positions = tf.range(100, 116, dtype=tf.int64)
  mean = np.array([10, 20, 30], np.float32)
  function = tf.function(
      lambda *batch: augmentation.apply(
          *batch, config=config, mix_until=112, **_KEYS),
      jit_compile=jit, autograph=False)
  got_images, got_targets = function(images, targets, positions, mean)
  expected_images, expected_targets = _apply_by_hand(
      images, targets, positions, mean, config)
  # Under XLA, a fused multiplication may round the last bit differently.
  np.testing.assert_allclose(got_images, expected_images, rtol=1e-5, atol=1e-3)
  np.testing.assert_allclose(got_targets, expected_targets, rtol=1e-6)
  assert got_images.dtype == (
      tf.float32 if 'mixup' in fields else tf.uint8)
  assert (got_images.numpy() == images).all() == (not fields)


@pytest.mark.parametrize('fields', [
    {'vertical_flip': True, 'shift': 0.3}, {'policy': 'trivial_augment'},
    {'grayscale': 0.6}, {'blur': 0.7}])
@pytest.mark.parametrize('jit', [False, True])
def test_an_image_does_not_depend_on_its_batch(fields, jit):
  images = tf.constant(_images(h=20, w=20))
  positions = tf.range(100, 116, dtype=tf.int64)
  function = tf.function(
      lambda x, p: augmentation.apply(
          x, tf.zeros([x.shape[0], 2]), p, tf.zeros([3]), seed=5,
          config=schema.Augment(**fields))[0],
      jit_compile=jit, autograph=False)
  together = function(images, positions)
  np.testing.assert_array_equal(
      function(images[::-1], positions[::-1])[::-1], together)
  np.testing.assert_array_equal(
      function(images[3:4], positions[3:4]), together[3:4])
  eager, _ = augmentation.apply(
      images, tf.zeros([16, 2]), positions, tf.zeros([3]), seed=5,
      config=schema.Augment(**fields))
  np.testing.assert_array_equal(eager, together)
  assert (eager.numpy() != images.numpy()).any()
