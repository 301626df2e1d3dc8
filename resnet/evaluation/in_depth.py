"""Writes an evaluation in depth into a folder: JSON, CSV and pictures.

  metrics.json     all figures; written last, so it is there if all else is
  per_class.csv    examples, accuracy, precision and recall of each class
  confusion.csv    examples by label (lines) and prediction (columns); .png too
  calibration.csv  the bins of the expected calibration error; .png too
  predictions.csv  every example: label, prediction, probability, loss
  worst.png        the pictures with the highest loss
  confused.png     pictures of the two classes that are most confused

Each file is replaced as a whole. Other files in the folder are left alone.
"""
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import json
import pathlib
import re
from typing import Any

import numpy as np

from configs.process import atomic_file
from configs.process.errors import writing
from resnet.evaluation import calibration, charts, confusion
from resnet.evaluation import examples as examples_lib
from resnet.evaluation.examples import Examples
from resnet.reporting import csv_text, picture_sheet

_METRICS = 'metrics.json'
_PICTURES = 32  # On a sheet, at most.
_NAMES = (_METRICS, 'per_class.csv', 'confusion.csv', 'confusion.png',
          'calibration.csv', 'calibration.png', 'predictions.csv', 'worst.png',
          'confused.png')


def folder_name(data: str, split: str, steps: Sequence[int],
                flip: bool | None) -> str:
  """Returns the name of the folder of an evaluation.

  Args:
    data: name of the data set.
    split: evaluated.
    steps: of the checkpoints; of several, the weights are averaged.
    flip: what was asked for; None: nothing.
  """
  mean = f'_mean{len(steps)}' if len(steps) > 1 else ''
  mirrored = {None: '', True: '_flip', False: '_noflip'}[flip]
  name = f'eval_{data}_{split}_step{steps[-1]}{mean}{mirrored}'
  return re.sub(r'[^\w.+-]', '-', name)


def prepare(folder: pathlib.Path) -> None:
  """Makes the folder, and removes the mark that it is complete.

  Called before the pass, so that a folder that cannot be written is reported
  at once.
  """
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _METRICS).unlink(missing_ok=True)


def write(folder: pathlib.Path, examples: Examples, names: Sequence[str],
          source: Any, figures: Mapping[str, Any]) -> list[str]:
  """Writes all files; those of an earlier evaluation are replaced.

  Args:
    folder: prepared.
    examples: of the split.
    names: of the classes.
    source: the split, see pipelines/sources.py, to read pictures from.
    figures: for metrics.json; its 'details' are those of figures.of.

  Returns:
    The names of the files.
  """
  written = []
  for name, content in _files(examples, names, source, figures['details']):
    with writing(folder / name):
      atomic_file.write(folder / name, content, durable=False)
    written.append(name)
  for name in {*_NAMES} - {*written, _METRICS}:
    with contextlib.suppress(OSError):
      (folder / name).unlink()
  with writing(folder / _METRICS):
    atomic_file.write(folder / _METRICS, json.dumps(figures, indent=2) + '\n')
  return [*written, _METRICS]


def _files(examples, names, source, details) -> Iterator[tuple[str, Any]]:
  """Yields the (name, content) of all files but metrics.json."""
  columns = ('label', 'class', 'examples', 'predicted', 'accuracy',
             'precision', 'recall')
  yield 'per_class.csv', csv_text.text(columns, (
      [one[column] for column in columns] for one in details['classes']))
  if len(names) <= charts.MOST_CLASSES:
    matrix = confusion.matrix(examples.label, examples.predicted, len(names))
    yield 'confusion.csv', csv_text.text(
        ('label', *names), ([name, *row] for name, row
                            in zip(names, matrix.tolist())))
    yield 'confusion.png', charts.confusion_png(matrix, names)
  bins = [calibration.Bin(**one) for one in details['calibration']]
  yield 'calibration.csv', csv_text.text(calibration.Bin._fields, bins)
  yield 'calibration.png', charts.calibration_png(bins, details['ece'])
  yield 'predictions.csv', csv_text.text(
      ('index', 'label', 'predicted', 'probability', 'loss'),
      ([index, names[label], names[predicted], probability, loss]
       for index, label, predicted, probability, loss in zip(
           *(column.tolist() for column in examples[:5]))))
  yield from _sheets(examples, names, source)


def _sheets(examples, names, source):
  """Yields the pictures of the worst and of the most confused examples."""
  order = np.argsort(-examples.loss, kind='stable')[:_PICTURES]
  chosen = {'worst.png': order}
  pairs = confusion.pairs(examples.label, examples.predicted)
  if pairs:
    label, predicted = pairs[0][:2]
    of_pair = np.flatnonzero((examples.label == label)
                             & (examples.predicted == predicted))
    surest = np.argsort(-examples.probability[of_pair], kind='stable')
    chosen['confused.png'] = of_pair[surest][:_PICTURES]
  for name, places in chosen.items():
    images = examples_lib.pictures(source, examples.index[places])
    yield name, picture_sheet.png(
        images, [_caption(examples, names, place) for place in places])


def _caption(examples, names, place):
  return (f'{names[examples.label[place]]}\n'
          f'-> {names[examples.predicted[place]]} ('
          f'{examples.probability[place]:.2f})\n'
          f'loss {examples.loss[place]:.2f}, {examples.index[place]}')
