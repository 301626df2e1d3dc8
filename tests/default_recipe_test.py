"""The default recipe as README's first command runs it, and what it leaves."""
import json
import pathlib
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing import plugin_event_accumulator

from tests import processes


def _scalars(folder):
  """{tag: [(step, wall time), ...]} of a folder of events."""
  events = plugin_event_accumulator.EventAccumulator(
      str(folder), size_guidance={plugin_event_accumulator.TENSORS: 0})
  events.Reload()
  return {tag: [(e.step, e.wall_time) for e in events.Tensors(tag)]
          for tag in events.Tags()['tensors']}


@pytest.mark.slow
def test_default_recipe(tmp_path):
  workdir = tmp_path / 'run'
  result = processes.run(
      'resnet.train', '--strategy=mirrored', f'--workdir={workdir}')
  assert result.code == 0, result.err
  lines = [json.loads(line)
           for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  last = [r for r in lines if r['split'] == 'eval'][-1]
  assert last['examples'] == 360 and last['accuracy'] >= 0.97
  assert f'tensorboard --logdir {workdir}' in result.out
  assert '360 examples counted' in result.out

  train = _scalars(workdir / 'train')
  # 30 epochs of 1,437 images in batches of 64 are 673.6 updates.
  steps = [*range(100, 674, 100), 674]
  for tag in ('quality/loss', 'quality/accuracy', 'optimizer/learning_rate',
              'optimizer/epoch', 'speed/images_per_second',
              'speed/step_milliseconds', 'speed/input_wait_fraction'):
    assert [step for step, _ in train[tag]] == steps, tag
  times = [time for _, time in train['quality/loss']]
  assert times == sorted(times) and times[0] < times[-1]
  assert 'run/config' in train
  evaluated = _scalars(workdir / 'eval')
  assert len(evaluated['quality/accuracy']) == 30
  assert len(evaluated['quality/top5_accuracy']) == 30

  config = json.loads((workdir / 'config.json').read_text())
  assert config['model']['depth'] == 8
  run = json.loads((workdir / 'run.json').read_text())
  assert run['versions'].keys() == {'python', 'tensorflow', 'keras'}
  assert run['summary']['accuracy'] == last['accuracy']


@pytest.mark.slow
def test_the_screen_shows_our_lines_alone(tmp_path):
  """A process of its own, for TensorFlow's notices come with its import."""
  done = subprocess.run(
      [sys.executable, '-m', 'resnet.train', '--config.train_epochs=0',
       '--config.train_steps=2',
       '--config.schedule.warmup_epochs=0', f'--workdir={tmp_path}/run'],
      cwd=pathlib.Path(__file__).parent.parent, check=True,
      capture_output=True, text=True)
  words = [line.removeprefix(line[:26] if line[:2] == '20' else '').split()[0]
           for line in done.stderr.splitlines()]
  assert words == ['resnet-trainer', 'network', 'data', 'images', 'devices',
                   'batch', 'length', 'run', 'compiling...', 'step', 'step']
  labels = [line[:12].strip() for line in done.stdout.splitlines()]
  assert list(filter(None, labels)) == [
      'best', 'last', 'evaluated', 'speed', 'time', 'run folder', 'view with',
      'next']
