"""The table of runs: its order, and how it is written.

  rows = in_order(rows, '-best')
  print(text(rows))
"""
from collections.abc import Callable, Sequence
from typing import Any

from configs.process.errors import printable, UserError
from resnet.reporting import csv_text
from resnet.reporting.run_rows import Row

COLUMNS = Row._fields
_SHOWN: dict[str, str] = {'images/s': 'images_per_second'}
_LONGEST = 100  # Characters of a cell on the screen.
_HEADER = ('run', 'state', 'step', 'saved', 'metric', 'best', 'last',
           'images/s', 'recipe', 'changes', 'note')


def check_column(name: str) -> None:
  """Raises UserError if a table cannot be sorted by this."""
  if _column(name) not in COLUMNS:
    raise UserError(f'--sort={name} is unknown: give one of '
                    f'{", ".join(COLUMNS)}, with - before it for the reverse '
                    'order.')


def in_order(rows: Sequence[Row], column: str) -> list[Row]:
  """Sorts rows: texts by the alphabet, numbers from the largest on.

  Rows without a value come last.

  Args:
    rows: of the table.
    column: one of COLUMNS, or - and one, for the reverse order.
  """
  name = _column(column)
  value: Callable[[Row], Any] = lambda row: getattr(row, name)
  there = [row for row in rows if value(row) is not None]
  numbers = any(not isinstance(value(row), str) for row in there)
  there.sort(key=value, reverse=numbers != column.startswith('-'))
  return there + [row for row in rows if value(row) is None]


def text(rows: Sequence[Row]) -> str:
  """Returns the table for a screen; columns that are empty are left out."""
  table = [_HEADER, *map(_cells, rows)]
  kept = [column for column in zip(*table)
          if any(cell not in ('', '-') for cell in column[1:])]
  widths = [max(map(len, column)) for column in kept]
  return '\n'.join(
      '  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
      for line in zip(*kept))


def csv(rows: Sequence[Row]) -> str:
  """Returns the table with all columns and digits, as CSV."""
  return csv_text.text(COLUMNS, (
      [printable(cell) if isinstance(cell, str) else cell for cell in row]
      for row in rows))


def _column(name: str) -> str:
  name = name.removeprefix('-')
  return _SHOWN.get(name, name)


def _cells(row: Row) -> tuple[str, ...]:
  """Returns the cells of a row as they are shown."""
  step = f'{row.step}/{"?" if row.total is None else row.total}'
  return (_short(row.run), _short(row.state), step, _short(row.saved),
          _short(row.metric), _figure(row.best), _figure(row.last),
          '-' if row.images_per_second is None
          else f'{row.images_per_second:.0f}',
          _short(row.recipe), _short(row.changes), _short(row.note))


def _figure(value):
  return '-' if value is None else f'{value:.4f}'


def _short(value: Any) -> str:
  text = '-' if value is None else printable(str(value))
  return text if len(text) <= _LONGEST else text[:_LONGEST - 1] + '…'
