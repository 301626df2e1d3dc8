"""What a log point says of time, memory and compiling, by hand."""
import types

import numpy as np
import pytest
import tensorflow as tf

from resnet.run.events import tags
from resnet.run.measures import compilations, log_point, memory
from resnet.run.measures.step_times import StepTimes
from resnet.run.measures.stopwatch import Stopwatch


@pytest.mark.parametrize('name, tag, of_machine', [
    ('loss', 'quality/loss', False),
    ('margin', 'quality/margin', False),  # A recipe's own metric.
    ('epoch', 'optimizer/epoch', False),
    ('learning_rate_stage1', 'optimizer/learning_rate_stage1', False),
    ('step_milliseconds_p99', 'speed/step_milliseconds_p99', True),
    ('host_memory_gib', 'system/host_memory_gib', True),
    ('compilations', 'system/compilations', True)])
def test_every_figure_has_a_group(name, tag, of_machine):
  assert tags.tag(name) == tag
  assert tags.is_of_machine(name) == of_machine


def test_the_time_of_a_line_is_of_the_machine():
  assert tags.is_of_machine('time') and not tags.is_of_machine('step')


def test_quantiles_weigh_a_call_by_its_updates():
  times = StepTimes()
  times.add(1, 1.0)  # A second for one update.
  times.add(98, 196.0)  # Two for each of 98.
  times.add(1, 9.0)
  # In order: 1 update of 1 s, 98 of 2 s, 1 of 9 s.
  assert times.quantile(0.01) == 1
  assert times.quantile(0.5) == 2
  assert times.quantile(0.99) == 2
  assert times.quantile(0.991) == times.quantile(1) == 9


def test_without_a_call_there_is_no_quantile():
  times = StepTimes()
  assert not times
  times.add(2, 1.0)
  assert times
  times.reset()
  assert not times
  with pytest.raises(ValueError):
    times.quantile(0.5)


@pytest.fixture
def no_calls(monkeypatch):
  """As in a process that has compiled nothing yet."""
  monkeypatch.setattr(compilations, '_calls', [])


def test_calls_that_trace_are_counted_with_their_time(clock, no_calls):
  def function(value):  # Runs while it is traced.
    clock.now += 10
    return value + 1

  timed = compilations.Timed(tf.function(function, autograph=False), clock)
  assert compilations.figures() == {'compilations': 0, 'compile_secs': 0}
  for _ in range(3):
    assert timed(tf.constant(2.0)).numpy() == 3
  assert compilations.figures() == {'compilations': 1, 'compile_secs': 10}
  timed(tf.constant([2.0]))  # Another shape.
  assert compilations.figures() == {'compilations': 2, 'compile_secs': 20}


def test_the_memory_of_this_process_is_measured():
  before = memory.figures(['/device:CPU:0'])
  block = np.ones(2**28, np.uint8)  # 0.25 GiB, written to.
  unused = np.empty(2**31, np.uint8)  # Takes addresses, and no RAM.
  after = memory.figures(['/device:CPU:0'])
  assert before.keys() == after.keys() == {'host_memory_gib'}
  grown = after['host_memory_gib'] - before['host_memory_gib']
  assert 0.2 < grown < 0.3
  del block, unused


def test_of_several_gpus_the_fullest_counts(monkeypatch):
  held = {'/device:GPU:0': (2**30, 3 * 2**30), '/device:GPU:1': (2**31, 2**31)}
  monkeypatch.setattr(
      tf.config.experimental, 'get_memory_info',
      lambda name: dict(zip(('current', 'peak'), held[name])))
  found = memory.figures([*held, '/device:CPU:0'])
  del found['host_memory_gib']
  assert found == {'device_memory_gib': 2, 'device_memory_peak_gib': 3}


def test_a_gpu_that_does_not_count_has_no_figures(monkeypatch):
  def refuse(name):
    raise ValueError(f'Allocator stats not available for {name}')

  monkeypatch.setattr(tf.config.experimental, 'get_memory_info', refuse)
  assert memory.figures(['/device:GPU:0']).keys() == {'host_memory_gib'}


def test_the_speed_of_a_log_point(clock):
  watch = Stopwatch(clock)
  run = types.SimpleNamespace(
      watch=watch, step=30, lap_step=20, step_times=StepTimes(),
      config=types.SimpleNamespace(global_batch=8),
      machine_use=types.SimpleNamespace(figures=lambda *_: {}),
      group=types.SimpleNamespace(
          strategy=types.SimpleNamespace(num_replicas_in_sync=4)))
  clock.now += 4  # Ten updates.
  for steps, seconds in ((1, 0.5), (9, 2.7)):
    run.step_times.add(steps, seconds)
  watch.add('input_wait', 1)
  with watch.activity('evaluation'):
    clock.now += 3
  with watch.activity('checkpoints'):
    clock.now += 1
  assert log_point._speed(run) == pytest.approx({
      'images_per_second': 20, 'images_per_second_device': 5,  # 80 in 4 s.
      'step_milliseconds': 400, 'step_milliseconds_median': 300,
      'step_milliseconds_p99': 500, 'input_wait_fraction': 0.25,
      'evaluation_fraction': 0.375, 'checkpoint_fraction': 0.125})
  assert not run.step_times and run.lap_step == 30
  assert log_point._speed(run) == {}  # No step since.
