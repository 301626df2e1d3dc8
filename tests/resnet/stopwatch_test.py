"""Every second of a run belongs to one activity, or to training."""
import pytest

from resnet.run.measures import stopwatch


@pytest.fixture
def watch(clock):
  return stopwatch.Stopwatch(clock)


def _spend(watch, clock, name, seconds):
  with watch.activity(name):
    clock.now += seconds


def test_activities_add_up(watch, clock):
  _spend(watch, clock, 'evaluation', 2)
  _spend(watch, clock, 'checkpoints', 1)
  clock.now += 10
  _spend(watch, clock, 'evaluation', 3)
  watch.add('start_up', 4)
  assert watch.seconds == {'start_up': 4, 'evaluation': 5, 'checkpoints': 1,
                           'input_wait': 0}
  assert watch.total() == 16


def test_an_activity_that_raises_is_counted(watch, clock):
  with pytest.raises(KeyboardInterrupt):
    with watch.activity('evaluation'):
      clock.now += 2
      raise KeyboardInterrupt
  assert watch.seconds['evaluation'] == 2


@pytest.mark.parametrize('name', ['evaluating', 'training'])
def test_unknown_activities_are_refused(watch, name):
  with pytest.raises(KeyError, match=name):
    watch.add(name, 1)


def test_laps_count_only_training(watch, clock):
  _spend(watch, clock, 'start_up', 5)
  clock.now += 10
  watch.add('input_wait', 2)  # Within those ten.
  _spend(watch, clock, 'checkpoints', 1)
  lap = watch.lap()
  assert lap == (10, 2, 0, 1) and lap.seconds == 11

  clock.now += 4
  _spend(watch, clock, 'evaluation', 8)
  clock.now += 2
  watch.add('input_wait', 1)
  lap = watch.lap()
  assert lap == (6, 1, 8, 0) and lap.seconds == 14

  assert watch.lap() == (0, 0, 0, 0)


def test_shares_are_of_all_time_since_the_start(watch, clock):
  _spend(watch, clock, 'start_up', 1)
  clock.now += 10
  watch.add('input_wait', 2)
  _spend(watch, clock, 'evaluation', 5)
  watch.lap()
  _spend(watch, clock, 'checkpoints', 4)
  # Waiting for input is a part of training: the other four make up the whole.
  assert watch.shares() == pytest.approx({
      'start_up': 0.05, 'evaluation': 0.25, 'checkpoints': 0.2,
      'input_wait': 0.1, 'training': 0.5})


def test_shares_when_no_time_has_passed(watch):
  assert watch.shares() == {
      'start_up': 0, 'evaluation': 0, 'checkpoints': 0, 'input_wait': 0,
      'training': 1}
