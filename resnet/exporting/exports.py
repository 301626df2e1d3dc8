"""Exports a run: writes each format, and compares it with evaluation.

  exported = export(restored, ['saved_model', 'onnx'], 'runs/digits/export')
"""
from collections.abc import Callable, Sequence
import dataclasses
import importlib
import importlib.metadata
import os
import pathlib
import sys
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from configs import schema
from configs.process import command_line, errors
from configs.process.errors import UserError
from pipelines.options import Reading
from resnet import network
from resnet.exporting import comparison, folder, formats, inference, pictures
from resnet.exporting.comparison import Refused
from resnet.inference.logits import Logits
from resnet.inference.restored import Restored
from resnet.run import description, software

_WRITERS = {'saved_model': 'saved_model', 'keras': 'keras_file',
            'onnx': 'onnx_file', 'litert': 'litert_file'}
WEIGHTS = ('evaluated', 'raw', 'average')
_BATCH = 64  # Pictures that evaluation computes at a time, at most.
_DEFAULT_READING = Reading()


class Exported(NamedTuple):
  """One file or folder of an export."""
  path: pathlib.Path
  format: str
  precision: str
  difference: float  # From evaluation: of logits, as a share of their range.
  bytes: int
  pictures: str  # What it was compared on, in words.


def export(restored: Restored, names: Sequence[str],
           output: str | os.PathLike | None = None, *,
           precisions: Sequence[str] = ('float32',), weights: str = 'evaluated',
           count: int = 100, reading: Reading = _DEFAULT_READING,
           strategy: tf.distribute.Strategy | None = None, jit: str = 'auto',
           command: Sequence[str] = (),
           on_written: Callable[[Exported], None] = lambda exported: None
           ) -> list[Exported]:
  """Writes a run in some formats, each of them checked in a fresh process.

  The folder gets all of them or none. Formats that it has already stay there
  if they are of the same weights; others are deleted, with a warning.

  Args:
    restored: the run, with the weights of a checkpoint.
    names: of formats, see formats.FORMATS.
    output: the folder; None: export/ in the run folder.
    precisions: of those formats that have several.
    weights: 'evaluated': as the config says; 'raw', or their 'average'.
    count: pictures to compare on.
    reading: how to read the run's data; the data_dir is that of the run unless
      this gives another one. Without the data, pictures are random.
    strategy: the devices that the run was restored on; None: TensorFlow's
      default.
    jit: of evaluation: 'auto', 'true' or 'false'.
    command: what is recorded as the command.
    on_written: called with each of them, once it is checked.

  Raises:
    UserError, Refused, TryAgain: nothing is exported.
  """
  files = formats.check(names, precisions)
  path = pathlib.Path(os.path.realpath(output or restored.workdir / 'export'))
  before = folder.check(path)
  averaged = _averaged(restored.config, weights)
  model = inference.build(restored, averaged)
  if reading.data_dir is None:
    reading = reading._replace(
        data_dir=description.read(restored.workdir).get('data_dir'))
  expected = _expected(
      restored, model.preprocessing, averaged, strategy, jit, pictures.take(
          restored.config, restored.image_shape, count, reading))
  record = _record(restored, model, averaged, expected, command)
  with folder.replacing(path) as partial:
    kept = _keep(path, partial, before, record, files)
    exported, described = [], {}
    for name, precision in files:
      file = formats.FORMATS[name].path(precision)
      started = time.monotonic()
      written = _write(partial / file, name, precision, model, expected)
      on_written(done := written._replace(path=path / file))
      exported.append(done)
      described[file] = {
          'format': name, 'precision': precision,
          'difference': written.difference,
          'tolerance': formats.TOLERANCES[precision],
          'compared_on': written.pictures,
          'secs': round(time.monotonic() - started, 1),
          'files': folder.digests(partial / file)}
    folder.write_record(partial, {**record, 'exports': {**kept, **described}})
  return exported


def _averaged(config, weights):
  """Returns whether the average of the weights is exported."""
  if weights not in WEIGHTS:
    raise UserError(f'--weights={weights} is not allowed: give one of '
                    f'{", ".join(WEIGHTS)}.')
  if weights == 'average' and not config.ema.decay:
    raise UserError('--weights=average needs a run that keeps an average of '
                    'its weights (config.ema.decay): leave --weights out.')
  if weights == 'evaluated':
    return bool(config.ema.decay and config.ema.evaluated)
  return weights == 'average'


