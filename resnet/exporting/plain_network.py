"""Rebuilds a trained network for inference, from Keras's own layers alone.

A network of Keras's layers can be loaded where this project is not installed,
and converters know all of its operations. Batch norm becomes a part of the
convolution before it, which saves time and memory. Random draws are left out.

  network = build(model, values, (224, 224, 3))
  logits = network(standardized)
"""
import collections

import keras

from resnet.exporting import plain_layers
from resnet.exporting.plain_layers import NotPlain, Values
from resnet.models.layers import network_of


def build(model: keras.Model, values: Values,
          image_shape: tuple[int, ...]) -> keras.Model:
  """Returns a network that computes what another does in inference.

  Args:
    model: a functional model, its input 'image' and perhaps 'position'.
    values: of all its variables, by path.
    image_shape: (h, w, c) of standardized images.

  Returns:
    Keras functional model, float32 [b, h, w, c] -> logits float32 [b, classes].

  Raises:
    NotPlain: the network has layers that Keras does not have.
  """
  image = keras.Input(image_shape, dtype='float32', name='standardized')
  tensors = {}  # By the id of the tensor that each stands for.
  users = collections.defaultdict(list)
  for layer in model.operations:
    for tensor in _inputs(layer):
      users[id(tensor)].append(layer)
  folded = set()
  for layer in model.operations:
    if isinstance(layer, keras.layers.InputLayer):
      new = image if layer.name == 'image' else None  # 'position' is not used.
    else:
      inputs = [_standing_for(tensor, tensors) for tensor in _inputs(layer)]
      after = users[id(_output(layer))]
      if layer in folded:
        new, = inputs
      elif _is_norm(after) and plain_layers.folds(layer):
        new = plain_layers.apply_folded(layer, after[0], inputs[0], values)  # pyright: ignore[reportArgumentType]
        folded.update(after)
      else:
        new = plain_layers.apply(layer, inputs, values)
    tensors[id(_output(layer))] = new
  logits = _standing_for(model.output, tensors)
  return network_of(image, logits, model.name, len(tensors))  # pyright: ignore[reportArgumentType]


def _is_norm(users):
  return len(users) == 1 and isinstance(users[0], plain_layers.NORMS)


def _standing_for(tensor, tensors):
  if id(tensor) not in tensors:  # Of a layer's second call, say.
    raise NotPlain('one of its layers is used more than once')
  return tensors[id(tensor)]


def _inputs(layer):
  if isinstance(layer, keras.layers.InputLayer):
    return []
  return keras.tree.flatten(layer.input)


def _output(layer):
  outputs = keras.tree.flatten(layer.output)
  if len(outputs) > 1:
    raise NotPlain(f'{layer.name} has {len(outputs)} results')
  return outputs[0]
