"""The rate drops and the run ends after evaluations that bring nothing new."""
import math

import pytest

from configs import schema
from resnet.optimization import monitor


def _watch(values, **settings):
  """Returns (scale of the rate, whether to end) after each evaluation."""
  settings, seen, scale, after = schema.Monitor(**settings), (0,) * 4, 1.0, []
  for step, value in enumerate(values, 1):
    seen, scale = monitor.after(seen, scale, step, value, settings)
    after.append((scale, monitor.ends(seen, settings)))
  return after


def test_the_rate_drops_after_each_plateau():
  #         best  1    2    best 1    2    1    2
  values = [0.5, 0.5, 0.4, 0.6, 0.1, 0.2, 0.3, 0.6]
  assert [scale for scale, _ in _watch(
      values, plateau_evals=2, plateau_factor=0.5)] == [
          1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_the_run_ends_after_evaluations_without_a_new_best():
  values = [0.5, 0.4, 0.6, 0.6, 0.1, 0.2]
  assert [ends for _, ends in _watch(values, stop_evals=3)] == [
      False, False, False, False, False, True]
  # Drops of the rate do not start the count anew.
  assert _watch(values, stop_evals=3, plateau_evals=1)[-1][1]
  assert not any(ends for _, ends in _watch([0.0] * 50))


@pytest.mark.parametrize('metric, values', [
    ('loss', [2.0, 1.0, 0.5, 0.25]), ('accuracy', [0.1, 0.2, 0.3, 0.4])])
def test_losses_are_better_when_they_are_smaller(metric, values):
  def count(values):
    return _watch(values, metric=metric, plateau_evals=1)[-1][0]

  assert count(values) == 1
  assert count(values[::-1]) == pytest.approx(1e-3)


def test_nan_is_no_new_best():
  assert _watch([0.5, math.nan], metric='loss', stop_evals=1)[-1][1]


def test_an_evaluation_counts_once():
  settings = schema.Monitor(plateau_evals=1, plateau_factor=0.5)
  first = monitor.after((0,) * 4, 1.0, 10, 0.5, settings)
  second = monitor.after(first[0], first[1], 20, 0.4, settings)
  assert second[1] == 0.5
  assert monitor.after(*second, 20, 0.4, settings) == second
  assert monitor.after(*second, 30, 0.4, settings)[1] == 0.25