def _expected(restored, preprocessing, averaged, strategy, jit, found):
  """Returns what evaluation computes of pictures, in float32."""
  config = dataclasses.replace(
      restored.config, precision='float32', ema=dataclasses.replace(
          restored.config.ema, evaluated=averaged))
  same = config.precision == restored.config.precision

  def logits(config, model, images):
    parts = -(-len(images) // _BATCH)
    compute = Logits(
        config, model, restored.state, strategy or tf.distribute.get_strategy(),
        jit=jit, batch=-(-len(images) // parts))
    return compute(images)

  images = found.prepared(preprocessing)
  exact = restored.model if same else _in_float32(restored, config)
  of_pixels = logits(config, exact, images)
  of_encoded = of_pixels[:0]
  if found.encoded:
    decoded = found.decoded(preprocessing)
    of_encoded = (of_pixels if np.array_equal(decoded, images)
                  else logits(config, exact, decoded))
  own = of_pixels if same else logits(
      dataclasses.replace(config, precision=restored.config.precision),
      restored.model, images)
  return comparison.Expected(found, of_pixels, of_encoded, own)


def _in_float32(restored, config):
  """Returns the network of a run in float32; its variables have no values."""
  with keras.StatelessScope(initialize_variables=False):
    return network.build_model(
        config, restored.image_shape, len(restored.classes))


def _record(restored, model, averaged, expected, command):
  """Returns what is kept of an export beside its files."""
  return {
      'classes': list(restored.classes),
      'image_shape': list(restored.image_shape),
      'input': _input_in_words(model, restored.config),
      'probabilities': 'sigmoid' if model.sigmoid else 'softmax',
      'mirrored': restored.config.data.eval_flip,
      'workdir': os.fspath(restored.workdir.absolute()),
      'step': restored.step, 'averaged': averaged,
      'weights_sha256': inference.digest(
          inference.values_of(restored, averaged)),
      'compared_on': expected.pictures.source,
      'logits_range': expected.range,
      'precision': restored.config.precision,
      'rounding': expected.rounding,
      'command': list(command) or sys.argv,
      'versions': {**software.versions(), **_versions()},
      'config': schema.to_dict(restored.config)}


def _input_in_words(model, config):
  """Returns a sentence on what an export does to its pictures."""
  height, width, channels = model.preprocessing.shape
  if model.preprocessing.crop:
    what = (f'the middle square, {config.data.eval_crop:g} of the shorter '
            f'side, is resized to {height} x {width} '
            f'({config.data.interpolation})')
  else:
    what = (f'pictures of {height} x {width} are taken as they are, others '
            'are cropped to that shape and resized')
    if config.data.pad_to:
      what += ', smaller ones get a border of zeros'
  return (f'uint8 [n, any, any, {channels}], {"RGB" * (channels == 3)}'
          f'{"gray" * (channels == 1)}; {what}; the orientation of EXIF is not '
          'read')


def _versions():
  """Returns the versions of packages that formats need, if they are there."""
  packages = {package for known in formats.FORMATS.values()
              for _, package in known.packages}
  found = {}
  for package in sorted({*packages, 'numpy'}):
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def _keep(path, partial, before, record, files):
  """Takes formats over that are there already; returns their records."""
  new = {formats.FORMATS[name].path(precision) for name, precision in files}
  old = {file: known for file, known in (before or {}).get(
      'exports', {}).items() if file not in new and (path / file).exists()}
  if old and before['weights_sha256'] != record['weights_sha256']:
    command_line.warn(
        f'{", ".join(old)} in {path} is of other weights (step '
        f'{before["step"]}), and is deleted: add its format to --format to '
        'have it anew.')
    return {}
  folder.keep(path, partial, list(old))
  return old


def _write(path, name, precision, model, expected):
  """Writes and checks one format; returns an Exported."""
  writer = importlib.import_module(f'resnet.exporting.{_WRITERS[name]}')
  try:
    writer.write(path, model, precision)
  except tf.errors.OpError as error:
    raise UserError(
        f'{path.name} cannot be written ({_reason(error)}): free some space or '
        'fix the permissions, then rerun the same command.') from error
  difference = comparison.difference(name, path, model, expected)
  tolerance = formats.TOLERANCES[precision]
  if not difference <= tolerance:
    raise Refused(
        f"{path.name} differs from evaluation by {difference:.1e} of the range "
        f'of logits, on {expected.pictures.source}, and at most {tolerance:g} '
        'is allowed: nothing is exported.')
  size = sum(file['bytes'] for file in folder.digests(path).values())
  return Exported(path, name, precision, difference, size,
                  expected.pictures.source)


def _reason(error):
  """Returns the last part of what TensorFlow says: before it are its paths."""
  text = error.message.partition(' [Op:')[0].rstrip()
  return text.rpartition('; ')[2] or errors.first_line(error)
