"""Lines that begin with a name, and small tables, aligned as all of a run's."""
from collections.abc import Iterable, Sequence

_NAME = 12  # Characters of the first column.


def text(lines: Iterable[tuple[str, object]]) -> str:
  """Returns lines of (name, text); without a name they continue the last one.
  """
  return '\n'.join(f'{name:{_NAME}}{value}' for name, value in lines)


def table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]
          ) -> str:
  """Returns a table of figures, aligned to the right under their names.

  Args:
    head: the names of the figures.
    rows: (name, figures).
  """
  widths = [max(map(len, column))
            for column in zip(head, *(cells for _, cells in rows))]
  return text((name, '  '.join(map(str.rjust, cells, widths)))
              for name, cells in (('', head), *rows))
