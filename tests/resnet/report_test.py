"""What a run prints."""
import pytest

from resnet.run.screen import report


def _records(*waits):
  return [{'step': i, 'input_wait_fraction': wait} if wait is not None else
          {'step': i} for i, wait in enumerate(waits)]


@pytest.mark.parametrize('waits', [
    (), (0.5, 0.5), (0.5, 0.1, 0.5), (0.5, 0.5, 0.5, 0.05), (0.1, 0.2, 0.3),
    (None, 0.5, 0.5)])
def test_waiting_now_and_then_is_not_reported(waits):
  assert report.input_wait_text(_records(*waits)) is None


@pytest.mark.parametrize('waits, least', [
    ((0.11, 0.5, 0.9), '11%'), ((0.0, 0.0, 0.42, 0.5, 0.9), '42%')])
def test_waiting_repeatedly_is_reported_with_what_to_do(waits, least):
  text = report.input_wait_text(_records(*waits))
  assert f'at least {least} of the time was spent waiting' in text
  assert 'python -m pipelines.benchmark' in text


def test_an_evaluation_says_how_many_it_counted():
  values = {'accuracy': 0.25, 'loss': 1.5, 'examples': 11}
  assert report.values_text(values) == (
      'accuracy 0.2500, loss 1.5000, 11 examples counted')
  assert report.values_text(
      {**values, 'top5_accuracy': 0.75, 'skipped_images': 2}) == (
          'accuracy 0.2500, top-5 0.7500, loss 1.5000, 11 examples counted, 2 '
          'bad images skipped')
  assert report.evaluation_text(40, {**values, 'skipped_images': 2}) == (
      'step 40  evaluated 11 examples: accuracy 0.2500, loss 1.5000, 2 bad '
      'images skipped')


_TWO = {'workers': 1, 'devices': ['CPU:0', 'CPU:1']}
_FOUR = {'workers': 2, 'devices': ['CPU:0', 'CPU:1']}


def test_a_move_to_other_devices_names_both():
  assert report.moved_text(_TWO, _FOUR) == (
      'continuing on CPU:0, CPU:1 of each of 2 workers (before: CPU:0, CPU:1): '
      'batches and evaluations stay the same, but sums are rounded in another '
      'order')


def test_a_move_that_changes_batch_norm_says_so():
  """64 images over 2 and 4 replicas; over 2 of one process and of two."""
  text = report.moved_text(_TWO, _FOUR, norm_batch=64)
  assert ('batch norm normalizes over 16 images at a time instead of 32, which '
          'can change results (config.model.sync_batch_norm=true') in text
  assert text.endswith('and sums are rounded in another order')
  workers = {'workers': 2, 'devices': ['CPU:0']}
  assert 'norm' not in report.moved_text(_TWO, workers, norm_batch=64)


def test_devices_that_are_not_known_are_not_guessed_at():
  assert report.moved_text(None, _FOUR) == (
      'continuing on CPU:0, CPU:1 of each of 2 workers: what it was trained on '
      'before is not known, so that sums may be rounded in another order')
  assert report.moved_text(None, _FOUR, norm_batch=64).endswith(
      ', and batch norm may normalize over other shares of the batch')
