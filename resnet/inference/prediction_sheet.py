"""Draws pictures with what a network predicts of them."""
from collections.abc import Sequence

import tensorflow as tf

from configs import schema
from configs.process.errors import printable
from pipelines.single_pictures import Preprocessing
from resnet.inference import prediction_rows, predictions
from resnet.inference.predictions import Prediction
from resnet.reporting import picture_sheet

_CELL = 128  # Pixels a side.


def png(found: Sequence[Prediction], classes: Sequence[str],
        keep_orientation: bool = False) -> bytes:
  """Returns a PNG of the middle square of each picture, in rows.

  The pictures are read again. Those that are gone are left white.

  Args:
    found: predictions without an error; at least one.
    classes: the names of all classes.
    keep_orientation: see Predictor.files.
  """
  images, captions = [], []
  for prediction in found:
    images.append(_cell(prediction.file, keep_orientation))
    label, = prediction_rows.highest(prediction.logits, 1)
    captions.append(f'{printable(classes[label])}\n'
                    f'{prediction.probabilities[label]:.3f}')
  return picture_sheet.png(images, captions)


def _cell(file, keep_orientation):
  """Returns uint8 [h, w, 3], of one size for all."""
  shape = (_CELL, _CELL, 3)
  cell = Preprocessing.of(
      schema.Data(image_size=_CELL, eval_crop=1.0), shape)
  encoded = predictions.read_encoded(file, keep_orientation)
  if not isinstance(encoded, bytes):
    return tf.fill(shape, tf.constant(255, tf.uint8)).numpy()
  return cell.encoded(tf.constant(encoded)).numpy()
