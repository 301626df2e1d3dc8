"""Writes a LiteRT (TensorFlow Lite) file, by TensorFlow's own converter.

Signature 'serving_default', input 'images': uint8 [n, any, any, c], outputs
'probabilities' and 'logits': float32 [n, classes]. With float16, weights have
16 bits and are computed with in 32. As other tools have it, a zip archive
follows the network: classes.txt in it has the names of the classes.
"""
import pathlib
import zipfile

import tensorflow as tf

from resnet.exporting import converter_input
from resnet.exporting.inference import Inference
from resnet.exporting.saved_model import class_lines, CLASSES


def write(path: pathlib.Path, inference: Inference, precision: str) -> None:
  """Writes a file.

  Args:
    path: of the file.
    inference: what is exported.
    precision: 'float32' or 'float16'.

  Raises:
    UserError: the converter does not know what the network does.
    OSError, tf.errors.OpError: it cannot be written.
  """
  with converter_input.saved(inference, path.parent) as folder:
    converter = tf.lite.TFLiteConverter.from_saved_model(
        folder, signature_keys=[converter_input.SIGNATURE])
    if precision == 'float16':
      converter.optimizations = [tf.lite.Optimize.DEFAULT]
      converter.target_spec.supported_types = [tf.float16]
    with converter_input.converting('litert', "TensorFlow's converter"):
      converted = converter.convert()
    path.write_bytes(converted)
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr(CLASSES, class_lines(inference.classes))
