"""The figures of an evaluation, against ten examples worked out by hand."""
import io
import math

import numpy as np
from PIL import Image
import pytest

from resnet.evaluation import (
  calibration,
  charts,
  confusion,
  figures,
  per_class,
  temperature,
)
from resnet.evaluation import examples as examples_lib
from resnet.evaluation.examples import Examples

_NAMES = ('ant', 'bee', 'cat', 'dog')  # No example is a dog.
_LABEL = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
_PREDICTED = np.array([0, 1, 1, 1, 1, 1, 2, 2, 0, 2])
_PROBABILITY = np.array([.9, .5, .6, .95, .92, .5, .7, 1.0, .65, .55])
_CORRECT = _LABEL == _PREDICTED


def test_confusion_counts_labels_down_and_predictions_across():
  np.testing.assert_array_equal(
      confusion.matrix(_LABEL, _PREDICTED, 4),
      [[1, 2, 0, 0], [0, 3, 1, 0], [1, 0, 2, 0], [0, 0, 0, 0]])


def test_the_most_frequent_confusion_is_first():
  assert confusion.pairs(_LABEL, _PREDICTED) == [(0, 1, 2), (1, 2, 1),
                                                 (2, 0, 1)]
  assert confusion.pairs(_LABEL, _LABEL) == []


def test_figures_of_each_class():
  found = per_class.figures(_LABEL, _PREDICTED, _NAMES)
  assert [(one.name, one.examples, one.predicted, one.correct)
          for one in found] == [
              ('ant', 3, 2, 1), ('bee', 4, 5, 3), ('cat', 3, 3, 2),
              ('dog', 0, 0, 0)]
  assert [one.recall for one in found] == [1 / 3, 3 / 4, 2 / 3, None]
  assert [one.precision for one in found] == [1 / 2, 3 / 5, 2 / 3, None]
  assert per_class.mean_accuracy(found) == pytest.approx(
      (1 / 3 + 3 / 4 + 2 / 3) / 3)


def test_calibration_error_of_ten_examples():
  bins = calibration.bins(_PROBABILITY, _CORRECT)
  assert len(bins) == 15
  # Bins of 1/15: .5 is in (7/15, 8/15], .55 and .6 = 9/15 in (8/15, 9/15], .65
  # in (9/15, 10/15], .7 in (10/15, 11/15], .9 and .92 in (13/15, 14/15], .95
  # and 1 in the last.
  filled = {number: (one.examples, one.confidence, one.accuracy)
            for number, one in enumerate(bins) if one.examples}
  expected = {7: (2, .5, .5), 8: (2, .575, .5), 9: (1, .65, 0), 10: (1, .7, 0),
              13: (2, .91, 1), 14: (2, .975, 1)}
  assert filled.keys() == expected.keys()
  for number, values in expected.items():
    assert filled[number] == pytest.approx(values), number
  assert calibration.error(bins) == pytest.approx(
      (2 * 0 + 2 * .075 + .65 + .7 + 2 * .09 + 2 * .025) / 10)


def test_a_bin_holds_its_upper_end():
  ends = np.arange(16) / 15
  bins = calibration.bins(ends, np.ones(16, bool))
  assert [one.examples for one in bins] == [2] + [1] * 14  # 0 is in the first.


def test_the_best_temperature_of_two_classes_in_closed_form():
  """A gap of g between two logits is right in a share a of the examples: the
  best confidence is a, and sigmoid(g / t) = a for t = g / log(a / (1 - a))."""
  gap, right, count = 5.0, 80, 100
  logits = np.tile(np.array([[gap, 0]], np.float32), (count, 1))
  labels = np.where(np.arange(count) < right, 0, 1)
  expected = gap / math.log(right / (count - right))
  for loss in ('softmax', 'sigmoid'):  # A logit of 0 always says 1/2.
    found = temperature.fit(logits, labels, loss)
    assert found == pytest.approx(expected, rel=1e-9)
  assert temperature.top_probability(
      logits / expected, 'softmax') == pytest.approx([.8] * count)


def _mean_loss(logits, labels, t, loss):
  """The mean loss at a temperature, in the plainest way."""
  values = logits.astype(np.float64) / t
  if loss == 'softmax':
    probability = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    return -np.log(probability[np.arange(len(labels)), labels]).mean()
  # Each class is answered right with probability 1 / (1 + exp(-answer)).
  answer = np.where(np.eye(values.shape[1])[labels] > 0, values, -values)
  return np.log1p(np.exp(-answer)).mean()


