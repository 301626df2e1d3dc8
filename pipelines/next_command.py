"""The commands that train on pictures that have just been prepared.

Their numbers follow from how many pictures there are, and how large. They suit
a first run that ends soon; all of them can be changed.
"""
from collections.abc import Mapping, Sequence
import math
import shlex
from typing import NamedTuple

# Heights and widths. From _STRIDED on, the first layers divide them by 4.
_SIZES = 32, 48, 64, 96, 128, 160, 192, 224
_STRIDED = 64
# Few pictures are better seen often than in detail: (less than, largest size).
_LARGEST = (1000, 64), (10_000, 128)
_BATCHES = 8, 256  # Smallest, if there are as many pictures; largest.
_EPOCHS = 30  # At least, and those of configs/finetune_resnet50.py.
_UPDATES, _FINE_TUNING_UPDATES = 400, 150  # At least.
_FINE_TUNING_BATCH = 32  # configs/finetune_resnet50.py
_EVAL_BATCH = 100
_EVALUATIONS = 20  # Of a run, at most.


class Prepared(NamedTuple):
  """What is known of a data set."""
  name: str
  data_dir: str
  splits: Mapping[str, int]  # {name: examples}; train has two at least.
  sides: Sequence[int]  # Shorter sides of some pictures, sorted.


class _Split(NamedTuple):
  name: str  # Or a slice.
  size: int


def from_scratch(prepared: Prepared) -> str:
  """Returns the command that trains a network from random weights."""
  train, evaluated = _splits(prepared.splits)
  size = image_size(prepared.sides, train.size)
  batch = batch_size(train.size)
  epochs = train_epochs(train.size, batch, _UPDATES)
  words = [f'--config.data.image_size={size}']
  if size < _STRIDED:  # Every pixel counts.
    words += ['--config.model.stem=cifar', '--config.data.eval_crop=1']
  words += [
      f'--config.global_batch={batch}', f'--config.train_epochs={epochs}',
      f'--eval_every_epochs={-(-epochs // _EVALUATIONS)}']
  return _command('pictures_resnet18', prepared, train, evaluated, words,
                  f'runs/{prepared.name}')


def fine_tuning(prepared: Prepared) -> str:
  """Returns the command that fine-tunes a network; WEIGHTS is to be filled in.
  """
  train, evaluated = _splits(prepared.splits)
  batch = min(_FINE_TUNING_BATCH, batch_size(train.size))
  return _command(
      'finetune_resnet50', prepared, train, evaluated,
      [f'--config.global_batch={batch}', '--config.train_epochs='
       f'{train_epochs(train.size, batch, _FINE_TUNING_UPDATES)}',
       '--init_from=WEIGHTS'],
      f'runs/{prepared.name}_finetuned')


def image_size(sides: Sequence[int], train: int) -> int:
  """Returns a height and width that enlarges few of the pictures.

  Args:
    sides: shorter sides of some pictures, sorted; nine tenths of them are not
      less than the result, unless it is the smallest.
    train: pictures of the training split.
  """
  largest = next((size for below, size in _LARGEST if train < below),
                 _SIZES[-1])
  usual = sides[len(sides) // 10] if sides else largest
  return max([size for size in _SIZES if size <= min(usual, largest)],
             default=_SIZES[0])


def batch_size(train: int) -> int:
  """Returns the power of two next to the square root of `train`, at most it.

  An epoch then has about as many updates as a batch has pictures.
  """
  least, most = _BATCHES
  batch = 2 ** round(math.log2(train) / 2)
  return min(max(least, min(batch, most)), 2 ** int(math.log2(train)))


def train_epochs(train: int, batch: int, updates: int) -> int:
  """Returns the passes over `train` pictures that make at least `updates`."""
  return max(_EPOCHS, -(-updates * batch // train))


def _splits(sizes):
  """Returns the training and the evaluation split."""
  total = sizes['train']
  for name in 'validation', 'test':
    if name in sizes:
      return _Split('train', total), _Split(name, sizes[name])
  if total < 10:  # A tenth would round to nothing.
    return _Split('train[:-1]', total - 1), _Split('train[-1:]', 1)
  share = 20 if total < 1000 else 10
  border = round((100 - share) * total / 100)  # As TFDS rounds.
  return (_Split(f'train[:{100 - share}%]', border),
          _Split(f'train[{100 - share}%:]', total - border))


def _command(recipe, prepared, train, evaluated, words, workdir):
  return shlex.join([
      'python', '-m', 'resnet.train', f'--config={recipe}',
      f'--config.data.name={prepared.name}',
      f'--config.data.train_split={train.name}',
      f'--config.data.eval_split={evaluated.name}', *words,
      f'--config.eval_batch={min(_EVAL_BATCH, evaluated.size)}',
      f'--data_dir={prepared.data_dir}', f'--workdir={workdir}'])
