"""The benchmarks measure what they say, and one short round of each runs."""
import re

import pytest

from resnet.tools import benchmark
from tests import processes


class _Plain:
  """A plain step that takes 2 s, and 60 s more the first time, to compile."""

  def __init__(self, clock):
    self.calls, self._clock = 0, clock

  def __call__(self):
    self._clock.now += 2 if self.calls else 62
    self.calls += 1


def _blocks(clock, rounds):
  """Returns blocks of batches of 6 images that last 10 s or longer."""
  plain = _Plain(clock)
  return plain, benchmark.Blocks(6, plain, rounds, 10.0, clock)


def test_blocks_alternate_and_compiling_is_not_timed(clock):
  plain, blocks = _blocks(clock, rounds=2)
  # (updates done, seconds since the last question): the first call compiles.
  questions = [(0, 0), (1, 90), (4, 6), (6, 6), (8, 9), (10, 11)]
  answers = []
  for step, secs in questions:
    clock.now += secs
    answers.append(blocks.after_call(step))
  assert answers == [False] * 5 + [True]
  # 5 updates in 12 s, then 4 in 20 s; the plain steps take 2 s each.
  assert blocks.pairs == [(5 * 6 / 12, 3.0), (4 * 6 / 20, 3.0)]
  assert plain.calls == 1 + 5 + 4


def test_an_evaluation_that_outlasts_a_block_is_no_block(clock):
  """The loop asks during an evaluation too, when no step has been made."""
  plain, blocks = _blocks(clock, rounds=1)
  blocks.after_call(1)
  for _ in range(3):
    clock.now += 20
    assert not blocks.after_call(1)
  assert (blocks.pairs, plain.calls) == ([], 1)
  clock.now += 20
  assert blocks.after_call(5)
  assert blocks.pairs == [(4 * 6 / 80, 3.0)]


def test_nothing_is_measured_after_the_last_round(clock):
  plain, blocks = _blocks(clock, rounds=1)
  for step in (1, 2, 3, 4):
    clock.now += 20
    stops = blocks.after_call(step)
    assert stops == (step > 1)
  assert (len(blocks.pairs), plain.calls) == (1, 2)


def _numbers(line):
  """Returns (median, min, max) of a row that ends in 'median [min, max]'."""
  return tuple(map(float, re.search(
      r'([\d.]+) \[([\d.]+), ([\d.]+)\]$', line).groups()))


def _run(module, *argv):
  result = processes.run(
      module, '--rounds=1', '--config.model.name=baseline',
      '--config.global_batch=8', *argv)
  assert result.code == 0, result.err
  return result.out.splitlines()


def _check_speeds(lines):
  """Checks the rows of one round: its ratio is that of its two speeds."""
  header, loop, plain, ratio = lines
  assert header == (
      'digits_resnet8, batch 8, 1 replicas, --jit=false; images/s, median of 1 '
      'blocks [min, max]:')
  names = [line[2:26].rstrip() for line in (loop, plain, ratio)]
  assert names == ['training loop', 'plain step', 'ratio of each pair']
  loop, plain, ratio = map(_numbers, (loop, plain, ratio))
  assert all(len(set(numbers)) == 1 for numbers in (loop, plain, ratio))
  assert loop[0] > 0
  # Speeds are printed to 0.1, ratios to 0.001.
  assert (loop[0] - 0.05) / (plain[0] + 0.05) - 0.0005 <= ratio[0]
  assert ratio[0] <= (loop[0] + 0.05) / (plain[0] - 0.05) + 0.0005


def test_loop_and_plain_step_are_compared():
  _check_speeds(_run('resnet.tools.benchmark', '--block_secs=0.1',
                     '--jit=false', '--startup=false'))


def test_plain_step_runs_on_several_devices():
  header, *rows = _run(
      'resnet.tools.benchmark', '--block_secs=0.1', '--virtual_devices=2',
      '--startup=false')
  assert '2 replicas' in header
  assert all(_numbers(row)[0] > 0 for row in rows)


@pytest.mark.slow
def test_startup_is_measured_with_and_without_xla():
  lines = _run('resnet.tools.benchmark', '--block_secs=0.1', '--jit=false')
  _check_speeds(lines[:4])
  header, *rows = lines[4:]
  assert header == (
      'start-up, seconds from process start to the end of the first step:')
  names, secs = zip(*(row.rsplit(maxsplit=1) for row in rows))
  assert [name.strip() for name in names] == [
      'without XLA', 'with XLA', 'with XLA, compiled before']
  assert all(float(value) > 0 for value in secs)


@pytest.mark.slow
def test_each_augmentation_is_timed():
  header, columns, *rows = _run('resnet.tools.benchmark_augment')
  assert header == (
      'digits_resnet8, batches of 8 x (8, 8, 1), CPU:0, --jit=auto; median of '
      '1 rounds [min, max]:')
  assert columns.split('  ')[-1].strip() == 'step / bare step'
  assert [row[2:28].rstrip() for row in rows] == [
      'flip', 'crop padding 4, flip', 'color jitter 0.4',
      'rand_augment, 2 layers', 'auto_imagenet', 'auto_cifar10', 'cutout 16',
      'random erasing 1.0', 'mixup 0.2', 'cutmix 1.0',
      'mixup 0.2 or cutmix 1.0']
  for row in rows:
    for numbers in (_numbers(row[:53].rstrip()), _numbers(row)):
      assert numbers[0] > 0 and len(set(numbers)) == 1


@pytest.mark.parametrize('module', [
    'resnet.tools.benchmark', 'resnet.tools.benchmark_augment'])
def test_a_wrong_flag_is_one_sentence(module):
  result = processes.run(module, '--round=1')
  assert (result.code, result.out) == (2, '')
  assert re.fullmatch(r'error: [^\n]*--round[^\n]*\.\n', result.err)
