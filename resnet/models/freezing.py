"""Keeps parts of a network as they are while the rest is trained."""
from collections.abc import Sequence

import keras

from configs.process.errors import UserError
from resnet.models import parts


def freeze(model: keras.Model, patterns: Sequence[str]) -> None:
  """Makes variables of a network not trainable; see parts.frozen.

  Their batch norms normalize by their moving statistics in training, too. No
  gradient is computed where none is needed: training skips the backward pass of
  what lies before the first trainable variable.

  Args:
    model: a network of this project, with fresh weights.
    patterns: see parts.frozen.

  Raises:
    UserError: a pattern matches nothing, or nothing is left to train.
  """
  if not patterns:
    return
  paths = [v.path for v in model.variables]
  found = parts.frozen(paths, patterns)
  trainable = {v.path for v in model.trainable_variables} - found
  if not trainable:
    raise UserError(
        f"config.finetune.frozen={','.join(patterns)} leaves nothing to train: "
        f'leave out one of the parts ({", ".join(parts.parts(paths))}).')
  still = set(parts.still_norms(paths, found))
  for layer in model._flatten_layers(include_self=False):  # Nested ones too.
    if layer.path in still:
      layer.trainable = False
  for variable in model.variables:
    variable.trainable = variable.path in trainable
