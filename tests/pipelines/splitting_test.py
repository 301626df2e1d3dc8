"""Dividing pictures by class; counts are by hand."""
import collections

import pytest

from configs.process.errors import UserError
from pipelines import image_tree, splitting
from pipelines.image_tree import Tree

# 40, 7 and 3 pictures.
_TREE = Tree('in', ['a', 'b', 'c'], {'train': [
    (f'{name}/{number}.png', label)
    for label, (name, count) in enumerate([('a', 40), ('b', 7), ('c', 3)])
    for number in range(count)]})


def _by_class(tree):
  """Returns {split: pictures of each class}."""
  return {split: [count for _, count in sorted(
      collections.Counter(label for _, label in pairs).items())]
          for split, pairs in tree.splits.items()}


@pytest.mark.parametrize('text, percentages', [
    ('80,10,10', (80, 10, 10)), ('90,10', (90, 10)), (' 98, 1 ,1', (98, 1, 1))])
def test_percentages(text, percentages):
  assert splitting.parse(text) == percentages


@pytest.mark.parametrize('text, words', [
    ('', 'is not a list of two or three whole percentages'),
    ('100', 'is not a list'), ('25,25,25,25', 'is not a list'),
    ('80,10,x', 'is not a list'), ('80,10,', 'is not a list'),
    ('80.5,19.5', 'is not a list'), ('110,-10', 'is not a list'),
    ('0.8,0.1,0.1', 'is not a list'), ('٨٠,٢٠', 'is not a list'),
    ('9' * 5000, 'is not a list'),
    ('80,10,0', 'has an empty split'), ('100,0', 'has an empty split'),
    ('80,10,5', 'adds up to 95, not to 100'), ('90,20', 'adds up to 110')])
def test_other_words_are_refused(text, words):
  with pytest.raises(UserError) as raised:
    splitting.parse(text)
  assert f'--split={text} {words}' in str(raised.value)
  assert str(raised.value).endswith('such as --split=90,10.')


@pytest.mark.parametrize('total, percentages, counts', [
    (100, (80, 10, 10), [80, 10, 10]),
    (40, (80, 10, 10), [32, 4, 4]),
    (7, (80, 10, 10), [5, 1, 1]),  # 5.6, 0.7, 0.7: the largest remainders.
    (14, (80, 10, 10), [11, 2, 1]),  # 11.2, 1.4, 1.4
    (5, (80, 10, 10), [3, 1, 1]),  # 4, 0.5, 0.5: test takes one from train.
    (3, (80, 10, 10), [1, 1, 1]),
    (3, (98, 1, 1), [1, 1, 1]),
    (4, (10, 45, 45), [1, 1, 2]),  # 0.4, 1.8, 1.8
    (2, (90, 10), [1, 1]), (10, (90, 10), [9, 1]), (25, (90, 10), [23, 2])])
def test_counts(total, percentages, counts):
  assert splitting.counts(total, percentages) == counts


def test_each_class_is_divided_in_the_same_shares():
  tree = splitting.split(_TREE, (80, 10, 10), 0)
  assert _by_class(tree) == {
      'train': [32, 5, 1], 'validation': [4, 1, 1], 'test': [4, 1, 1]}
  assert sorted(pair for pairs in tree.splits.values() for pair in pairs) == (
      sorted(_TREE.splits['train']))
  assert list(splitting.split(_TREE, (90, 10), 0).splits) == [
      'train', 'validation']


def test_the_seed_and_the_names_decide():
  once, again, other = (splitting.split(_TREE, (80, 10, 10), seed)
                        for seed in (0, 0, 1))
  assert once == again
  assert once.splits != other.splits and _by_class(once) == _by_class(other)
  descriptions = {tree.description for tree in (
      _TREE, once, other, splitting.split(_TREE, (90, 10), 0))}
  assert len(descriptions) == 4
  assert once.description.endswith('; split 80,10,10 of each class by seed 0')
  # Neither the order of the files nor the folder's name matters.
  backwards = _TREE._replace(folder='out', splits={
      'train': _TREE.splits['train'][::-1]})
  assert splitting.split(backwards, (80, 10, 10), 0).splits == once.splits


def test_a_division_is_a_random_sample():
  tree = splitting.split(_TREE, (50, 50), 0)
  numbers = [int(file[2:-4]) for file, label in tree.splits['train']
             if not label]
  # By chance 19.5, with a standard deviation of 1.8; in order 9.5 or 29.5.
  assert len(numbers) == 20 and 14 < sum(numbers) / 20 < 25


def test_too_few_pictures_of_a_class_are_refused():
  tree = _TREE._replace(splits={'train': _TREE.splits['train'][:-1]})
  with pytest.raises(UserError) as raised:
    splitting.split(tree, (80, 10, 10), 0)
  assert str(raised.value) == (
      '--split=80,10,10 needs at least 3 pictures of each class, but in has '
      'fewer of 1 classes (c: 2): add some, or delete these classes.')


def test_pictures_that_are_divided_already_are_refused(tmp_path):
  tree = image_tree.Tree(str(tmp_path), ['a', 'b'], {
      'train': [('train/a/1', 0), ('train/b/1', 1)], 'test': [('test/a/1', 0)]})
  with pytest.raises(UserError, match='--split=90,10 does not apply to pictures'
                     ' that have the splits train, test already: leave it'):
    splitting.split(tree, (90, 10), 0)
