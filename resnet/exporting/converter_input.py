"""What converters read: a SavedModel of operations that all of them know.

It has one signature, 'serving_default': 'images' uint8 [n, any, any, c] ->
'probabilities' and 'logits' float32 [n, classes]. Converters that are given
functions instead mistake their constants for inputs (tf2onnx 1.17), or take
other values than those of the variables, without an error (TensorFlow 2.21).
"""
from collections.abc import Iterator
import contextlib
import pathlib
import tempfile

import tensorflow as tf

from configs.process.errors import first_line, UserError
from resnet.exporting.inference import Inference

SIGNATURE = 'serving_default'


@contextlib.contextmanager
def saved(inference: Inference, folder: pathlib.Path) -> Iterator[str]:
  """Yields the path of a SavedModel that lasts as long as the block.

  Args:
    inference: what is exported.
    folder: to make it in.
  """
  with tempfile.TemporaryDirectory(dir=folder) as path:
    module = _Module(inference)
    tf.saved_model.save(module, path, {SIGNATURE: module.function})
    yield path


@contextlib.contextmanager
def converting(name: str, converter: str) -> Iterator[None]:
  """Says what a converter cannot do.

  Args:
    name: of the format.
    converter: its name.

  Raises:
    UserError: for whatever the block raises but for an OSError.
  """
  try:
    yield
  except OSError:
    raise
  except Exception as error:  # Converters raise anything.
    raise UserError(
        f'--format={name} is not possible, because {converter} cannot convert '
        f'this network ({first_line(error)}): leave {name} out.') from error


class _Module(tf.Module):
  """What is saved."""

  def __init__(self, inference: Inference):
    super().__init__()
    self.parameters = inference.variables
    channels = inference.preprocessing.shape[-1]
    self.function = tf.function(
        inference.function(), autograph=False, input_signature=[tf.TensorSpec(
            [None, None, None, channels], tf.uint8, 'images')])
