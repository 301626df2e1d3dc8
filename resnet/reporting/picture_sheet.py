"""Draws pictures in rows, with a caption below each.

  png(images, ['cat', 'dog 0.97'])
"""
from collections.abc import Iterable, Sequence
import functools
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 8
_LEAST, _MOST = 96, 256  # Pixels a side of an image in the picture.
_GAP, _LINE, _FONT = 4, 16, 11  # Pixels.
font_of = functools.cache(ImageFont.load_default)  # By its size in pixels.


def png(images: Iterable[np.ndarray], captions: Sequence[str],
        most: int = _MOST) -> bytes:
  """Returns a PNG of images, from left to right.

  Small images are enlarged so that their pixels can be told apart.

  Args:
    images: uint8 [h, w, 1 or any >= 3], all of one shape; at least one.
    captions: texts of one or several lines, as many lines each; what is too
      long is cut off.
    most: pixels a side that images have in the picture at most, at least 96.
  """
  content = io.BytesIO()
  _sheet([_cell(image, most) for image in images],
         [text.split('\n') for text in captions]).save(content, 'PNG')
  return content.getvalue()


def cut(text: str, width: float, pen: ImageDraw.ImageDraw,
        font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
  """Returns as much of a text as is at most `width` pixels wide."""
  while len(text) > 1 and pen.textlength(text, font) > width:
    text = text.rstrip('…')[:-1] + '…'
  return text


def _cell(image, most):
  """Returns uint8 [h, w, 1 or any >= 3] as a picture that is easy to see."""
  colors = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
  picture = Image.fromarray(np.ascontiguousarray(colors)).convert('RGB')
  side = max(picture.size)
  if side > most:
    picture.thumbnail((most, most))
  elif side < _LEAST:
    factor = max(1, min(-(-_LEAST // side), most // side))
    picture = picture.resize(
        (factor * picture.width, factor * picture.height),
        Image.Resampling.NEAREST)
  return picture


def _sheet(pictures, captions):
  """Arranges pictures of one size in rows, with their captions."""
  width, height = pictures[0].size
  columns = min(COLUMNS, len(pictures))
  across = width + _GAP
  down = height + _LINE * len(captions[0]) + _GAP
  sheet = Image.new('RGB', (columns * across + _GAP,
                            -(-len(pictures) // columns) * down + _GAP),
                    'white')
  pen, font = ImageDraw.Draw(sheet), font_of(_FONT)
  for i, (picture, lines) in enumerate(zip(pictures, captions)):
    x, y = i % columns * across + _GAP, i // columns * down + _GAP
    sheet.paste(picture, (x, y))
    for number, text in enumerate(lines):
      pen.text((x, y + height + 1 + _LINE * number),
               cut(text, width, pen, font), 'black', font)
  return sheet
