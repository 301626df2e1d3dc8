"""A recipe's own functions: a network, and metrics for its evaluations.

A recipe file may define, beside get_config(),

  def build(config): ...                # -> keras.Model; with
                                        # config.model.name='own'
  def build(config, image_shape, num_classes): ...  # Or this.
  metrics = {'margin': function}        # (labels int32 [b], logits float32
                                        # [b, classes]) -> float [b]

The network maps standardized images, float32 [b, h, w, c], to logits. Metrics
are means over all examples of an evaluation, each counted once.

The file's source is a part of the config, so a run needs nothing else to be
continued, evaluated or exported. It must not import other files of the user.
"""
from collections.abc import Callable, Mapping
import concurrent.futures
import functools
import inspect
from typing import Any

import keras
import tensorflow as tf

from configs import schema
from configs.process.errors import first_line, UserError
from resnet.models.layers import network_input
from resnet.run.events import tags

_RESERVED = ('split', 'step', 'time', 'data', 'checkpoints', 'ece', 'details',
             'temperature', 'folder', 'written')


def build(config: schema.Config, image_shape: tuple[int, ...],
          num_classes: int) -> keras.Model:
  """Builds the network of a recipe's own build().

  Args:
    config: what is trained, with the recipe's source in `code`.
    image_shape: (h, w, c) of the images.
    num_classes: of the data.

  Returns:
    {'image': float32 [b, h, w, c], standardized} -> logits [b, num_classes].

  Raises:
    UserError: there is no such function, it fails, or its network does not fit
      or would not train exactly.
  """
  function = _functions(config.code).get('build')
  if function is None:
    raise UserError(
        'config.model.name=own needs a recipe file with a function '
        'build(config): add it to the file, or give config.model.name=resnet.')
  arguments = (config, image_shape, num_classes)
  try:
    model = _with_fresh_names(
        lambda: function(*arguments[:_count(function)]))
  except UserError:
    raise
  except Exception as error:  # It is the user's: it may raise all.
    raise UserError(
        f"The recipe's build() fails ({type(error).__name__}: "
        f'{first_line(error)}): fix it.') from error
  if not isinstance(model, keras.Model):
    raise UserError(f"The recipe's build() returns a {type(model).__name__}: "
                    'return a keras.Model.')
  return _checked(model, image_shape, num_classes)


def metrics(config: schema.Config) -> Mapping[str, Callable]:
  """Returns the recipe's own metrics by name.

  Raises:
    UserError: `metrics` is not a dict of functions, or has a reserved name.
  """
  found = _functions(config.code).get('metrics', {})
  if not (isinstance(found, dict) and all(map(callable, found.values()))):
    raise UserError("The recipe's `metrics` is not a dict of functions: give "
                    "metrics = {'name': function}.")
  wrong = [name for name in found
           if not isinstance(name, str) or not name.isidentifier()
           or name in _RESERVED or tags.is_ours(name)]
  if wrong:
    raise UserError(
        f"The recipe's metrics have the name {wrong[0]!r}, which is reserved "
        'or not an identifier: choose another one.')
  return found


@functools.cache
def _functions(code: str) -> dict[str, Any]:
  """Runs a recipe's source; returns all that it defines."""
  namespace: dict[str, Any] = {'__name__': 'recipe'}
  try:
    exec(compile(code, 'recipe.py', 'exec'), namespace)
  except Exception as error:  # It is the user's: it may raise all.
    raise UserError(
        f"The recipe's source, as the run folder has it, cannot be run "
        f'({type(error).__name__}: {first_line(error)}): install what it '
        'imports.') from error
  return namespace


def _with_fresh_names(make):
  """Returns make(), whose layers are numbered as if they were the first.

  Keras numbers the layers of each thread. Their names are those of variables in
  a checkpoint, so they must not depend on what was built before.
  """
  strategy = tf.distribute.get_strategy()

  def make_in_scope():
    with strategy.scope():
      return make()

  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    return pool.submit(make_in_scope).result()


def _count(function):
  """Returns how many of (config, image_shape, num_classes) it takes."""
  return min(len(inspect.signature(function).parameters), 3)


def _checked(model, image_shape, num_classes):
  """Returns the model with an input named 'image'; raises UserError."""
  for layer in model._flatten_layers():
    if any(isinstance(v, keras.random.SeedGenerator)
           for v in vars(layer).values()):
      raise UserError(
          f"The recipe's network draws random numbers in layer {layer.name}, "
          'which a run that is resumed could not repeat: leave the layer out.')
    if not layer.trainable:
      raise UserError(
          f"The recipe's network has the layer {layer.name}, which is set not "
          'to train: leave it trainable, and name its variables in '
          'config.finetune.frozen.')
  other = [v.path for v in model.variables if v.dtype != 'float32']
  if other:
    raise UserError(f"The recipe's network has the variable {other[0]}, which "
                    'is not float32: make it float32, or leave it out.')
  if model.losses:
    raise UserError(
        "The recipe's network has regularizers, which have no effect here: "
        'leave them out, and give config.optimizer.weight_decay.')
  named = isinstance(model.input, dict) and set(model.input) == {'image'}
  inputs = model.input['image'] if named else model.input
  if isinstance(inputs, (dict, list, tuple)):
    raise UserError("The recipe's network has several inputs: it must have "
                    'one, the image.')
  if tuple(inputs.shape[1:]) != tuple(image_shape):
    raise UserError(
        f"The recipe's network takes images of {tuple(inputs.shape[1:])}, but "
        f'those of the data have {tuple(image_shape)}: build it for these.')
  output = model.output
  if isinstance(output, (dict, list, tuple)) or tuple(output.shape[1:]) != (
      num_classes,):
    raise UserError(
        "The recipe's network does not return one row of logits for each of "
        f'{num_classes} classes: end it with keras.layers.Dense({num_classes}).'
    )
  image = network_input('image', image_shape)
  inputs = {'image': image}
  return keras.Model(inputs, model(inputs if named else image))
