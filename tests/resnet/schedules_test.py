"""Learning rates by hand, at some steps and on both sides of each boundary."""
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from resnet.optimization import schedules


def _rates(steps, total_steps, warmup_steps=0, **schedule):
  schedule = schema.Schedule(**schedule)
  return [
      schedules.learning_rate(
          tf.constant(step, tf.int64), schedule, total_steps=total_steps,
          warmup_steps=warmup_steps).numpy()
      for step in steps]


def _check(rates, total_steps, warmup_steps=0, **schedule):
  """Checks the rates at some steps, {step: rate}."""
  np.testing.assert_allclose(
      _rates(rates, total_steps, warmup_steps, **schedule),
      list(rates.values()), rtol=1e-6, atol=1e-12)


def test_constant_stays_at_the_peak():
  _check({0: 0.3, 1: 0.3, 99: 0.3}, 100, name='constant', peak=0.3)


@pytest.mark.parametrize('name', ['constant', 'step', 'cosine', 'polynomial'])
def test_warmup_rises_linearly_to_the_peak(name):
  # The first update already has 1/4 of the peak; then come 2/4, 3/4 and 4/4.
  # After that, each schedule starts from its peak.
  _check({0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.4}, 100, 4, name=name, peak=0.4)


@pytest.mark.parametrize('name', ['constant', 'step', 'cosine', 'polynomial'])
def test_warmup_of_one_update_starts_at_the_peak(name):
  _check({0: 0.4}, 100, 1, name=name, peak=0.4)


def test_warmup_longer_than_the_run_ends_below_the_peak():
  _check({0: 0.04, 4: 0.2}, 5, 10, name='cosine', peak=0.4)


def test_step_drops_exactly_at_its_shares():
  drops = dict(name='step', peak=2.0, drop_factors=(0.1,), drops_at=(0.5, 0.75))
  _check({0: 2, 49: 2, 50: 0.2, 74: 0.2, 75: 0.02, 99: 0.02}, 100, **drops)


def test_step_warmup_does_not_move_the_drops():
  drops = dict(name='step', peak=2.0, drop_factors=(0.5,), drops_at=(0.25, 0.5))
  _check({9: 2, 10: 2, 24: 2, 25: 1, 49: 1, 50: 0.5}, 100, 10, **drops)


def test_step_drop_during_the_warmup_applies_after_it():
  drops = dict(name='step', peak=2.0, drop_factors=(0.5,), drops_at=(0.1,))
  _check({10: 1.1, 19: 2, 20: 1}, 100, 20, **drops)


def test_step_without_drops_stays_at_the_peak():
  _check({0: 2, 99: 2}, 100, name='step', peak=2.0, drops_at=())


@pytest.mark.parametrize('total_steps, shares, drops', [
    (64_000, (32 / 64, 48 / 64), [32_000, 48_000]),  # He et al. 2015.
    # 90 epochs of ImageNet at 1024 images: a third is 37,534.3.
    (112_603, (30 / 90, 60 / 90, 80 / 90), [37_534, 75_069, 100_092]),
    # float32 cannot tell these steps from their neighbours.
    (10**9, (0.5,), [500_000_000]),
])
def test_step_drops_exactly_in_long_runs(total_steps, shares, drops):
  rates = {}
  for number, step in enumerate(drops):
    rates |= {step - 1: 0.1**number, step: 0.1**(number + 1)}
  _check(rates, total_steps, name='step', peak=1.0, drop_factors=(0.1,),
         drops_at=shares)


def test_cosine_falls_from_the_peak_to_zero():
  # (1 + cos 45 degrees) / 2 = 0.8535534; halfway down after half the run.
  _check({0: 0.2, 25: 0.17071068, 50: 0.1, 75: 0.02928932,
          99: 0.0000493440, 100: 0, 101: 0}, 100, name='cosine', peak=0.2)


