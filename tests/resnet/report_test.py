"""What a run says in words."""
import pytest

from resnet.run import report


def _records(*waits):
  return [{'step': i, 'input_wait_fraction': wait} if wait is not None else
          {'step': i} for i, wait in enumerate(waits)]


@pytest.mark.parametrize('waits', [
    (), (0.5, 0.5), (0.5, 0.1, 0.5), (0.5, 0.5, 0.5, 0.05), (0.1, 0.2, 0.3),
    (None, 0.5, 0.5)])
def test_waiting_now_and_then_is_no_news(waits):
  assert report.input_wait_text(_records(*waits)) is None


@pytest.mark.parametrize('waits, least', [
    ((0.11, 0.5, 0.9), '11%'), ((0.0, 0.0, 0.42, 0.5, 0.9), '42%')])
def test_waiting_again_and_again_is_told_with_what_to_do(waits, least):
  text = report.input_wait_text(_records(*waits))
  assert f'at least {least} of the time' in text
  assert 'python -m pipelines.benchmark' in text


def test_an_evaluation_says_how_many_it_counted():
  values = {'accuracy': 0.25, 'loss': 1.5, 'examples': 11}
  assert report.values_text(values) == (
      'accuracy 0.2500, loss 1.5000, 11 examples counted')
  assert report.values_text(
      {**values, 'top5_accuracy': 0.75, 'skipped_images': 2}) == (
          'accuracy 0.2500, top-5 0.7500, loss 1.5000, 11 examples counted, 2 '
          'skipped as bad')
