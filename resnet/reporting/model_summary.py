"""Describes a network layer by layer: shapes, weights and multiply-adds.

Nothing is computed, and no weight gets a value: a network of any size takes
a few seconds and little memory.

  network = build(run.config, data)
  print(text(network, 'ResNet-50 v1.5'))
"""
from collections.abc import Mapping
import dataclasses
import math
from typing import Any, NamedTuple

import keras

from configs import schema
from resnet import network

_COUNTED = """\
Multiply-adds are those of one image, forward: the products of the kernels of
convolutions (also grouped and depthwise ones) and of dense layers, one for each
weight of the kernel and each pixel of the output. Not counted: biases, batch
norm, activations, pooling, blurring, scaling, and sums. Papers call the figure
FLOPs, MACs or multiply-adds.
Weights are trained; statistics are those of batch norm.
"""


class Row(NamedTuple):
  """One layer."""
  name: str
  kind: str
  output: tuple[int | None, ...]  # Without the batch.
  weights: int
  statistics: int
  multiply_adds: int
  uncounted: bool = False  # Whether it has weights of an unknown use.


def build(config: schema.Config, data: Mapping[str, Any]) -> keras.Model:
  """Builds the network of a run, whose variables have no values.

  Args:
    config: of the run. A network for images of several sizes is described for
      the one that the data have.
    data: record of the data, see pipelines.identity.record.

  Raises:
    UserError: there is no such network.
  """
  config = dataclasses.replace(
      config, augment=dataclasses.replace(config.augment, sizes=()),
      data=dataclasses.replace(config.data, eval_size=0))
  with keras.StatelessScope(initialize_variables=False):
    return network.build_model(
        config, tuple(data['image_shape']), len(data['classes']))


def rows(model: keras.Model) -> list[Row]:
  """Returns all layers, in the order of the network."""
  return [_row(layer) for layer in model.layers]


def text(model: keras.Model, title: str) -> str:
  """Returns a table of all layers, with the sums in its last line."""
  found = rows(model)
  weights, statistics, products = (
      sum(column) for column in list(zip(*found))[3:6])
  total = Row('total', f'{len(found)} layers', (), weights, statistics,
              products)
  table = [('layer', 'kind', 'output', 'weights', 'statistics',
            'multiply-adds'), *map(_cells, [*found, total])]
  widths = [max(map(len, column)) for column in zip(*table)]
  lines = ['  '.join([*(cell.ljust(width) for cell, width in
                        zip(line[:3], widths)),
                      *(cell.rjust(width) for cell, width in
                        zip(line[3:], widths[3:]))]).rstrip()
           for line in table]
  rule = '-' * max(map(len, lines))
  unknown = ', '.join(row.name for row in found if row.uncounted)
  warning = (f'Not counted either, although they have weights: {unknown}.\n'
             if unknown else '')
  return '\n'.join([title, '', _COUNTED + warning, lines[0], rule,
                    *lines[1:-1], rule, lines[-1], ''])


def totals(model: keras.Model) -> tuple[int, int]:
  """Returns (weights, multiply-adds of one image)."""
  found = rows(model)
  return (sum(row.weights for row in found),
          sum(row.multiply_adds for row in found))


def _row(layer):
  output = tuple(layer.output.shape[1:])
  kernel = getattr(layer, 'kernel', None)
  # [h, w, in / groups, out] of convolutions, [h, w, in, multiplier] of
  # depthwise ones, [in, out] of dense layers: used once for each pixel.
  products = 0 if kernel is None else (
      math.prod(kernel.shape) * math.prod(output[:-1]))
  unknown = any(len(weight.shape) > 1 and weight is not kernel
                for weight in layer.trainable_weights)
  return Row(layer.name, type(layer).__name__, output,
             _size(layer.trainable_weights), _size(layer.non_trainable_weights),
             products, unknown)


def _size(variables):
  return sum(math.prod(variable.shape) for variable in variables)


def _cells(row):
  return (row.name, row.kind, ' x '.join(map(str, row.output)),
          *(f'{number:,}' for number in row[3:6]))
