"""Draws the confusion of classes and a network's calibration. Pillow only.

  confusion_png(matrix, ['cat', 'dog'])
  calibration_png(calibration.bins(probability, correct), error=0.021)
"""
from collections.abc import Sequence
import io
import math

import numpy as np
from PIL import Image, ImageDraw

from resnet.evaluation import confusion
from resnet.evaluation.calibration import Bin
from resnet.reporting import picture_sheet

MOST_CLASSES = 2000  # Whose confusion is drawn.
MOST_NAMED = 40  # Classes whose names and counts are written.
_CELL, _NAME, _FONT, _LINE = 34, 130, 11, 18  # Pixels.
_SIDE = 1000  # Of a picture without names, about.
_DARK = (8, 48, 107)  # All examples of a class; none: white.
_PLOT, _LEFT, _BELOW, _ABOVE = 420, 60, 50, 40


def confusion_png(matrix: np.ndarray, names: Sequence[str],
                  most: int | None = None) -> bytes:
  """Returns a PNG of a confusion matrix: labels down, predictions across.

  A cell is the darker, the larger its share of the examples of the label.

  Args:
    matrix: int [classes, classes], at most MOST_CLASSES.
    names: of the classes. They and the counts are written if there is room.
    most: of more classes, only this many are drawn, those of confusion.hardest;
      None: all. A share is that of all examples of the label either way.
  """
  shares, title = matrix / np.maximum(matrix.sum(1, keepdims=True), 1), ''
  if most and most < len(names):
    title = f' (the {most} of {len(names)} classes with the most errors)'
    chosen = confusion.hardest(matrix, most)
    block = np.ix_(chosen, chosen)
    matrix, shares = matrix[block], shares[block]
    names = [str(names[i]) for i in chosen]
  classes = len(names)
  named = classes <= MOST_NAMED
  cell = _CELL if named else max(1, _SIDE // classes)
  colors = 255 - shares[..., np.newaxis] * (255 - np.array(_DARK))
  cells = Image.fromarray(colors.round().astype(np.uint8)).resize(
      (cell * classes, cell * classes), Image.Resampling.NEAREST)
  left = above = 2 * _LINE + (_widest(names) if named else 0)
  picture = Image.new(
      'RGB', (left + cells.width + _LINE, above + cells.height + _LINE),
      'white')
  picture.paste(cells, (left, above))
  pen, font = ImageDraw.Draw(picture), picture_sheet.font_of(_FONT)
  pen.rectangle((left - 1, above - 1, left + cells.width,
                 above + cells.height), outline='black')
  pen.text((left, 2), f'predicted{title}', 'black', font)
  _write_upright(picture, 'label', (2, above))
  if named:
    _write_names(picture, names, left, above)
    _write_counts(pen, font, matrix, shares, left, above)
  return _png(picture)


def calibration_png(bins: Sequence[Bin], error: float) -> bytes:
  """Returns a PNG of the accuracy in each bin of confidence.

  A calibrated network's bars end on the diagonal. The narrow gray bars are the
  shares of the examples that the bins hold.
  """
  picture = Image.new('RGB', (_LEFT + _PLOT + 20, _ABOVE + _PLOT + _BELOW),
                      'white')
  pen, font = ImageDraw.Draw(picture), picture_sheet.font_of(_FONT)
  total = sum(one.examples for one in bins)
  x = lambda share: _LEFT + share * _PLOT
  y = lambda share: _ABOVE + (1 - share) * _PLOT
  for one in bins:
    if one.accuracy is None:
      continue
    pen.rectangle((x(one.low) + 3, y(one.accuracy), x(one.high) - 3, y(0)),
                  fill=(66, 116, 176))
    pen.rectangle((x(one.low) + 9, y(one.examples / total), x(one.high) - 9,
                   y(0)), fill=(225, 225, 225))
  pen.rectangle((x(0), y(1), x(1), y(0)), outline='black')
  pen.line((x(0), y(0), x(1), y(1)), fill=(200, 60, 60), width=2)
  for tick in range(0, 11, 2):
    share = tick / 10
    pen.text((x(share) - 8, y(0) + 5), f'{share:.1f}', 'black', font)
    pen.text((_LEFT - 24, y(share) - 7), f'{share:.1f}', 'black', font)
  pen.text((x(0), 4), f'ECE {error:.4f} of {total} examples in {len(bins)} '
           'bins', 'black', font)
  pen.text((x(0), 20), 'blue: accuracy; gray: share of the examples; red: '
           'calibrated', 'black', font)
  pen.text((x(0.4), y(0) + 24), 'confidence', 'black', font)
  return _png(picture)


def _widest(names):
  """Returns the pixels that the longest name takes, at most _NAME."""
  font = picture_sheet.font_of(_FONT)
  return min(_NAME, math.ceil(max(map(font.getlength, names))))


def _write_names(picture, names, left, above):
  """Writes the names of the classes beside the rows and over the columns."""
  pen, font = ImageDraw.Draw(picture), picture_sheet.font_of(_FONT)
  for i, name in enumerate(names):
    text = picture_sheet.cut(name, _NAME, pen, font)
    pen.text((left - 6, above + (i + 0.5) * _CELL), text, 'black', font,
             anchor='rm')
    _write_upright(picture, text, (left + i * _CELL + _CELL // 2 - _FONT // 2,
                                   above - 6))


def _write_upright(picture, text, bottom_left):
  """Writes a text from bottom to top; bottom_left is where it begins."""
  font = picture_sheet.font_of(_FONT)
  width = math.ceil(font.getlength(text)) + 2
  strip = Image.new('RGB', (width, _LINE), 'white')
  ImageDraw.Draw(strip).text((0, 0), text, 'black', font)
  x, y = bottom_left
  picture.paste(strip.rotate(90, expand=True), (x, max(0, y - width)))


def _write_counts(pen, font, matrix, shares, left, above):
  for (row, column), count in np.ndenumerate(matrix):
    if count:
      pen.text((left + (column + 0.5) * _CELL, above + (row + 0.5) * _CELL),
               f'{count}' if count < 10_000 else f'{count:.0e}',
               'white' if shares[row, column] > 0.5 else 'black', font,
               anchor='mm')


def _png(picture):
  content = io.BytesIO()
  picture.save(content, 'PNG')
  return content.getvalue()
