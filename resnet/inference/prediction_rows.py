"""Predictions as lines of text: CSV, or JSON lines.

CSV has a header, and a line for each picture: its file, then the classes and
their probabilities, the most probable first. Bytes of a file's name that are
not UTF-8 appear as \\udc80 to \\udcff. JSON lines are

  {"file": "cat.jpg", "predictions": [{"class": "cat", "probability": 0.9}]}

Probabilities have as many digits as it takes to tell them from all others.
"""
from collections.abc import Sequence
import csv
import io
import json
import os
from typing import Any

import numpy as np

FORMATS = ('csv', 'jsonl')


def header(form: str, top: int) -> str:
  """Returns what stands before the first line; '' for JSON lines."""
  if form == 'jsonl':
    return ''
  return _csv(['file', *(f'{what}_{rank}' for rank in range(1, top + 1)
                         for what in ('class', 'probability'))])


def line(form: str, file: str | os.PathLike, classes: Sequence[str],
         probabilities: np.ndarray, top: Sequence[int]) -> str:
  """Returns the line of one picture.

  Args:
    form: one of FORMATS.
    file: the picture.
    classes: all names.
    probabilities: float32 [classes].
    top: the classes to show.
  """
  found = [(classes[label], str(probabilities[label])) for label in top]
  if form == 'csv':
    return _csv([os.fspath(file), *(x for pair in found for x in pair)])
  return json.dumps({'file': os.fspath(file), 'predictions': [
      {'class': name, 'probability': float(p)} for name, p in found]}) + '\n'


def highest(scores: np.ndarray, most: int) -> list[int]:
  """Returns the classes of the highest scores, [classes]; the first of equals.
  """
  return np.argsort(-scores, kind='stable')[:most].tolist()


def _csv(fields: Sequence[Any]) -> str:
  text = io.StringIO()
  csv.writer(text, lineterminator='\n').writerow(fields)
  return text.getvalue()
