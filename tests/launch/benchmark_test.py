"""What training together costs, with trainers that make their speeds up."""
import os
import pathlib
import subprocess
import sys

_ROOT = pathlib.Path(__file__).parents[2]
# Five are started a round: one alone, two apart, two together.
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


def _run(folder, trainer, *argv):
  (folder / 'resnet').mkdir()
  (folder / 'resnet' / 'train.py').write_text(trainer)
  (folder / 'resnet' / '__init__.py').touch()
  return subprocess.run(
      [sys.executable, '-m', 'launch.benchmark', *argv], cwd=folder,
      env={**os.environ, 'PYTHONPATH': f'{_ROOT}'}, capture_output=True,
      text=True, check=False, timeout=60)


def test_rounds_of_three_ways(tmp_path):
  cores = sorted(os.sched_getaffinity(0))[:2]
  done = _run(tmp_path, _TRAINER, '--rounds=3', '--worker_batch=24', '--',
              '--config.seed=7')
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-6:] == [
      'images/s, median of 3 rounds [least, most]:',
      '  one worker of 24 images a step, one core         16.0 [10.0, 20.0]',
      '  2 that know nothing of each other                18.0 [18.0, 18.0]',
      '  2 that train together                            30.0 [30.0, 30.0]',
      # 30 / 40, 30 / 20, 30 / 32.
      '  together / 2 x one, round by round               '
      '0.938 [0.750, 1.500]',
      '  together / apart, round by round                 '
      '1.667 [1.667, 1.667]']
  seen = (tmp_path / 'seen').read_text().splitlines()
  one, other = (f'[{core}]' for core in cores)
  assert seen[0] == f'one_device {one} 1 24 7'
  assert set(seen[1:3]) == {f'one_device {core} 1 24 7'
                            for core in (one, other)}
  assert set(seen[3:5]) == {f'multi_worker_mirrored {core} 1 48 7'
                            for core in (one, other)}


def test_a_trainer_that_fails_ends_it(tmp_path):
  done = _run(tmp_path, 'import sys\nsys.exit("error: no such recipe")')
  assert (done.returncode, done.stdout) == (1, '')
  assert done.stderr == 'error: no such recipe\n'


def test_an_error_of_the_users_ends_it_with_2(tmp_path):
  done = _run(tmp_path, 'import sys\nprint("error: x")\nsys.exit(2)')
  assert (done.returncode, done.stderr) == (2, 'error: x\n')


def test_too_many_workers(tmp_path):
  done = _run(tmp_path, '', '--workers=4096')
  assert done.returncode == 2
  assert done.stderr == (
      'error: --workers=4096 needs a core for each, and there are '
      f'{len(os.sched_getaffinity(0))} here: give fewer.\n')
