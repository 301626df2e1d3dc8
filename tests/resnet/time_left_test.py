"""The time left is that of a simulated run, and steady."""
import random

import pytest

from resnet import plan
from resnet.run.screen import time_left


def _run(clock, left, first, last, call, *, step_secs, eval_secs, save_secs=0.0,
         period=500, jitter=0.0):
  """Runs it to step `last`; returns [(time, time of the end as estimated)]."""
  rng, seen = random.Random(0), []
  done = first
  while done < last:
    steps = min(call, last - done)
    clock.now += 20 if done == first else 0  # Compiling.
    clock.now += steps * step_secs * (1 + jitter * rng.uniform(-1, 1))
    done += steps
    left.trained(done)
    estimate = left()
    if estimate is not None:
      seen.append((clock.now, clock.now + estimate))
    if done % period == 0 or done == last:
      with left.phase('evaluating'):
        clock.now += eval_secs + 15 * (done <= first + period)
      with left.phase('saving'):
        clock.now += save_secs
  return seen


def _left(clock, total, **changes):
  every = plan.every_steps(500)
  return time_left.TimeLeft(total, clock=clock, **{
      'evals': every, 'saves': every, 'eval_steps': 60.0, **changes})


@pytest.mark.parametrize('first', [0, 4000])
def test_the_end_is_known_and_hardly_moves(clock, first):
  """10,000 steps of 0.1 s, 12 s to evaluate and 2 s to save every 500."""
  total, left = first + 10_000, _left(clock, first + 10_000)
  seen = _run(clock, left, first, total, 10, step_secs=0.1, eval_secs=12,
              save_secs=2, jitter=0.2)
  begun, end, rest = seen[0][0], clock.now, 12 + 2
  assert end - begun == pytest.approx(1000 + 20 * 14 + 15, rel=0.02)
  # Evaluations are guessed from the steps at first, 6 s each, saves are not.
  assert seen[40][1] - end == pytest.approx(-15 - 20 * (6 + 2), abs=60)
  # From the second one on, the end is within 2 % of the whole.
  settled = [there for now, there in seen if now > begun + 180]
  assert max(abs(there - end) for there in settled) < 0.02 * (end - begun)
  # It does not jump when an evaluation ends.
  jumps = [abs(after - before) for before, after in zip(settled, settled[1:])]
  assert max(jumps) < 0.01 * (end - begun)
  assert seen[-1][1] == pytest.approx(clock.now, abs=rest * 0.1)


def test_short_calls_hardly_count(clock):
  left = _left(clock, 100_000, evals=plan.every_steps(0),
               saves=plan.every_steps(0))
  left.trained(1)
  clock.now += 100
  left.trained(1001)
  before = left()
  clock.now += 0.5  # Five times as long as it should.
  left.trained(1002)
  assert left() == pytest.approx(before, rel=0.01)


def test_a_run_that_becomes_slower_is_noticed(clock):
  left = _left(clock, 200_000, evals=plan.every_steps(0),
               saves=plan.every_steps(0), eval_steps=0)
  for step in range(0, 10_000, 10):
    clock.now += 1
    left.trained(step)
  for step in range(10_000, 20_000, 10):
    clock.now += 2
    left.trained(step)
  assert left() == pytest.approx(0.2 * 180_000, rel=0.02)


def test_the_first_evaluation_can_only_shorten_the_guess(clock):
  """It also compiles."""
  left = _left(clock, 1000, evals=plan.every_steps(100),
               saves=plan.every_steps(0), eval_steps=50)
  left.trained(1)
  clock.now += 9.9
  left.trained(100)
  assert left() == pytest.approx(90 + 10 * 5)
  with left.phase('evaluating'):
    clock.now += 60
  clock.now += 10
  left.trained(200)  # The evaluation of step 200 is still to come.
  assert left() == pytest.approx(80 + 9 * 5)
  with left.phase('evaluating'):
    clock.now += 3
  clock.now += 10
  left.trained(300)
  assert left() == pytest.approx(70 + 8 * 3)


def test_saves_by_the_clock_are_counted(clock):
  left = _left(clock, 1000, evals=plan.every_steps(0),
               saves=plan.every_steps(0), eval_steps=0, save_every_secs=30)
  left.trained(0)
  with left.phase('saving'):
    clock.now += 4
  clock.now += 100
  left.trained(100)
  # 900 s of training, 30 saves in them, and the last one.
  assert left() == pytest.approx(900 + 31 * 4)


@pytest.mark.parametrize('period, step, total, count', [
    (0, 5, 10, 1), (5, 1, 10, 2), (5, 5, 10, 2), (5, 6, 10, 1), (4, 5, 10, 2),
    (4, 9, 10, 1), (5, 10, 10, 1), (4, 10, 10, 1)])
def test_events_to_come(period, step, total, count):
  """Those at the step itself are to come, and so is that of the end."""
  assert time_left._count(plan.every_steps(period), step, total) == count


def test_nothing_is_said_of_what_is_not_known(clock):
  left = _left(clock, 100)
  left.trained(1)  # Compiled.
  assert left() is None
  clock.now += 0.5
  left.trained(5)
  assert left() is None
  left.trained(100)
  assert left() == 0.0


def test_a_run_that_goes_back_counts_on(clock):
  left = _left(clock, 100, evals=plan.every_steps(0),
               saves=plan.every_steps(0), eval_steps=0)
  for step in (10, 20, 10, 20):
    clock.now += 10
    left.trained(step)
  assert left() == pytest.approx(80)


@pytest.mark.parametrize('seconds, text', [
    (0, '0:00'), (9.4, '0:09'), (59.6, '1:00'), (65, '1:05'),
    (3599, '59:59'), (3599.5, '1:00:00'), (3723, '1:02:03'),
    (360_000, '100:00:00')])
def test_duration(seconds, text):
  assert time_left.duration(seconds) == text
