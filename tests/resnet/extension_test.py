"""A run that trains on with other settings."""
import functools
import json
import signal

import numpy as np
import pytest

from configs import schema
from configs.process.errors import UserError
from resnet import loop
from resnet.execution.options import Options
from resnet.inference import restored
from resnet.run import checkpoint_file
from tests import processes
from tests.resnet import loop_techniques_test as kills
from tests.resnet import strategies

_OPTIONS = Options(eval_every_steps=5, save_every_steps=5, log_every_steps=5)


@pytest.fixture
def train():
  """Trains a run on digits: train(folder, extend=False, fields...)."""
  def run(folder, extend=False, options=_OPTIONS, **changes):
    config = schema.Config(
        model=schema.Model(depth=8, width=4), global_batch=32, train_steps=10,
        schedule=schema.Schedule(name='constant'))
    for path, value in changes.items():
      group, _, name = path.rpartition('__')
      setattr(getattr(config, group) if group else config, name, value)
    return loop.train_and_evaluate(
        config, strategies.on_cpus(1), folder, options._replace(extend=extend))
  return run


def _tensors(folder, step):
  tensors = checkpoint_file.read(f'{folder}/checkpoints/ckpt-{step}')
  return {name: np.asarray(value).tobytes()
          for name, value in tensors.items() if name != 'identity'}


def test_a_longer_run_is_as_if_it_had_been_long_from_the_start(
    train, tmp_path, capfd):
  # The rate is constant: nothing but the length differs.
  train(tmp_path / 'long', train_steps=20)
  train(tmp_path / 'short')
  before = json.loads((tmp_path / 'short/config.json').read_text())
  assert train(tmp_path / 'short', extend=True, train_steps=20) == 0

  assert _tensors(tmp_path / 'long', 20) == _tensors(tmp_path / 'short', 20)
  assert 'training on from step 10 with config.train_steps: 10 -> 20' in (
      capfd.readouterr().err)
  change, = map(json.loads, (
      tmp_path / 'short/extensions.jsonl').read_text().splitlines())
  assert change['step'] == 10
  assert change['changes'] == ['config.train_steps: 10 -> 20']
  assert change['before']['config'] == before
  after = json.loads((tmp_path / 'short/config.json').read_text())
  assert after == {**before, 'train_steps': 20}
  events = b''.join(
      path.read_bytes() for path in (tmp_path / 'short/train').iterdir())
  assert b'config.train_steps: 10 -> 20' in events
  # Now it is a run of 20 steps like any other.
  assert train(tmp_path / 'short', train_steps=20) == 0
  assert train(tmp_path / 'short', extend=True, train_steps=20) == 0


def test_checkpoints_from_before_still_count(train, tmp_path):
  train(tmp_path)
  train(tmp_path, extend=True, train_steps=15, schedule__peak=0.01)
  train(tmp_path, extend=True, train_steps=25, monitor__metric='loss')
  assert restored.restore(tmp_path, '15').config.train_steps == 25
  with open(tmp_path / 'extensions.jsonl') as file:
    assert [json.loads(line)['step'] for line in file] == [10, 15]
  # One of other settings does not, wherever it comes from.
  other = tmp_path / 'other'
  train(other, schedule__peak=0.5)
  for path in other.glob('checkpoints/ckpt-10.*'):
    (tmp_path / 'checkpoints' / path.name).write_bytes(path.read_bytes())
  with pytest.raises(UserError, match='config.schedule.peak is 0.5 there'):
    restored.restore(tmp_path, '10')


def test_a_new_evaluation_split(train, tmp_path):
  train(tmp_path)
  train(tmp_path, extend=True, train_steps=15, data__eval_split='train')
  rows = [json.loads(line) for line in
          (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert [row['examples'] for row in rows if row['split'] == 'eval'] == [
      360, 360, 1437]
  data = json.loads((tmp_path / 'data.json').read_text())
  assert data['eval']['examples'] == 1437


@pytest.mark.parametrize('changes, text', [
    ({'model__depth': 14}, 'cannot change config.model.depth of the run'),
    ({'optimizer__name': 'adam', 'seed': 3},
     'cannot change config.optimizer.name, config.seed of the run'),
    ({'data__train_split': 'train[:50%]'}, 'config.data.train_split'),
    ({'train_steps': 5}, 'the run ends at step 5')])
def test_what_cannot_change(train, tmp_path, changes, text):
  train(tmp_path)
  before = _tensors(tmp_path, 10), (tmp_path / 'config.json').read_text()
  with pytest.raises(UserError, match=text):
    train(tmp_path, extend=True, **changes)
  assert before == (
      _tensors(tmp_path, 10), (tmp_path / 'config.json').read_text())
  assert not (tmp_path / 'extensions.jsonl').exists()


def test_without_the_flag_it_is_named(train, tmp_path):
  train(tmp_path)
  with pytest.raises(UserError, match='or add --extend to train it on'):
    train(tmp_path, train_steps=20)
  with pytest.raises(UserError) as caught:
    train(tmp_path, train_steps=20, seed=1)
  assert '--extend' not in str(caught.value)


def test_there_must_be_a_run(train, tmp_path):
  with pytest.raises(UserError, match='--extend trains a run on, but'):
    train(tmp_path / 'new', extend=True)
  assert not (tmp_path / 'new').exists()


def test_damaged_lines_are_left_out(train, tmp_path):
  train(tmp_path)
  train(tmp_path, extend=True, train_steps=15)
  with open(tmp_path / 'extensions.jsonl', 'a') as file:
    file.write('[]\n{"step": 3}\nnonsense\n')
  assert restored.restore(tmp_path, '10').step == 10


@pytest.mark.slow
def test_killed_equals_undisturbed(tmp_path):
  longer = '--extend', '--config.train_steps=20', '--config.schedule.peak=0.02'
  for name in ('calm', 'killed'):
    assert kills._train(tmp_path / name).code == 0
  assert kills._train(tmp_path / 'calm', *longer).code == 0
  for step in (12, 14, 17):  # Before its first save, and later.
    killed = kills._train(
        tmp_path / 'killed', *longer,
        between_calls=functools.partial(processes.kill_at, step))
    assert killed.code == -signal.SIGKILL, killed.err
  assert kills._train(tmp_path / 'killed', *longer).code == 0
  kills._assert_same_end(tmp_path / 'calm', tmp_path / 'killed', 20)