@pytest.mark.parametrize('loss', ['softmax', 'sigmoid'])
@pytest.mark.parametrize('scale', [1.0, 4.0])
def test_the_best_temperature_against_a_grid(loss, scale):
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 5, 5000)  # Two parts of the rows.
  logits = rng.normal(size=(5000, 5)) + 2 * np.eye(5)[labels]
  logits = (scale * logits).astype(np.float32)
  grid = np.exp(np.linspace(np.log(0.3), np.log(30), 600))
  losses = [_mean_loss(logits, labels, t, loss) for t in grid]
  best = grid[np.argmin(losses)]
  found = temperature.fit(logits, labels, loss)
  assert found == pytest.approx(best, rel=grid[1] / grid[0] - 1)
  assert _mean_loss(logits, labels, found, loss) <= min(losses)
  for t in (0.5, 1, 3):
    assert temperature.slope(logits, labels, 1 / t, loss).loss == pytest.approx(
        _mean_loss(logits, labels, t, loss), rel=1e-6)


@pytest.mark.parametrize('loss', ['softmax', 'sigmoid'])
def test_slopes_are_those_of_the_loss(loss):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(50, 4)).astype(np.float32) * 3
  labels, step = rng.integers(0, 4, 50), 1e-4
  low, here, high = (temperature.slope(logits, labels, factor, loss)
                     for factor in (0.7 - step, 0.7, 0.7 + step))
  assert here.first == pytest.approx(
      (high.loss - low.loss) / (2 * step), rel=1e-5)
  assert here.second == pytest.approx(
      (high.first - low.first) / (2 * step), rel=1e-5)


def test_a_temperature_without_a_best_value_is_at_a_bound():
  logits = np.array([[3, 0], [0, 2]], np.float32)
  assert temperature.fit(logits, np.array([0, 1]), 'softmax') == 0.01
  assert temperature.fit(logits, np.array([1, 0]), 'softmax') == 100


def test_probabilities_of_both_losses():
  logits = np.array([[1000, 0, 999], [-2, -1, -3]], np.float32)
  np.testing.assert_allclose(
      temperature.top_probability(logits, 'softmax'),
      [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-1) + math.exp(-2))])
  np.testing.assert_allclose(temperature.top_probability(logits, 'sigmoid'),
                             [1, 1 / (1 + math.exp(1))])


def test_all_figures_together():
  count = len(_LABEL)
  examples = Examples(
      np.arange(count), _LABEL, _PREDICTED, _PROBABILITY,
      np.linspace(0.1, 1, count), _CORRECT, np.ones(count, bool),
      np.array([12]), {'margin': np.arange(10.)}, None)
  found = {**examples_lib.sums(examples, len(_NAMES)),
           **figures.of(examples, _NAMES)}
  assert (found['accuracy'], found['examples'], found['skipped_images']) == (
      .6, 10, 1)
  assert found['loss'] == pytest.approx(.55) and found['margin'] == 4.5
  assert 'top5_accuracy' not in found  # Of 4 classes.
  assert found['confidence'] == pytest.approx(_PROBABILITY.mean())
  assert found['confused'][0] == {
      'label': 'ant', 'predicted': 'bee', 'examples': 2, 'of': 3}
  assert [one['accuracy'] for one in found['classes']] == [
      one['recall'] for one in found['classes']]
  assert found['skipped_examples'] == [12]


def _open(content):
  return Image.open(io.BytesIO(content)).convert('RGB')


def test_a_confusion_is_as_dark_as_its_share():
  matrix = np.zeros((50, 50), int)  # More classes than have names.
  matrix[3] = np.eye(50)[3] * 10
  matrix[4, 7] = matrix[4, 4] = 5
  picture = _open(charts.confusion_png(matrix, [str(i) for i in range(50)]))
  cell, start = 1000 // 50, 36
  center = lambda row, column: picture.getpixel(
      (start + column * cell + cell // 2, start + row * cell + cell // 2))
  dark, white = (8, 48, 107), (255, 255, 255)
  assert center(3, 3) == dark and center(0, 0) == white
  half = tuple(round(255 - (255 - c) / 2) for c in dark)
  for place in ((4, 7), (4, 4)):
    assert np.abs(np.subtract(center(*place), half)).max() <= 1
  assert center(7, 4) == white


@pytest.mark.parametrize('classes', [2, 40, 41, 1500])
def test_confusions_of_any_number_of_classes_are_drawn(classes):
  matrix = np.eye(classes, dtype=int) * 12345
  picture = _open(charts.confusion_png(matrix, ['a name'] * classes))
  assert max(picture.size) < 1700


def test_bars_of_the_calibration_end_at_their_accuracies():
  bins = calibration.bins(np.array([.95, .97, .99, .98]),
                          np.array([True, True, True, False]))
  picture = _open(charts.calibration_png(bins, 0.2))
  x = 60 + 5 + int(420 * 14 / 15)  # In the bar of the last bin.
  blue = [y for y in range(picture.height)
          if picture.getpixel((x, y)) == (66, 116, 176)]
  assert blue and abs(blue[0] - (40 + .25 * 420)) <= 3 and blue[-1] >= 455
