"""Writes an ONNX file, by tf2onnx.

Input 'images': uint8 [n, any, any, c]; outputs 'probabilities' and 'logits':
float32 [n, classes]. The metadata 'classes' is a JSON list of their names.
"""
import json
import logging
import os
import pathlib

from resnet.exporting import converter_input
from resnet.exporting.inference import Inference

_OPSET = 17


def write(path: pathlib.Path, inference: Inference, precision: str) -> None:
  """Writes a file.

  Args:
    path: of the file.
    inference: what is exported.
    precision: 'float32'.

  Raises:
    UserError: tf2onnx does not know what the network does.
    OSError, tf.errors.OpError: it cannot be written.
  """
  del precision
  import onnx  # pyright: ignore[reportMissingImports]
  import tf2onnx  # pyright: ignore[reportMissingImports]
  from tf2onnx import tf_loader  # pyright: ignore[reportMissingImports]

  logging.getLogger('tf2onnx').setLevel(logging.ERROR)
  with (converter_input.saved(inference, path.parent) as folder,
        converter_input.converting('onnx', 'tf2onnx')):
    graph, inputs, outputs, names = tf_loader.from_saved_model(
        folder, None, None, tag='serve',
        signatures=[converter_input.SIGNATURE], return_tensors_to_rename=True)
    model, _ = tf2onnx.convert.from_graph_def(
        graph, input_names=inputs, output_names=outputs, opset=_OPSET,
        tensors_to_rename=names)
    onnx.checker.check_model(model)  # What tf2onnx does not know is in there.
  onnx.helper.set_model_props(
      model, {'classes': json.dumps(list(inference.classes))})
  onnx.save(model, os.fspath(path))
