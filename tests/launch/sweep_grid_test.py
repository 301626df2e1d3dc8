"""The runs of a sweep: their names, their labels, and how a sweep ends."""
import pathlib
import queue
import re

import pytest

from launch.sweep import grid, starting

_LABEL = '[a-z]([-a-z0-9]*[a-z0-9])?'  # RFC 1035.


def _make(*sweeps, seeds=None, folder='sweep', recipe='digits_resnet8'):
  return grid.make(recipe, sweeps, seeds, pathlib.Path(folder), [])


def _names(*sweeps, **fields):
  return [run.name for run in _make(*sweeps, **fields)]


@pytest.mark.parametrize('sweep, names', [
    # However a value is written, its name is the same.
    ('schedule.peak=0.10, 1e-05,2,1000000', [
        'peak=0.1', 'peak=1e-05', 'peak=2', 'peak=1000000']),
    ('augment.flip=1,False', ['flip=true', 'flip=false']),
    ('model.depth=8,20', ['depth=8', 'depth=20']),
    # The last part alone would also be the model's.
    ('schedule.name=cosine, step',
     ['schedule.name=cosine', 'schedule.name=step']),
    ('model.name=resnet,vgg16', ['model.name=resnet', 'model.name=vgg16']),
    ('augment.policy=rand_augment', ['policy=rand_augment']),
    ('data.train_split=train[:50%],train/x y,\xe9', [
        'train_split=train--50--', 'train_split=train-x-y', 'train_split=-']),
    ('data.mean=-1,2.5;3', ['mean=-1-2.5', 'mean=3']),
    ('schedule.drops_at=0.5,0.75;0.3', ['drops_at=0.5-0.75', 'drops_at=0.3']),
    ('schedule.drops_at=0.5,0.75', ['drops_at=0.5-0.75']),
])
def test_runs_are_named_after_the_values_of_a_sweep(sweep, names):
  assert _names(sweep) == names


def test_tuples_reach_the_trainer_whole():
  assert [run.config.schedule.drops_at
          for run in _make('schedule.drops_at=0.5,0.75;0.3')] == [
              (0.5, 0.75), (0.3,)]
  assert '--config.schedule.drops_at=0.5,0.75' in _make(
      'schedule.drops_at=0.5,0.75;0.3')[0].flags


def test_shared_flags_set_fields_as_in_the_trainer():
  runs = grid.make('digits_resnet8', ['schedule.peak=1'], None, 'sweep', [
      '--config.augment.flip', '--jit=true', '--config.model.depth', '14',
      '--noconfig.optimizer.nesterov', '--config.data.mean=-1,2', '--x', '-y'])
  config = runs[0].config
  assert config.augment.flip and not config.optimizer.nesterov
  assert config.model.depth == 14 and config.data.mean == (-1, 2)


def test_adding_values_and_seeds_keeps_the_names():
  small = _names('schedule.peak=0.1', seeds=1)
  large = _names('schedule.peak=0.2,0.1', seeds=3)
  assert small == ['peak=0.1_seed=0'] and small[0] in large


def test_seeds_share_a_setting():
  runs = _make('schedule.peak=0.1,0.2', seeds=2)
  assert [run.setting for run in runs] == [
      'peak=0.1', 'peak=0.1', 'peak=0.2', 'peak=0.2']
  assert [run.config.seed for run in runs] == [0, 1, 0, 1]
  assert [run.setting for run in _make('seed=7,9')] == ['digits_resnet8'] * 2


def test_labels_are_valid_host_names_and_differ():
  recipes = [
      _make('schedule.peak=0.05,0.1', seeds=2, folder='runs/r50'),
      _make('schedule.peak=0.05,0.1', seeds=2, folder='runs/r18'),
      _make('schedule.peak=0.05,0.1', seeds=2, folder='2027_a sweep!'),
      _make('schedule.peak=0.05,0.1', 'model.batch_norm_momentum=0.9,0.99',
            'augment.policy=none,rand_augment', seeds=2, folder='a-long-name'),
      _make('schedule.peak=0.05,0.1', 'model.batch_norm_momentum=0.9,0.99',
            'augment.policy=none,rand_augment', seeds=2, folder='b-long-name')]
  labels = [run.label for runs in recipes for run in runs]
  assert len(set(labels)) == len(labels) == 3 * 4 + 2 * 16
  for label in labels:
    assert re.fullmatch(_LABEL, label) and len(label) <= 40, label
  assert recipes[0][1].label == 'r50-peak-0-05-seed-1'
  assert recipes[2][0].label == 'a-sweep--peak-0-05-seed-0'
  # Cut at the front, between words, and marked with six digits.
  assert re.fullmatch('momentum-0-99-policy-none-seed-1-[0-9a-f]{6}',
                      recipes[3][5].label)


@pytest.mark.parametrize('folder, values, label', [
    ('r50', 'train/x', 'r50-train-split-train-x'),
    ('r50', 'train[:50%]', 'r50-train-split-train--50'),  # No - at the end.
    # 40 characters, and 41.
    ('a' * 22, 'train', 'a' * 22 + '-train-split-train'),
    ('a' * 23, 'train', 'train-split-train-[0-9a-f]{6}')])
def test_where_labels_are_cut(folder, values, label):
  run, = _make(f'data.train_split={values}', folder=folder)
  assert re.fullmatch(label, run.label), run.label


def _end(code, started=True):
  return starting.End(code, '', started)


@pytest.mark.parametrize('codes, code', [
    ((0, 0), 0), ((), 0),
    # What another attempt may cure comes first.
    ((2, 143, 0), 143), ((143, 2), 143), ((2, 143, 5), 5), ((5, 7), 5),
    ((143, -9), 1), ((64, 2), 64), ((0, 78), 78)])
def test_exit_code_says_whether_another_attempt_may_help(codes, code):
  ends = {str(number): _end(code) for number, code in enumerate(codes)}
  assert starting.exit_code(starting.Ended(ends, 0, False), False) == code


@pytest.mark.parametrize('codes, interrupted, code', [
    ((0,), False, 143), ((-15,), False, 143), ((5, 143), False, 143),
    ((-9,), True, 130)])
def test_exit_code_of_a_stopped_sweep(codes, interrupted, code):
  ends = {str(number): _end(code) for number, code in enumerate(codes)}
  ended = starting.Ended(ends, 15, interrupted)
  assert starting.exit_code(ended, False) == code


def test_after_a_signal_between_runs_nothing_is_started():
  events = queue.SimpleQueue()
  events.put(15)
  ended = starting.start(
      _make(seeds=2), starting.LAUNCHERS['train'], [], events, print)
  assert ended == starting.Ended({}, 15, False)
