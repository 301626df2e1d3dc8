"""Writes a SavedModel: TensorFlow's format for servers and programs.

It has two signatures, whose outputs are 'probabilities' and 'logits', float32
[n, classes], 'label', int64 [n], and 'class', string [n]:

  serving_default   'images': uint8 [n, any, any, c], all of one size
  encoded           'encoded': string [n], JPEG, PNG, GIF, BMP or WebP of any
                    size; not with networks of other than 1 or 3 channels

Pictures are prepared by the code that evaluation uses. The names of the classes
are in the graph, and in assets/classes.txt.
"""
import os
import pathlib
import tempfile
from typing import Any

import tensorflow as tf

from resnet.exporting.inference import Inference

CLASSES = 'classes.txt'
_ENCODED_CHANNELS = (1, 3)


def write(path: pathlib.Path, inference: Inference, precision: str) -> None:
  """Writes a folder.

  Args:
    path: of the folder; made.
    inference: what is exported.
    precision: 'float32'.

  Raises:
    OSError, tf.errors.OpError: it cannot be written.
  """
  del precision
  module: Any = _Module(inference)
  signatures = {'serving_default': module.of_images}
  if has_encoded(inference.preprocessing.shape):
    signatures['encoded'] = module.of_encoded
  with tempfile.TemporaryDirectory(dir=path.parent) as folder:
    module.names = tf.saved_model.Asset(_write_names(folder, inference.classes))
    tf.saved_model.save(module, os.fspath(path), signatures)


def has_encoded(image_shape: tuple[int, ...]) -> bool:
  """Returns whether a network can take pictures that are encoded."""
  return image_shape[-1] in _ENCODED_CHANNELS


def class_lines(classes: tuple[str, ...]) -> str:
  """Returns the names of classes, one a line, in the order of the labels."""
  return ''.join(' '.join(name.splitlines()) + '\n' for name in classes)


class _Module(tf.Module):
  """What is saved."""

  def __init__(self, inference: Inference):
    super().__init__()
    self.parameters = inference.variables
    prepare, shape = inference.preprocessing, inference.preprocessing.shape
    classes = tf.constant(list(inference.classes))

    def of(images):
      results = inference.outputs(
          inference.logits(tf.cast(images, tf.float32)))
      label = tf.argmax(results['logits'], 1)
      return {**results, 'label': label, 'class': tf.gather(classes, label)}

    self.of_images = tf.function(
        lambda images: of(prepare.pixels(images)), autograph=False,
        input_signature=[tf.TensorSpec(
            [None, None, None, shape[-1]], tf.uint8, 'images')])
    self.of_encoded = tf.function(
        lambda encoded: of(tf.map_fn(
            prepare.encoded, encoded,
            fn_output_signature=tf.TensorSpec(shape, tf.uint8))),
        autograph=False,
        input_signature=[tf.TensorSpec([None], tf.string, 'encoded')])


def _write_names(folder, classes):
  path = pathlib.Path(folder, CLASSES)
  path.write_text(class_lines(classes), encoding='utf-8')
  return os.fspath(path)
