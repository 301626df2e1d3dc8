"""Tables as comma-separated values, as spreadsheets and pandas read them."""
from collections.abc import Iterable, Sequence
import csv
import io
from typing import Any


def text(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """Returns a table with a line of names.

  Args:
    names: of the columns.
    rows: their cells. None becomes an empty cell; floats are written so that
      they read back the same.
  """
  content = io.StringIO()
  writer = csv.writer(content, lineterminator='\n')
  writer.writerow(names)
  writer.writerows(rows)
  return content.getvalue()
