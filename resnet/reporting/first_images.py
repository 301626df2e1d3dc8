"""Draws the first images that a run is trained on, with their labels.

They are shown in the order of the run, from left to right, as evaluation sees
them: `python -m pipelines.show` draws what augmentation makes of them.
"""
import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
import tensorflow as tf

from configs import schema
from configs.process.errors import TryAgain, UserError
from pipelines import batches, identity, sources
from pipelines.options import Reading
from resnet.reporting.unavailable import Unavailable
from resnet.run import data_record

_ROWS, _COLUMNS = 4, 8
_LEAST, _MOST = 96, 256  # Pixels a side of an image in the picture.
_GAP, _CAPTION, _FONT = 4, 16, 11  # Pixels.


def open_split(config: schema.Config, data: dict[str, Any],
               reading: Reading) -> sources.Source:
  """Opens the training split of a run, and decodes nothing.

  Args:
    config: of the run.
    data: the record of its data.
    reading: where the data are, and how to read them.

  Raises:
    Unavailable: they are not there, or they are not the run's.
  """
  try:
    source = sources.open_split(config.data, config.data.train_split,
                                reading, made=config.synthetic)
  except (UserError, TryAgain) as error:
    raise Unavailable(f'The first images need the training data: {error}'
                      ) from error
  now = identity.record(source.identity, source.identity)
  differences = data_record.model_differences(data, now) or [
      difference for difference in [
          data_record.split_difference('train', data, now)] if difference]
  if differences:
    raise Unavailable(
        f'The data of {config.data.name} are not those of the run '
        f'({"; ".join(differences)}): give the --data_dir that it was trained '
        'with.')
  return source


def draw(config: schema.Config, source: sources.Source,
         classes: list[str]) -> bytes:
  """Returns a PNG of the first images, a caption below each.

  Args:
    config: of the run.
    source: its training split.
    classes: the names of the classes, in the order of their labels.
  """
  count = min(_ROWS * _COLUMNS, source.size)
  try:
    batch = next(iter(batches.train(
        source, seed=config.seed, global_batch=count, first_step=0,
        last_step=1)))
  except tf.errors.OpError as error:
    raise source.explain(range(source.size)) or error from error
  images, labels = batch['image'].numpy(), batch['label'].numpy()
  return _png(_sheet([_cell(image) for image in images],
                     [caption(classes, label) for label in labels]))


def caption(classes: list[str], label: int) -> str:
  """Returns the label of an image, with the name of its class if it has one."""
  name = classes[label]
  return name if name == str(label) else f'{label}: {name}'


def _cell(image):
  """Returns uint8 [h, w, 1 or any >= 3] as a picture that is easy to see."""
  colors = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
  picture = Image.fromarray(np.ascontiguousarray(colors)).convert('RGB')
  side = max(picture.size)
  if side > _MOST:
    picture.thumbnail((_MOST, _MOST))
  elif side < _LEAST:
    factor = -(-_LEAST // side)
    picture = picture.resize(
        (factor * picture.width, factor * picture.height),
        Image.Resampling.NEAREST)
  return picture


def _sheet(pictures, captions):
  """Arranges pictures of one size in rows, with their captions."""
  width, height = pictures[0].size
  columns = min(_COLUMNS, len(pictures))
  across, down = width + _GAP, height + _CAPTION + _GAP
  sheet = Image.new('RGB', (columns * across + _GAP,
                            -(-len(pictures) // columns) * down + _GAP),
                    'white')
  pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
  for i, (picture, text) in enumerate(zip(pictures, captions)):
    x, y = i % columns * across + _GAP, i // columns * down + _GAP
    sheet.paste(picture, (x, y))
    while len(text) > 1 and pen.textlength(text, font) > width:
      text = text.rstrip('…')[:-1] + '…'
    pen.text((x, y + height + 1), text, 'black', font)
  return sheet


def _png(picture):
  content = io.BytesIO()
  picture.save(content, 'PNG')
  return content.getvalue()
