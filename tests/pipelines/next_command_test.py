"""The numbers of the commands that prepare prints; by hand."""
import os
import shlex
import subprocess

import pytest

from configs import combinations, loading
from pipelines import next_command, tfds_directory
from pipelines.next_command import Prepared
from resnet import plan
from tests.tiny_dataset import prepare_photos

_SIDES = [200] * 100


def _values(command):
  """Returns {name of a flag: its value}."""
  program, *flags = shlex.split(command)[2:]
  assert program == 'resnet.train'
  return dict(flag.removeprefix('--').split('=', 1) for flag in flags)


def _prepared(splits, sides=_SIDES):
  return Prepared('mine', 'out', splits, sides)


def test_the_numbers_for_300_pictures():
  assert _values(next_command.from_scratch(_prepared({'train': 300}))) == {
      'config': 'pictures_resnet18', 'config.data.name': 'mine',
      'config.data.train_split': 'train[:80%]',
      'config.data.eval_split': 'train[80%:]', 'config.data.image_size': '64',
      # 240 pictures: the root is 15.5; 30 passes are 450 updates.
      'config.global_batch': '16', 'config.train_epochs': '30',
      'eval_every_epochs': '2', 'config.eval_batch': '60', 'data_dir': 'out',
      'workdir': 'runs/mine'}
  assert _values(next_command.fine_tuning(_prepared({'train': 300}))) == {
      'config': 'finetune_resnet50', 'config.data.name': 'mine',
      'config.data.train_split': 'train[:80%]',
      'config.data.eval_split': 'train[80%:]', 'config.global_batch': '16',
      'config.train_epochs': '30', 'init_from': 'WEIGHTS',
      'config.eval_batch': '60', 'data_dir': 'out',
      'workdir': 'runs/mine_finetuned'}


@pytest.mark.parametrize('splits, evaluated, size', [
    ({'train': 20, 'validation': 2, 'test': 3}, 'validation', '2'),
    ({'test': 1, 'train': 2}, 'test', '1'),
    ({'train': 5000, 'validation': 999}, 'validation', '100')])
def test_what_is_there_is_evaluated(splits, evaluated, size):
  for command in next_command.from_scratch, next_command.fine_tuning:
    values = _values(command(_prepared(splits)))
    assert values['config.data.train_split'] == 'train'
    assert values['config.data.eval_split'] == evaluated
    assert values['config.eval_batch'] == size


@pytest.mark.parametrize('train, batch, epochs', [
    (1, 1, 400), (3, 2, 267), (7, 4, 229), (20, 8, 160), (100, 8, 32),
    (240, 16, 30), (1000, 32, 30), (10_000, 128, 30), (1_281_167, 256, 30)])
def test_batch_and_epochs(train, batch, epochs):
  assert next_command.batch_size(train) == batch
  assert next_command.train_epochs(train, batch, 400) == epochs


@pytest.mark.parametrize('sides, train, size', [
    ([8] * 5, 100, 32), ([28] * 5, 60_000, 32), ([32] * 5, 100, 32),
    ([63] * 5, 100, 48), ([64] * 5, 100, 64), ([300] * 5, 999, 64),
    ([300] * 5, 1000, 128), ([300] * 5, 10_000, 224), ([100] * 5, 10_000, 96),
    # A tenth may be smaller, but no more.
    ([50] * 10 + [500] * 90, 10_000, 224), ([50] * 11 + [500] * 89, 10_000, 48),
    ([], 100, 64)])
def test_few_pictures_are_enlarged(sides, train, size):
  assert next_command.image_size(sides, train) == size


@pytest.mark.parametrize('side, words', [
    (63, {'config.model.stem': 'cifar', 'config.data.eval_crop': '1'}),
    (64, {})])
def test_small_pictures_get_the_stem_for_them(side, words):
  values = _values(next_command.from_scratch(
      _prepared({'train': 300}, [side])))
  assert {name: value for name, value in values.items()
          if name in ('config.model.stem', 'config.data.eval_crop')} == words


@pytest.mark.parametrize('total', [2, 4, 9, 10, 11, 37, 63, 999, 1000, 1005])
def test_counts_are_those_of_tfds(tmp_path, total):
  out = os.fspath(tmp_path / 'out')
  prepare_photos(out, counts=(total - 1, 1))
  found = tfds_directory.builder('photos', out)
  values = _values(next_command.from_scratch(_prepared({'train': total})))
  train, evaluated = (
      sum(span.take for span in tfds_directory.spans(
          found, 'photos', values[f'config.data.{name}_split']))
      for name in ('train', 'eval'))
  assert train + evaluated == total
  assert abs(evaluated - total * (0.2 if total < 1000 else 0.1)) <= 1
  assert values['config.eval_batch'] == str(min(evaluated, 100))
  assert values['config.global_batch'] == str(next_command.batch_size(train))


@pytest.mark.parametrize('command', [
    next_command.from_scratch, next_command.fine_tuning])
@pytest.mark.parametrize('train', [1, 2, 5, 30, 90, 240, 1000, 20_000])
@pytest.mark.parametrize('side', [6, 300])
def test_recipes_accept_the_numbers_and_nothing_is_warned_of(
    command, train, side):
  values = _values(command(_prepared({'train': train, 'test': 3}, [side])))
  config = loading.load(values['config'])
  for path, value in values.items():
    *groups, name = path.split('.')
    if groups:
      holder = config
      for group in groups[1:]:
        holder = getattr(holder, group)
      setattr(holder, name, type(getattr(holder, name))(value))
  combinations.check(config)
  assert plan.warning(config, train) is None
  assert plan.total_steps(config, train) >= 100


def test_they_can_be_pasted_into_a_shell():
  data_dir = """/a 'b' "c" [d] $HOME `e` \\f;g&h|*?!#~<>(é)"""
  for command in next_command.from_scratch, next_command.fine_tuning:
    text = command(Prepared('mine', data_dir, {'train': 20}, [100]))
    shown = subprocess.run(
        ['bash', '-c', f'printf "%s\\n" {text}'], capture_output=True,
        text=True, check=True).stdout.splitlines()
    assert '--config.data.train_split=train[:80%]' in shown
    assert '--config.data.eval_split=train[80%:]' in shown
    assert f'--data_dir={data_dir}' in shown
