"""The contact sheet shows exactly what training sees."""
import numpy as np
from PIL import Image
import pytest

from configs import schema
from pipelines import augmentation, batches, contact_sheet, decoding, sources
from pipelines.options import Reading
from tests import processes, tiny_dataset


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('tfds')
  tiny_dataset.prepare_photos(path)
  return path


def _cells(sheet, side, gap=2):
  """Cuts a sheet into uint8 [rows, columns, side, side, c], without gaps."""
  rows, columns = (n // (side + gap) for n in sheet.shape[:2])
  cells = sheet.reshape(rows, side + gap, columns, side + gap, -1)
  return cells.transpose(0, 2, 1, 3, 4)[:, :, :side, :side]


def _config(**fields):
  return schema.Config(
      data=schema.Data(name='photos', image_size=64, mean=(1, 2, 3),
                       stddev=(1, 1, 1)),
      augment=schema.Augment(**fields), seed=4)


@pytest.mark.slow
def test_rows_are_the_first_pictures_of_the_run_before_and_after(data_dir):
  source = sources.load(_config().data, 'train', Reading(data_dir))
  config = _config(smallest_crop=0.3, erasing=0.7)
  cells = _cells(contact_sheet.draw(config, source, rows=6, columns=3), 64)
  assert cells.shape == (6, 4, 64, 64, 3)
  random_crop = decoding.RandomCrop((64, 64, 3), 4, 0.3)
  plain, cropped = ([batch['image'] for batch in batches.train(
      source, seed=4, global_batch=6, first_step=0, last_step=1, crop=crop)]
                    for crop in (None, random_crop))
  np.testing.assert_array_equal(cells[:, 0], plain[0])
  expected, _ = augmentation.apply(
      cropped[0], np.zeros((6, 2), np.float32), np.arange(6), (1, 2, 3),
      seed=4, config=config.augment)
  np.testing.assert_array_equal(cells[:, 1], expected)
  # The other columns are augmented differently.
  assert len({cell.tobytes() for cell in cells.reshape(24, -1)}) == 24


@pytest.mark.slow
def test_mixed_rows_add_up_to_their_pair(data_dir):
  source = sources.load(_config().data, 'train', Reading(data_dir))
  cells = _cells(contact_sheet.draw(
      _config(smallest_crop=1.0, mixup=0.5), source, rows=2, columns=5), 64)
  unmixed = _cells(contact_sheet.draw(
      _config(smallest_crop=1.0), source, rows=2, columns=5), 64)
  np.testing.assert_allclose(
      cells.astype(int).sum(0), unmixed.astype(int).sum(0), atol=1)
  assert (cells[:, 1:] != unmixed[:, 1:]).any()


def test_the_program_enlarges_small_images(tmp_path):
  path = tmp_path / 'sheet.png'
  result = processes.run('pipelines.show', f'--output={path}', '--rows=2',
                         '--columns=3')
  assert result.code == 0 and f'Wrote {path}: 2 pictures of' in result.out
  sheet = np.asarray(Image.open(path))
  # Digits of 8 x 8 pixels as 64 x 64, and gaps of 2.
  assert sheet.shape == (2 * 66, 4 * 66)
  cells = _cells(sheet, 64)[..., 0]
  small = cells[:, :, ::8, ::8]
  np.testing.assert_array_equal(cells, small.repeat(8, 2).repeat(8, 3))
  digits = sources.load('digits', 'train').images.numpy()[..., 0]
  assert all((digits == cell).all((1, 2)).any() for cell in small[:, 0])


@pytest.mark.parametrize('flag, words', [
    ('--rows=3', '--rows=3 is odd, but mixup and cutmix mix pairs of rows: '
     'give 4'),
    ('--rows=1000 --columns=1000', '--rows=1000 with --columns=1000 makes a '
     'sheet of 3910 MiB, and at most 512 are drawn: lower one of the two.'),
    ('--config.augment.cutout=9', 'give at most 8.'),
    ('--output=/proc/sheet.png', '--output=/proc/sheet.png cannot be written')])
def test_wrong_flags_are_refused(flag, words):
  result = processes.run('pipelines.show', *flag.split())
  assert result.code == 2 and words in result.err
  assert 'Traceback' not in result.err
