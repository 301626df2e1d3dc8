"""What training together costs, with real trainers and with made-up speeds."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
# Each round starts five: one alone, two apart, two together.
_TRAINER = """
import json, os, pathlib, sys
flags = dict(word.lstrip('-').split('=', 1) for word in sys.argv[1:])
rank = json.loads(os.environ['TF_CONFIG'])['task']['index']
with open('seen', 'a') as seen:
  seen.write(' '.join([
      flags['strategy'], str(sorted(os.sched_getaffinity(0))),
      os.environ['OMP_NUM_THREADS'], flags['config.global_batch'],
      flags['config.seed']]) + '\\n')
started = len(pathlib.Path('seen').read_text().splitlines())
alone = {1: 20, 6: 10, 11: 16}
speed = alone.get(started, 9 if started % 5 in (2, 3) else 30)
if not rank or speed == 9:  # The chief, where there is one, writes.
  workdir = pathlib.Path(flags['workdir'])
  workdir.mkdir()
  with (workdir / 'metrics.jsonl').open('w') as file:
    for value in (1, speed, speed - 5, speed + 5):  # The first is left out.
      file.write(json.dumps(
          {'split': 'train', 'images_per_second': value}) + '\\n')
    file.write(json.dumps({'split': 'eval', 'accuracy': 1}) + '\\n')
"""


# `python -m launch.benchmark`, with the test's trainer.
_BENCHMARK = """
from launch import benchmark, trainer_command
trainer_command.MODULE = 'stub'
benchmark.run()
"""


def _run(folder, trainer, *argv):
  (folder / 'stub.py').write_text(trainer)
  return subprocess.run(
      [sys.executable, '-c', _BENCHMARK, *argv], cwd=folder,
      env={**os.environ, 'PYTHONPATH': f'{_ROOT}'}, capture_output=True,
      text=True, check=False, timeout=60)


def test_rounds_of_three_settings(tmp_path):
  cores = sorted(os.sched_getaffinity(0))[:2]
  done = _run(tmp_path, _TRAINER, '--rounds=3', '--worker_batch=24', '--',
              '--config.seed=7')
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-6:] == [
      'images/s, median of 3 rounds [least, most]:',
      '  1 process on 1 core, 24 images per step          16.0 [10.0, 20.0]',
      '  2 independent processes                          18.0 [18.0, 18.0]',
      '  2 workers that train together                    30.0 [30.0, 30.0]',
      # 30 / 40, 30 / 20, 30 / 32.
      '  together / (2 x alone), per round                '
      '0.938 [0.750, 1.500]',
      '  together / independent, per round                '
      '1.667 [1.667, 1.667]']
  seen = (tmp_path / 'seen').read_text().splitlines()
  one, other = (f'[{core}]' for core in cores)
  assert seen[0] == f'one_device {one} 1 24 7'
  assert set(seen[1:3]) == {f'one_device {core} 1 24 7'
                            for core in (one, other)}
  assert set(seen[3:5]) == {f'multi_worker_mirrored {core} 1 48 7'
                            for core in (one, other)}


def test_a_trainer_that_fails_ends_it_with_1(tmp_path):
  done = _run(tmp_path, 'import sys\nsys.exit("error: no such recipe")')
  assert (done.returncode, done.stdout) == (1, '')
  assert done.stderr == 'error: no such recipe\n'


def test_a_user_error_ends_it_with_2(tmp_path):
  done = _run(tmp_path, 'import sys\nprint("error: x")\nsys.exit(2)')
  assert (done.returncode, done.stderr) == (2, 'error: x\n')


def test_too_many_workers(tmp_path):
  done = _run(tmp_path, '', '--workers=4096')
  cores = len(os.sched_getaffinity(0))
  assert done.returncode == 2
  assert done.stderr == (
      'error: --workers=4096 needs one core for each worker, but this process '
      f'may use {cores}: give at most --workers={cores}.\n')


@pytest.mark.slow
def test_one_short_round_of_real_training(tmp_path):
  done = subprocess.run(
      [sys.executable, '-m', 'launch.benchmark', '--rounds=1', '--steps=20',
       '--worker_batch=8', '--', '--config=digits_resnet8'], cwd=tmp_path,
      env={**os.environ, 'PYTHONPATH': f'{_ROOT}'}, capture_output=True,
      text=True, check=False, timeout=300)
  assert done.returncode == 0, done.stderr
  first, head, *rows = done.stdout.splitlines()
  assert head == 'images/s, median of 1 rounds [least, most]:'
  alone, apart, together, *ratios = (
      float(re.search(r'([\d.]+) \[\1, \1\]$', row)[1]) for row in rows)
  assert first == (f'round 1 of 1: alone {alone}, apart {apart}, together '
                   f'{together} images/s')
  assert min(alone, apart, together) > 0
  # Speeds are printed with one digit after the point.
  assert ratios == pytest.approx(
      [together / (2 * alone), together / apart], rel=0.01)
  assert not list(tmp_path.iterdir())
