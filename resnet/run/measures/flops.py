"""Floating-point operations that training takes, and the most a GPU can do.

A multiply-add is two operations; model_summary says which ones count. Training
takes three times those of the forward pass: once forward, once for the gradient
of the weights, once for that of the layer's input. This is how published shares
of the peak count (Kaplan et al. 2020, arXiv:2001.08361, section 2.1; Chowdhery
et al. 2022, PaLM, arXiv:2204.02311, appendix B), with the input gradient of the
first layer, which nobody computes. Where parts are frozen, less is counted: no
weight gradient of a frozen layer, and no input gradient where nothing below is
trained. Augmentation, the optimizer and averages are not counted.
"""
import collections
from collections.abc import Iterator, Sequence
import itertools
import re
from typing import NamedTuple

import keras

from configs import schema
from resnet import plan
from resnet.reporting import model_summary


class Peak(NamedTuple):
  """Published peak of a GPU, dense, in TFLOP/s; 0: it has no such units."""
  float32: float  # Outside of tensor cores.
  tensor_float32: float
  float16: float
  bfloat16: float


# By the names of the driver, whole: parts of a GPU (MIG) and relatives such as
# A10G have other names. Sources: NVIDIA's data sheets of each product; what
# they give "with sparsity" is halved. B200: Blackwell architecture brief, HGX
# B200 at 1,000 W.
_PEAKS = {
    r'(Tesla )?V100-SXM2-\d+GB': Peak(15.7, 0, 125, 0),
    r'(Tesla )?V100-PCIE-\d+GB': Peak(14, 0, 112, 0),
    r'(Tesla )?T4': Peak(8.1, 0, 65, 0),
    'A10': Peak(31.2, 62.5, 125, 125),
    r'A100-(SXM4|PCIE)-\d+GB|A100 80GB PCIe': Peak(19.5, 156, 312, 312),
    'L4': Peak(30.3, 60, 121, 121),
    'L40S': Peak(91.6, 183, 362.05, 362.05),
    'H100 80GB HBM3': Peak(67, 989 / 2, 1979 / 2, 1979 / 2),
    'H100 PCIe': Peak(51, 756 / 2, 1513 / 2, 1513 / 2),
    'H200': Peak(67, 989 / 2, 1979 / 2, 1979 / 2),
    'B200': Peak(80, 2200 / 2, 4500 / 2, 4500 / 2)}


def peak(gpu: str, precision: str, tensor_float32: bool) -> float | None:
  """Returns the FLOP/s that a GPU can do at most, None if it is not known.

  Args:
    gpu: its name, as the driver gives it.
    precision: see schema.Config.
    tensor_float32: whether TensorFlow computes convolutions of float32 in TF32,
      as it does by default, on GPUs that can.
  """
  name = gpu.removeprefix('NVIDIA ')
  for pattern, found in _PEAKS.items():
    if re.fullmatch(pattern, name):
      if precision == 'float32' and tensor_float32 and found.tensor_float32:
        precision = 'tensor_float32'
      return getattr(found, precision) * 1e12 or None
  return None


def of_image(model: keras.Model) -> int | None:
  """Returns the operations of a training image; None if not all can be counted.

  Args:
    model: for images of one size; see model_summary.build.
  """
  total = 0
  for row, passes in _passes(model, {}):
    if row.uncounted:
      return None
    total += 2 * row.multiply_adds * passes
  return total


def by_size(config: schema.Config, model: keras.Model,
            image_shape: Sequence[int], classes: int) -> dict[int, int | None]:
  """Returns {size: operations of a training image} of the sizes in training.

  Args:
    config: what is trained.
    model: its network.
    image_shape: (h, w, c) of the data.
    classes: length of the logits.
  """
  size = config.data.image_size
  if len(schema.image_sizes(config)) < 2:
    return {size: of_image(model)}
  # The network accepts any size: that of one size is built, without weights.
  return {size: of_image(model_summary.build(config, {
      'image_shape': (size, size, image_shape[-1]),
      'classes': range(classes)})) for size in config.augment.sizes or (size,)}


def of_steps(config: schema.Config, by_size: dict[int, int | None], first: int,
             last: int, total_steps: int) -> float | None:
  """Returns the operations of the updates that follow `first`, up to `last`.

  Args:
    config: what is trained.
    by_size: see `by_size`.
    first: step.
    last: a later step.
    total_steps: updates of the run.
  """
  flops, step = 0, first
  while step < last:
    size, end = plan.phase(
        step, config.augment.sizes or (config.data.image_size,), total_steps)
    of_one, end = by_size.get(size), min(end, last)
    if of_one is None:
      return None
    flops += (end - step) * config.global_batch * of_one
    step = end
  return flops


def _passes(model: keras.Model, below: dict[int, tuple[bool, bool]]
            ) -> Iterator[tuple[model_summary.Row, int]]:
  """Yields the layers, of models in the model too, and how often each computes:
  forward, for the gradient of its kernel, for that of its input.

  Args:
    model: its layers are connected; others are one row, which is not counted.
    below: {id of a tensor: (it depends on weights, on trained ones)}, to which
      the tensors of the model are added.
  """
  rows = dict(zip(map(id, model.layers), model_summary.rows(model)))
  calls = collections.defaultdict(list)
  for node in itertools.chain(*model._nodes_by_depth.values()):
    calls[id(node.operation)].append(node)
  for operation in model.operations:
    node, *more = calls[id(operation)]
    inputs = [below.get(id(tensor), (False, False))
              for tensor in node.input_tensors]
    has_weights, has_trained = (
        any(one[index] for one in inputs) for index in range(2))
    if isinstance(operation, keras.Model) and hasattr(
        operation, 'operations') and not more:
      below |= dict.fromkeys(map(id, keras.tree.flatten(operation.inputs)),
                             (has_weights, has_trained))
      yield from _passes(operation, below)
      below |= {id(outer): below[id(inner)] for outer, inner in zip(
          node.outputs, keras.tree.flatten(operation.outputs))}
      continue
    row, kernel = rows.get(id(operation)), getattr(operation, 'kernel', None)
    trains = kernel is not None and kernel.trainable
    if row:
      yield row._replace(uncounted=row.uncounted or bool(more)), (
          1 + trains + (has_trained or trains and not has_weights))
    after = (has_weights or bool(getattr(operation, 'weights', ())),
             has_trained or bool(getattr(operation, 'trainable_weights', ())))
    for tensor in node.outputs:  # Those of an inner model's input are known.
      below.setdefault(id(tensor), after)
