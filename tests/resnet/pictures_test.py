"""TensorBoard gets the right pictures, once for each step."""
import io
import types

import numpy as np
from PIL import Image
import pytest
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util
import tensorflow as tf

from configs import schema
from configs.process.errors import TryAgain
from pipelines import batches, decoding, sources
from pipelines.options import Reading
from resnet import compilation, plan
from resnet.distribution.group import Group
from resnet.evaluation import charts, confusion
from resnet.evaluation.seen import Seen
from resnet.run import summaries
from resnet.run.events import input_pictures, pictures
from tests import tiny_dataset
from tests.resnet import small_runs, strategies

_COLORS = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200], [90, 90, 90]],
                   np.uint8)


def _source():
  """Returns four images of 8 x 8 pixels, each of one color."""
  images = np.broadcast_to(_COLORS[:, None, None], (4, 8, 8, 3))
  return sources.InMemory(tf.constant(images), tf.constant([0, 1, 2, 0]), 3)


class _Run(types.SimpleNamespace):
  """What pictures.py uses of a session.Session, with known predictions."""

  def __init__(self, workdir, losses=(1.0, 4.0, 3.0, 2.0), step=0, **changes):
    self.said, source = [], _source()
    seen = Seen(source.num_classes, 'softmax')
    rows = np.zeros((4, 6), np.float32)
    rows[:, 0], rows[:, 1], rows[:, 2] = 1, [0, 1, 2, 0], [0, 2, 0, 0]
    rows[:, 5] = losses
    seen.add(np.arange(4), rows)
    super().__init__(**{**dict(
        step=step, total_steps=30, is_last=False, evals=plan.every_steps(10),
        group=Group.of(strategies.on_cpus(1)), warned_of_pictures=False,
        written=summaries.Summaries(workdir, step),
        bar=types.SimpleNamespace(say=self.said.append),
        evaluate=types.SimpleNamespace(source=source, seen=lambda: seen)),
        **changes})


def _read(folder, tag):
  """Returns [(step, RGB array)] of a tag, as TensorBoard reads them."""
  reader = plugin_event_accumulator.EventAccumulator(
      str(folder), size_guidance={plugin_event_accumulator.TENSORS: 0})
  reader.Reload()
  if tag not in reader.Tags()['tensors']:
    return []
  metadata = reader.SummaryMetadata(tag)
  assert metadata.plugin_data.plugin_name == 'images'
  found = []
  for event in reader.Tensors(tag):
    width, height, png = tensor_util.make_ndarray(event.tensor_proto)
    picture = Image.open(io.BytesIO(png))
    assert (int(width), int(height)) == picture.size
    found.append((event.step, np.array(picture.convert('RGB'))))
  return found


def test_the_worst_pictures_are_drawn_worst_first(tmp_path):
  run = _Run(tmp_path, step=10)
  pictures.write_evaluated(run)
  ((step, sheet),) = _read(tmp_path / 'eval', 'pictures/worst')
  assert step == 10 and run.said == []
  # 8 pixels are enlarged to 96, with gaps of 4.
  drawn = [sheet[50, 4 + 100 * i + 48].tolist() for i in range(4)]
  assert drawn == _COLORS[[1, 2, 3, 0]].tolist()


def test_the_confusion_is_drawn_in_shares_of_the_label(tmp_path):
  pictures.write_evaluated(_Run(tmp_path, step=10))
  ((step, picture),) = _read(tmp_path / 'eval', 'pictures/confusion')
  assert step == 10
  # Labels 0, 1, 2 and 0 are taken for 0, 2, 0 and 0. Cells have 34 pixels, and
  # the last ones end 18 pixels before the border.
  cells = picture[-18 - 3 * 34 + 5:-18:34, -18 - 3 * 34 + 5:-18:34, 0]
  assert (cells < 100).tolist() == [
      [True, False, False], [False, False, True], [True, False, False]]


def test_only_the_hardest_of_many_classes_are_drawn():
  matrix = np.diag([9] * 100)
  matrix[70, 3] = matrix[50, 99] = 2
  matrix[20, 21] = 1
  assert confusion.hardest(matrix, 5).tolist() == [3, 20, 50, 70, 99]
  assert confusion.hardest(matrix[:2, :2], 5).tolist() == [0, 1]


def test_shares_are_those_of_all_predictions_of_a_label():
  """Class 7 is right for 5 examples, taken for 3 once and for 20 four times."""
  matrix = np.zeros((50, 50), int)
  matrix[7, [7, 3, 20]] = 5, 1, 4
  matrix[20, 20] = 9
  png = charts.confusion_png(matrix, [str(i) for i in range(50)], most=2)
  picture = Image.open(io.BytesIO(png)).convert('RGB')
  # 7 and 20 are drawn; the last cell ends 18 pixels before the border.
  red = [[picture.getpixel((picture.width - 18 - 34 * (2 - column) + 3,
                            picture.height - 18 - 34 * (2 - row) + 3))[0]
          for column in range(2)] for row in range(2)]
  shares = np.array([[0.5, 0.4], [0, 1]])
  np.testing.assert_allclose(red, 255 - shares * (255 - 8), atol=1)


def test_each_step_has_its_pictures_once(tmp_path):
  """Resumed at step 10, step 20 is done again, with another result."""
  for step in (10, 20):
    pictures.write_evaluated(_Run(tmp_path, step=step))
  resumed = _Run(tmp_path, losses=(4, 3, 2, 1), step=10)
  for resumed.step in (20, 30):
    pictures.write_evaluated(resumed)
  found = _read(tmp_path / 'eval', 'pictures/worst')
  assert [step for step, _ in found] == [10, 20, 30]
  assert [sheet[50, 52].tolist() for _, sheet in found] == (
      _COLORS[[1, 0, 0]].tolist())


