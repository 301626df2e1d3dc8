"""The records of a run as one table, metrics.csv: for spreadsheets and pandas.

The columns are split, step, epoch, time (Unix seconds), then each figure in the
order in which the run first has it. A figure that appears later becomes a new
column at the end. A record without a figure has an empty cell. The format is
that of RFC 4180, with '.' in decimals.

The table holds nothing that metrics.jsonl does not. It is written anew at every
start, and whenever its size is not what it was, so that damage never matters.
"""
from collections.abc import Mapping
import csv
import errno
import io
import os
import pathlib
from typing import Any

from configs.process import atomic_file, command_line, errors

FILE = 'metrics.csv'
_FIRST = ('split', 'step', 'epoch', 'time')
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Table:
  """The table of a run folder: a summaries.Listener."""

  def __init__(self, workdir: str | os.PathLike):
    self._path = pathlib.Path(workdir, FILE)
    self._records, self._columns = [], list(_FIRST)
    self._size = 0  # Of the file, in bytes.
    self._is_off = self._has_warned = False

  def follow(self, records: list[dict[str, Any]]) -> None:
    """Writes the table of the records; see summaries.Listener.

    Raises:
      UserError: the disk is full.
    """
    self._records, self._columns = records, list(_FIRST)
    self._is_off = False
    for record in records:
      self._columns += self._new_names(record)
    self._write(self._rewrite)

  def add(self, record: Mapping[str, Any]) -> None:
    """Appends a record; see summaries.Listener.

    Raises:
      UserError: the disk is full.
    """
    new = self._new_names(record)
    self._columns += new
    if not self._is_off:
      self._write(lambda: self._rewrite() if new or self._has_changed()
                  else self._append(record))

  def _write(self, write):
    """Calls a function that writes; most errors only turn the table off.

    Raises:
      UserError: the disk is full.
    """
    try:
      write()
    except OSError as error:
      if error.errno in _FULL:
        with errors.writing(self._path):
          raise
      self._is_off = True
      if not self._has_warned:
        self._has_warned = True
        command_line.warn(
            f'{self._path} cannot be written ({error.strerror}): it is left '
            'out, and metrics.jsonl has the same figures.')

  def _rewrite(self):
    text = _lines([self._columns, *map(self._cells, self._records)])
    atomic_file.write(self._path, text, durable=False)
    self._size = len(text)

  def _append(self, record):
    text = _lines([self._cells(record)])
    with self._path.open('ab') as file:
      file.write(text)
    self._size += len(text)

  def _has_changed(self):
    """Returns whether the file is not as this object has left it."""
    try:
      return self._path.stat().st_size != self._size
    except FileNotFoundError:
      return True

  def _new_names(self, record):
    return [name for name in record if name not in self._columns]

  def _cells(self, record):
    return [record.get(column, '') for column in self._columns]


def _lines(rows):
  """Returns rows of cells as bytes. A float has all of its digits."""
  text = io.StringIO()
  csv.writer(text).writerows(rows)
  return text.getvalue().encode()
