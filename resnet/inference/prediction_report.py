"""Writes predictions as they come, and counts them."""
from collections.abc import Iterable, Iterator, Sequence
import contextlib
import os
import pathlib
import time

from configs.process import atomic_file, command_line, streams
from configs.process.errors import UserError
from resnet.inference import prediction_rows
from resnet.inference.predictions import Prediction

_LOOK_EVERY = 64  # Lines until it is seen that nobody reads them any more.


class Report:
  """What one command says about its predictions."""

  def __init__(self, classes: Sequence[str], form: str, top: int,
               output: pathlib.Path | None = None, most_kept: int = 0):
    """Makes a report; nothing is written yet.

    Args:
      classes: the names of all classes.
      form: one of prediction_rows.FORMATS.
      top: how many classes to show for each picture.
      output: the file to write; None: stdout.
      most_kept: how many predictions to keep in `first`.
    """
    self._classes, self._form = classes, form
    self._top = min(top, len(classes))
    self._output, self._most = output, most_kept
    self._good = self._bad = 0
    self._secs = 0.0
    self.first: list[Prediction] = []

  def unreadable(self, named: Iterable[tuple[str, str]]) -> None:
    """Names what cannot be read, as (path, why)."""
    for path, reason in named:
      self._bad += 1
      command_line.warn(f'{path} cannot be used ({reason}).')

  def write(self, found: Iterable[Prediction]) -> None:
    """Writes the lines.

    Raises:
      UserError: there is not one prediction, or they cannot be written.
    """
    started = time.monotonic()
    lines = self._lines(found)
    if self._output is None:
      for line in lines:
        print(line, end='')
    else:
      write(self._output, '--output', (
          line.encode('utf-8', 'backslashreplace') for line in lines))
    self._secs = time.monotonic() - started

  def summary(self) -> str:
    """Returns what was done, the beginning of a sentence."""
    pictures = f'{self._good} picture{"s" * (self._good != 1)}'
    if self._bad:
      pictures = f'{self._good} of {self._good + self._bad} pictures'
    speed = self._good / max(self._secs, 1e-3)
    return (f'Predicted {pictures} in {self._secs:.1f} s ({speed:.1f} '
            'images/s)')

  def _lines(self, found) -> Iterator[str]:
    """Yields the lines of the output; a part of them if nobody reads them."""
    with contextlib.closing(iter(found)) as found:
      for prediction in found:
        if prediction.error:
          self.unreadable([(os.fspath(prediction.file), prediction.error)])
          continue
        if not self._good:
          yield prediction_rows.header(self._form, self._top)
        self._good += 1
        if len(self.first) < self._most:
          self.first.append(prediction)
        yield prediction_rows.line(
            self._form, prediction.file, self._classes,
            prediction.probabilities, prediction_rows.highest(
                prediction.logits, self._top))
        if (self._output is None and self._good % _LOOK_EVERY == 0
            and streams.lost()):
          return
    if not self._good:
      raise UserError(
          f'None of {self._bad} pictures can be used, for the reasons above: '
          'give JPEG, PNG, GIF, BMP or WebP files that can be read.')


def write(path: pathlib.Path, flag: str, parts: Iterable[bytes]) -> None:
  """Writes a file, whole or not at all; a pipe or a device as it is.

  Args:
    path: the file.
    flag: that names it, with dashes.
    parts: of its content.

  Raises:
    UserError: it cannot be written.
  """
  try:
    if path.exists() and not path.is_file():
      with open(path, 'wb', buffering=0) as file:
        for part in parts:
          file.write(part)
    else:
      atomic_file.write(path, parts)
  except OSError as error:
    raise UserError(
        f'{flag}={path} cannot be written ({error.strerror}): free some space, '
        'fix the permissions, or give another file.') from error