def test_cosine_ends_at_its_end():
  # end + (peak - end) * share = 0.04 + 0.16 * share
  _check({0: 0.2, 25: 0.17656854, 50: 0.12, 100: 0.04, 150: 0.04}, 100,
         name='cosine', peak=0.2, end=0.04)


def test_cosine_falls_over_the_updates_after_the_warmup():
  _check({19: 0.2, 20: 0.2, 40: 0.17071068, 60: 0.1, 80: 0.02928932}, 100, 20,
         name='cosine', peak=0.2)


@pytest.mark.parametrize('power, rates', [
    (1.0, {0: 0.4, 2: 0.3, 4: 0.2, 7: 0.05, 8: 0, 9: 0}),
    (2.0, {0: 0.4, 2: 0.225, 4: 0.1, 6: 0.025, 8: 0}),
    (0.5, {0: 0.4, 6: 0.2, 8: 0}),  # The root of a quarter is a half.
])
def test_polynomial_falls_from_the_peak_to_zero(power, rates):
  _check(rates, 8, name='polynomial', peak=0.4, power=power)


def test_polynomial_ends_at_its_end():
  _check({0: 0.4, 2: 0.325, 4: 0.25, 8: 0.1, 9: 0.1}, 8,
         name='polynomial', peak=0.4, end=0.1)


def test_polynomial_falls_over_the_updates_after_the_warmup():
  _check({0: 0.2, 1: 0.4, 2: 0.4, 4: 0.3, 6: 0.2, 9: 0.05}, 10, 2,
         name='polynomial', peak=0.4)


@pytest.mark.parametrize('name', ['constant', 'step', 'cosine', 'polynomial'])
def test_rate_is_a_float32_scalar(name):
  (rate,) = _rates([7], 100, 10, name=name)
  assert (rate.dtype, rate.shape) == (np.float32, ())


def test_step_may_be_symbolic():
  schedule = schema.Schedule(name='step', peak=2.0, drop_factors=(0.5,),
                             drops_at=(0.5,))

  @tf.function(input_signature=[tf.TensorSpec([], tf.int64)])
  def rate(step):
    return schedules.learning_rate(
        step, schedule, total_steps=8, warmup_steps=2)

  assert [float(rate(step)) for step in range(8)] == [1, 2, 2, 2, 1, 1, 1, 1]


def test_unknown_schedule_is_an_error():
  with pytest.raises(ValueError, match="Unknown schedule 'exponential'"):
    _rates([0], 100, name='exponential')


def test_each_drop_has_a_factor_of_its_own():
  drops = dict(name='step', peak=2.0, drop_factors=(0.5, 0.1),
               drops_at=(0.25, 0.5))
  rates = [float(schedules.learning_rate(
      tf.constant(step, tf.int64), schema.Schedule(**drops), total_steps=8,
      warmup_steps=0)) for step in range(8)]
  np.testing.assert_allclose(rates, [2, 2, 1, 1, .1, .1, .1, .1], rtol=1e-6)


@pytest.mark.parametrize('batch, for_batch, peak, end', [
    (1024, 256, 0.4, 0.04), (64, 256, 0.025, 0.0025), (1024, 0, 0.1, 0.01)])
def test_rates_scale_with_the_batch(batch, for_batch, peak, end):
  scaled = schedules.scaled(schema.Schedule(
      peak=0.1, end=0.01, peak_batch=for_batch), batch)
  np.testing.assert_allclose((scaled.peak, scaled.end), (peak, end))


@pytest.mark.parametrize('rate, scale, floor, expected', [
    (0.2, 1.0, 0.5, 0.2),  # Nothing has reduced it.
    (0.2, 0.5, 0.0, 0.1), (0.2, 0.5, 0.15, 0.15),
    (0.2, 0.5, 0.3, 0.2),  # The floor does not raise the schedule's rate.
])
def test_a_reduced_rate_has_a_floor(rate, scale, floor, expected):
  np.testing.assert_allclose(schedules.reduced(
      tf.constant(rate), tf.constant(scale), floor), expected, rtol=1e-6)
