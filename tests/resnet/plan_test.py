"""Epochs become steps by exact arithmetic; all numbers are by hand."""
import math

import pytest

from configs import schema
from resnet import plan


def _config(global_batch, **fields):
  return schema.Config(global_batch=global_batch, **fields)


def _due(every, steps):
  return [step for step in range(steps + 1) if every.due(step)]


@pytest.mark.parametrize('epochs, train_size, global_batch, steps', [
    (30, 1437, 64, 674),  # 43,110 / 64 = 673.6
    (200, 50_000, 128, 78_125),  # Exactly.
    (90, 1_281_167, 1024, 112_603),  # 112,602.6
    (1, 10, 16, 1),
    (0.5, 10, 5, 1),
    (0.1, 1000, 10, 10),  # The float 0.1 is more than 1/10.
    (5 / 3, 300, 1, 500),  # The float is more than 5/3,
    (1 / 3, 300, 1, 100),  # and this one less than 1/3.
])
def test_total_steps_of_epochs(epochs, train_size, global_batch, steps):
  config = _config(global_batch, train_epochs=epochs)
  assert plan.total_steps(config, train_size) == steps


def test_train_steps_are_the_total():
  assert plan.total_steps(_config(128, train_steps=64_000), 50_000) == 64_000


@pytest.mark.parametrize('epochs, train_size, global_batch, steps', [
    (0, 50_000, 128, 0),
    (1, 50_000, 128, 391),  # 390.6
    (5, 1_281_167, 1024, 6256),  # 6255.7
    (0.5, 60_000, 128, 235),  # 234.4
    (0.1, 1000, 10, 10),
])
def test_warmup_steps(epochs, train_size, global_batch, steps):
  config = _config(
      global_batch, schedule=schema.Schedule(warmup_epochs=epochs))
  assert plan.warmup_steps(config, train_size) == steps


@pytest.mark.parametrize('step, epoch', [(0, 0), (5, 0.5), (10, 1), (25, 2.5)])
def test_epoch_is_passes_over_the_data(step, epoch):
  assert plan.epoch(step, _config(4), 40) == epoch


@pytest.mark.parametrize('period, steps', [
    (3, [3, 6, 9, 12]), (1, list(range(1, 13))), (12, [12]), (13, []), (0, [])])
def test_every_steps_is_due_at_multiples(period, steps):
  assert _due(plan.every_steps(period), 12) == steps


@pytest.mark.parametrize('epochs, train_size, global_batch, steps', [
    (1, 10, 4, [3, 5, 8, 10, 13, 15]),  # 2.5 5 7.5 10 12.5 15
    (2, 10, 4, [5, 10, 15]),
    (0.1, 100, 2, [5, 10, 15]),
    (1 / 3, 12, 1, [4, 8, 12]),
    (1, 4, 6, list(range(1, 16))),  # Two epochs end in one step: due once.
    (0, 10, 4, []),
])
def test_every_epochs_is_due_once_an_epoch_is_over(
    epochs, train_size, global_batch, steps):
  every = plan.every_epochs(epochs, _config(global_batch), train_size)
  assert _due(every, 15) == steps


@pytest.mark.parametrize('train_size, global_batch', [
    (10, 4), (12, 4), (7, 5), (4, 6), (1437, 64), (97, 89)])
def test_after_agrees_with_counting_epochs(train_size, global_batch):
  every = plan.every_epochs(1, _config(global_batch), train_size)
  # Step s ends an epoch if there is a multiple of the size within its batch.
  ends = [s for s in range(1, 400)
          if s * global_batch // train_size
          > (s - 1) * global_batch // train_size]
  assert _due(every, 399) == ends
  for step in range(300):
    assert every.after(step) == min(end for end in ends if end > step)


def test_plan_is_exact_after_many_steps():
  every = plan.every_epochs(1, _config(128), 50_000)  # Each 390.625 updates.
  millionth = 390_625_000
  assert every.due(millionth)
  assert every.after(millionth) == millionth + 391
  assert not every.due(millionth + 1)


def test_never_is_after_everything():
  assert plan.every_steps(0).after(10) == math.inf


@pytest.mark.parametrize('steps, seconds, most, next_steps', [
    (1, 0.001, 100, 2),  # Doubles at most,
    (64, 0.064, 100, 100),  # up to the most,
    (10, 0.1, 5, 5),
    (10, 0.8, 100, 12),  # 80 ms each: 12 of them take a second.
    (10, 2.5, 100, 4),  # 250 ms each.
    (10, 40.0, 100, 1),  # At least one.
    (3, 0.0, 100, 6),  # The clock did not move.
])
def test_next_call_takes_about_a_second(steps, seconds, most, next_steps):
  assert plan.steps_of_next_call(steps, seconds, most) == next_steps


@pytest.mark.parametrize('step, size, end', [
    # 10 steps in three parts: they end at 10/3 and 20/3, rounded up.
    (0, 128, 4), (3, 128, 4), (4, 160, 7), (6, 160, 7), (7, 224, 10),
    (9, 224, 10)])
def test_sizes_have_equal_shares_of_the_run(step, size, end):
  assert plan.phase(step, (128, 160, 224), 10) == (size, end)


def test_the_last_sizes_are_left_out_if_there_are_more_than_steps():
  assert [plan.phase(step, (1, 2, 3), 2) for step in (0, 1)] == [(1, 1), (2, 2)]


@pytest.mark.parametrize('steps, words', [
    # 64 examples in batches of 32: the warm-up of 1.5 epochs is 3 steps.
    (2, 'config.schedule.warmup_epochs=1.5 is 3 steps, longer than the run of '
     '2: the learning rate will not reach its peak.'),
    (3, None),
])
def test_a_warm_up_longer_than_the_run_is_warned_of(steps, words):
  config = schema.Config(
      train_steps=steps, global_batch=32,
      schedule=schema.Schedule(warmup_epochs=1.5))
  assert plan.warning(config, 64) == words


@pytest.mark.parametrize('epochs, steps, train_size, words', [
    # 90 * 270 / 1024 is 23.7; the root of 270 is 16.4.
    (90, 0, 270, 'config.global_batch=1024 is larger than the training split '
     '(examples: 270): an update sees some images several times, and the run '
     'has 24 updates; give --config.global_batch=16, say.'),
    # 100 updates of 8 images are 16 passes over 50.
    (1, 0, 50, 'config.global_batch=1024 is larger than the training split '
     '(examples: 50): an update sees some images several times, and the run '
     'has 1 update; give --config.global_batch=8 --config.train_epochs=16, '
     'say.'),
    (0, 5, 1023, 'config.global_batch=1024 is larger than the training split '
     '(examples: 1023): an update sees some images several times, and the run '
     'has 5 updates; give --config.global_batch=32, say.'),
    (0, 5, 1024, None),  # As many updates as were asked for.
    (99, 0, 1024, 'the run has only 99 updates of 1024 images '
     '(config.train_epochs=99 passes over 1024), too few to learn much; give '
     '--config.global_batch=32, say.'),
    (100, 0, 1024, None)])
def test_batches_that_are_too_large_are_warned_of(
    epochs, steps, train_size, words):
  config = _config(1024, train_epochs=float(epochs), train_steps=steps)
  assert plan.warning(config, train_size) == words


def test_more_epochs_are_advised_if_the_batch_is_small():
  # 10 passes over 64 images are 80 updates of 8.
  assert '; give --config.train_epochs=13, say.' in (
      plan.warning(_config(8, train_epochs=10.0), 64) or '')
