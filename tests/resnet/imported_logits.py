"""Compares a network that weights were imported into with where they are from.
"""
import ast
import dataclasses
import functools

import keras
import numpy as np

from configs import schema
from resnet import network
from resnet.weights import imported

TOLERANCE = 1e-4  # Of the range of the logits.


def config(**model):
  """Returns a config of ResNet-50 v1.5 with fields of the model replaced."""
  return schema.Config(model=schema.Model(**{
      'family': 'imagenet', 'depth': 50, 'version': 'v1.5', 'stem': 'imagenet',
      'width': 64, **model}))


def images(side, count=2):
  """Returns random images, float32 [count, side, side, 3] of 0 to 255."""
  return np.random.default_rng(1).integers(
      0, 256, (count, side, side, 3)).astype(np.float32)


def fit(path, settings, side, classes, model=None):
  """Returns the weights of a file for a network whose variables have no values.

  Args:
    path: of the file.
    settings: the config of the network.
    side: of its images.
    classes: how many.
    model: the network; None: it is built.
  """
  with keras.StatelessScope(initialize_variables=False):
    model = model or network.build_model(settings, (side, side, 3), classes)
  weights = imported.load(str(path), model, settings,
                          [f'class {i}' for i in range(classes)])
  assert weights.values.keys() == {
      v.path for v in model.variables} - {*weights.made_new}
  return weights


@functools.cache
def _built(text, side, classes):
  fields = ast.literal_eval(text)
  return network.build_model(config(**fields), (side, side, 3), classes)


def of(path, settings, side, classes):
  """Returns (logits of `images`, Imported) of a file of weights."""
  model = _built(repr(dataclasses.asdict(settings.model)), side, classes)
  weights = fit(path, settings, side, classes, model)
  for variable in model.variables:
    variable.assign(weights.values[variable.path])
  assert weights.mean is not None and weights.stddev is not None
  x = (images(side) - weights.mean) / weights.stddev
  return np.asarray(model({'image': x}, training=False)), weights


def assert_equal(found, expected):
  """Asserts that logits are the same, to a share of their range."""
  difference = np.abs(found - expected).max() / np.ptp(expected)
  print(f'{difference:.1e} of the range')
  assert difference < TOLERANCE
