"""Predicts pictures with an export in place of a run: a SavedModel.

  exported = load('runs/pets/export')
  for prediction in exported.files(['cat.jpg']): ...

`python -m resnet.export` writes it. Pictures are read as those of a run are,
see predictions.py; all else, decoding included, is in the export.
"""
from collections.abc import Iterable, Iterator, Sequence
import os
import pathlib

import numpy as np
import tensorflow as tf

from configs.process.errors import first_line, UserError
from resnet.exporting import folder, saved_model
from resnet.inference import predictions
from resnet.inference.predictions import Prediction

_MODEL = 'saved_model'
_GRAPH = 'saved_model.pb'
_SIGNATURE = 'encoded'
_RESULTS = ('logits', 'probabilities')
_REMEDY = ('give the folder that `python -m resnet.export '
           '--format=saved_model` wrote')


class Exported:
  """An export that is loaded. It computes on the first GPU, or the CPU."""

  def __init__(self, path: pathlib.Path, classes: Sequence[str], loaded,
               batch: int = predictions.BATCH):
    """Makes a predictor; see `load`."""
    self.classes, self._path, self._batch = tuple(classes), path, batch
    self._loaded = loaded  # Its variables live as long as it does.
    self._function = loaded.signatures[_SIGNATURE]

  def files(self, files: Iterable[str | os.PathLike],
            keep_orientation: bool = False) -> Iterator[Prediction]:
    """Predicts picture files; see predictions.Predictor.files."""
    return predictions.predict(
        files, lambda file: predictions.read_encoded(file, keep_orientation),
        self._compute, self._batch)

  def _compute(self, encoded: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (logits, probabilities), float32 [n, classes] each."""
    try:
      results = self._function(encoded=tf.constant(encoded))
    except tf.errors.OpError as error:
      raise UserError(
          f'The export {self._path} cannot compute a batch of {len(encoded)} '
          f'pictures ({first_line(error)}): lower --batch, or predict with the '
          'run itself, --workdir.') from error
    logits, probabilities = (results[name].numpy() for name in _RESULTS)
    return logits, probabilities


def load(path: str | os.PathLike, batch: int = predictions.BATCH) -> Exported:
  """Loads an export.

  Args:
    path: what `python -m resnet.export` wrote, or the saved_model folder in it,
      which may have been copied elsewhere.
    batch: pictures that are computed at a time.

  Raises:
    UserError: it is something else, damaged, or of another version.
    TryAgain: it cannot be read now.
  """
  path = pathlib.Path(path)
  inner = path if (path / _GRAPH).is_file() else path / _MODEL
  if not (inner / _GRAPH).is_file():
    raise UserError(f'--model={path} is not an export (there is no '
                    f'{inner / _GRAPH}): {_REMEDY}.')
  record = folder.read_record(inner.parent) if inner.name == _MODEL else None
  if record is not None:
    _check_digests(inner, record)
  try:
    loaded = tf.saved_model.load(os.fspath(inner))
    signature = loaded.signatures.get(_SIGNATURE)
    results = signature and signature.structured_outputs
  # TensorFlow raises anything for a graph or variables that are damaged.
  except Exception as error:
    raise UserError(f'--model={path} cannot be loaded ({first_line(error)}): '
                    f'{_REMEDY}.') from error
  if not results or not set(_RESULTS) <= set(results):
    raise UserError(
        f'--model={path} takes no encoded pictures, or returns no '
        f'{" and ".join(_RESULTS)}, so it is of another version or for images '
        f'that are not pictures: {_REMEDY}.')
  classes = _classes(inner) if record is None else record['classes']
  if len(classes) != results['logits'].shape[-1]:
    raise UserError(
        f'--model={path} has {results["logits"].shape[-1]} logits, but names '
        f'of {len(classes)} classes: export the run again.')
  return Exported(path, classes, loaded, batch)


def _check_digests(inner, record):
  """Checks that files are those that were written."""
  known = record.get('exports', {}).get(_MODEL, {}).get('files')
  if known and known != folder.digests(inner):
    raise UserError(
        f'{inner} is damaged: its files are not those that {folder.RECORD} '
        'lists, so export the run again.')


def _classes(inner):
  """Returns the names that a SavedModel has inside."""
  path = inner / 'assets' / saved_model.CLASSES
  try:
    return path.read_text(encoding='utf-8').split('\n')[:-1]
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
        f'{path} cannot be read ({error}), so the names of the classes are not '
        'known: export the run again.') from error
