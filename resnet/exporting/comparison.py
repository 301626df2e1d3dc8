"""Compares exports with evaluation, in fresh processes without this project."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from resnet.exporting import fresh_process
from resnet.exporting.inference import Inference
from resnet.exporting.pictures import Pictures

# This project; wherever it is installed, it cannot be imported.
_BLOCKED = ('configs', 'launch', 'pipelines', 'resnet', 'tests')
_ROUNDING = 1e-5  # Of probabilities, which are computed from the logits.


class Refused(Exception):
  """An export does not compute what evaluation does; the message says how.

  Programs print it and exit with code 1: nothing that the user gave is wrong.
  """


class Expected(NamedTuple):
  """What evaluation makes of the pictures, computed in float32."""
  pictures: Pictures
  logits: np.ndarray  # Of their pixels, float32 [n, classes].
  encoded_logits: np.ndarray  # Of the encoded pictures; [0, classes]: none.
  run_logits: np.ndarray  # Of their pixels, in the precision of the run.

  @property
  def range(self) -> float:
    """The largest logit minus the smallest."""
    return max(float(np.ptp(self.logits)), 1e-6)

  @property
  def rounding(self) -> float:
    """How far the precision of the run takes logits, as a share of the range.
    """
    return float(np.abs(self.run_logits - self.logits).max()) / self.range


def difference(name: str, path: pathlib.Path, inference: Inference,
               expected: Expected) -> float:
  """Returns the largest difference of logits, as a share of their range.

  Args:
    name: of the format.
    path: of the export.
    inference: what was exported.
    expected: what evaluation computes.

  Raises:
    Refused: the export cannot be loaded, or its parts contradict each other.
  """
  results = _run(name, path, expected.pictures)
  pairs = [('', expected.logits)]
  if name == 'saved_model' and len(expected.encoded_logits):
    pairs.append(('encoded_', expected.encoded_logits))
  largest = 0.0
  for prefix, logits in pairs:
    found = {key.removeprefix(prefix): value for key, value in results.items()
             if key.startswith(prefix)}
    _check_outputs(path, found, logits, inference)
    largest = max(largest, float(np.abs(found['logits'] - logits).max()))
  return largest / expected.range


def _check_outputs(path, found, logits, inference):
  """Raises Refused unless all outputs fit to the logits that were found."""
  if found['logits'].shape != logits.shape:
    raise Refused(f'{path.name} has logits of shape {found["logits"].shape} '
                  f'instead of {logits.shape}: nothing is exported.')
  if not np.isfinite(found['logits']).all():
    raise Refused(f'{path.name} computes logits that are not finite: nothing '
                  'is exported.')
  own = inference.outputs(tf.constant(found['logits']))['probabilities'].numpy()
  wrong = np.abs(own - found['probabilities']).max() > _ROUNDING
  if 'label' in found:
    label = found['logits'].argmax(1)
    names = [inference.classes[i].encode() for i in label]
    wrong |= (found['label'] != label).any() or list(found['class']) != names
  if wrong:
    raise Refused(f'{path.name} has probabilities or classes that its logits '
                  'do not give: nothing is exported.')


def _run(name: str, path: pathlib.Path, pictures: Pictures) -> dict[str, Any]:
  """Returns the outputs of an export, computed in another process."""
  arrays = {f'picture{i}': image for i, image in enumerate(pictures.pixels)}
  arrays |= {f'encoded{i}': np.frombuffer(file, np.uint8)
             for i, file in enumerate(pictures.encoded)
             if name == 'saved_model'}
  with tempfile.TemporaryDirectory() as folder:
    job, given, results = (
        os.path.join(folder, file)
        for file in ('job.json', 'pictures.npz', 'results.npz'))
    np.savez(given, **arrays)  # pyright: ignore[reportArgumentType]
    pathlib.Path(job).write_text(json.dumps({
        'format': name, 'path': os.fspath(path.absolute()),
        'pictures': given, 'results': results, 'blocked': _BLOCKED,
        'paths': list(filter(None, sys.path))}), encoding='utf-8')
    text = pathlib.Path(fresh_process.__file__).read_text(encoding='utf-8')
    ended = subprocess.run(
        [sys.executable, '-c', text, job], cwd=folder, env=_environment(),
        stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if ended.returncode:
      raise Refused(
          f'{path.name} cannot be used without this project '
          f'({_last_line(ended)}): nothing is exported.')
    with np.load(results) as archive:
      return dict(archive)


def _environment():
  return {name: value for name, value in os.environ.items()
          if name not in ('PYTHONPATH', 'PYTHONSTARTUP')}


def _last_line(ended):
  lines = ended.stderr.decode(errors='replace').strip().splitlines()
  return lines[-1][:300] if lines else f'exit code {ended.returncode}'
