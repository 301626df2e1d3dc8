"""An evaluation counts and sees every example once, and stops when asked."""
import numpy as np
import pytest

from resnet import network
from resnet.evaluation import evaluator
from resnet.evaluation.seen import Seen
from tests.resnet import small_runs, strategies


def _evaluate(config, replicas, source):
  """Returns (model, state, evaluator.Evaluate) with fresh weights."""
  strategy = strategies.on_cpus(replicas)
  model, state = network.build(config, strategy, source)
  return model, state, evaluator.Evaluate(
      config, strategy, model, state, source, jit='false', keeps_seen=True)


@pytest.mark.parametrize('replicas, batch', [
    (1, 4), (2, 4), (3, 4), (3, 500), (2, 6), (1, 10)])
def test_each_example_counts_once(replicas, batch):
  source = small_runs.random_source(11, classes=7)
  model, state, evaluate = _evaluate(
      small_runs.config(eval_batch=batch), replicas, source)
  values = evaluate()

  images = source.images.numpy().astype(np.float32)
  x = (images - state.mean.numpy()) / state.stddev.numpy()
  loss, correct, top5, losses = 0.0, 0, 0, []
  confusion = np.zeros((7, 7))
  for logits, label in zip(
      model({'image': x}, training=False).numpy().astype(float),
      source.labels.numpy(), strict=True):
    losses.append(np.log(np.exp(logits).sum()) - logits[label])
    loss += losses[-1]
    confusion[label, logits.argmax()] += 1
    rank = list(np.argsort(-logits)).index(label)
    correct, top5 = correct + (rank < 1), top5 + (rank < 5)
  assert values['examples'] == 11
  assert values['accuracy'] == pytest.approx(correct / 11, abs=1e-7)
  assert values['top5_accuracy'] == pytest.approx(top5 / 11, abs=1e-7)
  assert values['loss'] == pytest.approx(loss / 11, rel=1e-5)
  evaluate()  # What is seen is that of one pass.
  seen = evaluate.seen()
  np.testing.assert_array_equal(seen.confusion, confusion)
  assert [one.index for one in seen.worst] == np.argsort(losses)[::-1].tolist()


def test_a_request_to_stop_ends_the_evaluation_without_values():
  _, _, evaluate = _evaluate(
      small_runs.config(), 2, small_runs.random_source(11))
  assert evaluate(lambda: 'SIGTERM') is None


def _rows(losses, labels=None, predicted=0, counts=1, top=0.0, log_sum=0.0):
  """Returns rows of eval_steps.COLUMNS, as an evaluation step makes them."""
  columns = np.broadcast_arrays(
      counts, labels or [0] * len(losses), predicted, top, log_sum, losses)
  return np.stack(columns, 1).astype(np.float32)


def test_the_worst_are_those_with_the_largest_loss_the_first_of_equal_ones():
  seen = Seen(classes=3, loss='softmax')
  seen.add(np.arange(20, 40), _rows([1.0] * 20))
  seen.add(np.arange(20), _rows([1.0] * 5 + [3.0, np.nan, 2.0] + [1.0] * 12))
  assert [one.index for one in seen.worst] == [
      6, 5, 7, *range(5), *range(8, 16)]
  assert [one.loss for one in seen.worst[1:4]] == [3.0, 2.0, 1.0]
  seen.clear()
  assert not seen.worst and not seen.confusion.any()


def test_padding_and_skipped_pictures_are_not_seen():
  seen = Seen(classes=3, loss='softmax')
  seen.add(np.arange(4), _rows(
      [1.0, 9.0, np.nan, 2.0], [0, 1, 2, 1], 2, [1, 0, 0, 1]))
  assert [one.index for one in seen.worst] == [3, 0]
  assert seen.confusion.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize('loss, expected', [
    ('softmax', 3 / 8), ('sigmoid', 3 / 4)])
def test_the_probability_follows_from_the_logits_as_the_loss_takes_them(
    loss, expected):
  """The largest logit is ln 3, and the exponentials add up to 8."""
  seen = Seen(classes=3, loss=loss)
  seen.add(np.arange(1), _rows([1.0], top=np.log(3), log_sum=np.log(8)))
  assert seen.worst[0].probability == pytest.approx(expected, rel=1e-6)


def test_too_many_classes_have_no_confusion_matrix():
  seen = Seen(classes=100_000, loss='softmax')
  seen.add(np.arange(2), _rows([1.0, 2.0], [99_999, 5], 70_000))
  assert seen.confusion is None
  assert [(one.label, one.predicted) for one in seen.worst] == [
      (5, 70_000), (99_999, 70_000)]