def test_a_run_that_begins_again_has_its_input_once(tmp_path):
  config = small_runs.config()
  for step in (0, 0, 5):  # Killed before its first checkpoint; resumed at 5.
    run = _Run(tmp_path, step=step, config=config,
               state=types.SimpleNamespace(mean=tf.zeros([3])))
    pictures.write_input(run, _source())
    assert run.said == []
  ((step, sheet),) = _read(tmp_path / 'train', 'pictures/input')
  assert step == 1 and sheet.shape[1] == 4 + 8 * 100


def test_captions_name_the_labels_and_their_shares():
  of = lambda *shares: input_pictures.InputPicture(_COLORS, [*shares])
  assert pictures._input_captions([of((1, 1.0)), of((0, 1.0))], 'ab') == [
      'b', 'a']
  assert pictures._input_captions(
      [of((1, 0.75), (0, 0.25)), of((0, 1.0))], 'ab') == [
          'b (0.75)\na (0.25)', 'a (1.00)\n']


def test_pictures_that_are_skipped_as_bad_are_not_drawn(tmp_path, monkeypatch):
  run = _Run(tmp_path, config=small_runs.config(),
             state=types.SimpleNamespace(mean=tf.zeros([3])))
  batch = {'image': tf.zeros([4, 8, 8, 3], tf.uint8), 'label': [0, 1, 2, 0],
           'position': tf.range(4, dtype=tf.int64)}
  for weight in ([0, 1, 0, 1], [0] * 4):
    monkeypatch.setattr(input_pictures, '_read', lambda *_, weight=weight: {
        **batch, 'weight': tf.constant(weight, tf.float32)})
    pictures.write_input(run, _source())
  ((_, sheet),) = _read(tmp_path / 'train', 'pictures/input')
  assert sheet.shape[1] == 4 + 2 * 100 and run.said == []


def test_what_cannot_be_drawn_is_one_warning(tmp_path):
  run = _Run(tmp_path, losses=(1, 2, 3, 4), step=10)
  run.evaluate.source = None
  pictures.write_evaluated(run)
  pictures.write_evaluated(run)
  (warning,) = run.said
  assert warning.startswith(
      'warning: the pictures of step 10 could not be drawn')
  assert 'NoneType' in warning
  assert _read(tmp_path / 'eval', 'pictures/worst') == []


def test_events_that_cannot_be_written_are_an_error(tmp_path):
  run = _Run(tmp_path, step=10)
  def fail(*_):
    raise TryAgain('The disk is full.')
  run.written = types.SimpleNamespace(write_summary=fail)
  with pytest.raises(TryAgain):
    pictures.write_evaluated(run)


@pytest.mark.parametrize('evals, drawn', [(3, 3), (100, 100), (101, 51),
                                          (1000, 100)])
def test_of_at_most_100_evaluations_pictures_are_drawn(evals, drawn):
  every, last = plan.Every(plan.every_steps(5).period / 2), 5 * evals // 2
  steps = [step for step in range(1, last + 1)
           if every.due(step) or step == last]
  chosen = [step for step in steps
            if pictures.is_drawn(every, step, last, step == last)]
  assert len(chosen) == drawn and chosen[-1] == last
  assert pictures.is_drawn(plan.every_steps(0), 7, 70, False)


_ALL = schema.Augment(crop_padding=2, flip=True, policy='rand_augment',
                      erasing=0.5, mixup=0.2, cutmix=1.0, repeats=2)


@pytest.mark.parametrize('augment, mixed', [
    (schema.Augment(crop_padding=1, flip=True), False), (_ALL, True)])
def test_the_input_is_what_the_network_gets(augment, mixed):
  """Compared with the first batch of the training stream, augmented by XLA."""
  source = small_runs.random_source(37, classes=5)
  config = small_runs.config(augment=augment, global_batch=24, seed=3)
  mean = np.array([100.0], np.float32)
  batch = next(iter(batches.train(
      source, seed=3, global_batch=24, first_step=0, last_step=1,
      repeats=augment.repeats)))
  images, targets = compilation.augment(
      config, strategies.on_cpus(1), 'true', source.size)(
          batch['image'], tf.one_hot(batch['label'], 5), batch['position'],
          mean)
  found = input_pictures.first(config, source, mean, 2**26)
  assert len(found) == 16
  for picture, image, target in zip(found, images, targets):
    # Rounded; XLA's sums may end up on the other side of one half.
    np.testing.assert_allclose(
        picture.pixels, tf.cast(image, tf.float32), atol=0.51)
    np.testing.assert_allclose(
        [share for _, share in picture.shares],
        np.sort(target)[::-1][:len(picture.shares)], rtol=1e-5)
    assert picture.shares[0][0] == np.argmax(target)
  assert any(len(picture.shares) == 2 for picture in found) == mixed


def test_the_input_of_photographs_is_cropped_as_in_training(tmp_path):
  tiny_dataset.prepare_photos(tmp_path)
  config = small_runs.config(
      data=schema.Data('photos', image_size=32), global_batch=6,
      augment=schema.Augment(sizes=(24, 32)))
  source = sources.load(config.data, 'train', Reading(str(tmp_path)))
  batch = next(iter(batches.train(
      source, seed=0, global_batch=6, first_step=0, last_step=1,
      crop=decoding.random_crop(config, 3, 24))))
  found = input_pictures.first(
      config, source, np.zeros(3, np.float32), 2**26)
  np.testing.assert_array_equal(
      [picture.pixels for picture in found], batch['image'])
  assert [picture.shares for picture in found] == [
      [(label, 1.0)] for label in batch['label'].numpy()]
