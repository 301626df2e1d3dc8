"""Writes a .keras file that Keras alone can load.

  model = keras.saving.load_model('model.keras')
  model.predict(images)['probabilities']  # uint8 [n, any, any, c]

A .keras file is a zip archive; classes.txt in it has the names of the classes.
"""
import os
import pathlib
import zipfile

from configs.process.errors import UserError
from resnet.exporting.inference import Inference
from resnet.exporting.plain_layers import NotPlain
from resnet.exporting.saved_model import class_lines, CLASSES


def write(path: pathlib.Path, inference: Inference, precision: str) -> None:
  """Writes a file.

  Args:
    path: of the file.
    inference: what is exported.
    precision: 'float32'.

  Raises:
    UserError: the network has layers that Keras does not have.
    OSError: it cannot be written.
  """
  del precision
  try:
    model = inference.plain_model()
  except NotPlain as error:
    raise UserError(
        f'--format=keras needs a network of layers that Keras has, but {error}:'
        ' leave keras out of --format.') from error
  model.save(os.fspath(path))
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr(CLASSES, class_lines(inference.classes))
