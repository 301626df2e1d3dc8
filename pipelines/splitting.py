"""Divides the pictures of a tree into training, validation and test split.

Each class is divided by itself, in the same shares (stratified). Which pictures
are in which split depends on their names and the seed alone: their order is
that of the SHA-256 of both.

  tree = splitting.split(image_tree.scan('Pets'), (80, 10, 10), seed=0)
"""
from collections.abc import Sequence
import hashlib

from configs.process.errors import UserError
from pipelines import image_tree
from pipelines.image_tree import Tree

_SPLITS = 'train', 'validation', 'test'


def parse(text: str) -> tuple[int, ...]:
  """Reads the flag --split.

  Args:
    text: such as '80,10,10'.

  Returns:
    Percentages of the training, the validation and perhaps the test split.

  Raises:
    UserError: it is something else, or the sum is not 100.
  """
  words = [word.strip() for word in text.split(',')]
  percentages = tuple(int(word) for word in words
                      if word.isascii() and word.isdigit() and len(word) < 4)
  wrong = ''
  if len(percentages) < len(words) or not 2 <= len(words) <= len(_SPLITS):
    wrong = 'is not a list of two or three whole percentages'
  elif 0 in percentages:
    wrong = 'has an empty split'
  elif sum(percentages) != 100:
    wrong = f'adds up to {sum(percentages)}, not to 100'
  if wrong:
    raise UserError(
        f'--split={text} {wrong}: give the percentages of training, validation '
        'and test pictures, such as --split=80,10,10, or of training and '
        'validation pictures, such as --split=90,10.')
  return percentages


def split(tree: Tree, percentages: Sequence[int], seed: int) -> Tree:
  """Divides the training split of a tree, its only one.

  Args:
    tree: the pictures.
    percentages: what `parse` returns.
    seed: another division for each.

  Returns:
    A tree with the same pictures, each class of which has at least one picture
    in each split.

  Raises:
    UserError: the tree has several splits already, or a class has too few
      pictures.
  """
  shares = ','.join(map(str, percentages))
  flag = f'--split={shares}'
  if len(tree.splits) > 1:
    raise UserError(
        f'{flag} does not apply to pictures that have the splits '
        f'{", ".join(tree.splits)} already: leave it out.')
  by_class: list[list[str]] = [[] for _ in tree.classes]
  for file, label in tree.splits['train']:
    by_class[label].append(file)
  few = [f'{name}: {len(files)}' for name, files in zip(tree.classes, by_class)
         if len(files) < len(percentages)]
  if few:
    raise UserError(
        f'{flag} needs at least {len(percentages)} pictures of each class, but '
        f'{tree.folder} has fewer of {len(few)} classes '
        f'({image_tree.some(few)}): add some, or delete these classes.')
  splits = {name: [] for name in _SPLITS[:len(percentages)]}
  for label, files in enumerate(by_class):
    todo = iter(sorted(files, key=lambda file: _key(file, seed)))
    for name, count in zip(splits, counts(len(files), percentages)):
      splits[name] += sorted((next(todo), label) for _ in range(count))
  return tree._replace(splits=splits, note=(
      f'{tree.note}; split {shares} of each class by seed {seed}'))


def counts(total: int, percentages: Sequence[int]) -> list[int]:
  """Returns how many of `total` pictures each split gets, at least one.

  Args:
    total: at least the number of splits.
    percentages: positive, with the sum 100.
  """
  found = [total * share // 100 for share in percentages]
  # Largest remainders first; those of equal size in the order of the splits.
  order = sorted(range(len(found)),
                 key=lambda i: -(total * percentages[i] % 100))
  for i in order[:total - sum(found)]:
    found[i] += 1
  for i, count in enumerate(found):
    if not count:
      found[found.index(max(found))] -= 1
      found[i] = 1
  return found


def _key(file, seed):
  return hashlib.sha256(f'{seed}\0{file}'.encode()).digest(), file
