"""How two runs differ: in what they train, on what, with what, and how well."""
from collections.abc import Callable
import pathlib
from typing import Any

from configs import schema
from configs.process import json_file
from configs.process.errors import printable, TryAgain, UserError
from resnet.reporting import run_rows
from resnet.reporting.run_rows import Row
from resnet.run import data_record, description, run_config, surroundings

_LONGEST = 200  # Characters of a line.


def text(rows: tuple[Row, Row],
         paths: tuple[pathlib.Path, pathlib.Path]) -> str:
  """Returns the differences of two runs as lines, 'name: first -> second'.

  A part that cannot be read says so; the others are compared.

  Args:
    rows: of the runs, see run_rows.read.
    paths: of their folders.
  """
  lines = [f'runs      {printable(rows[0].run)} -> {printable(rows[1].run)}']
  lines += _part('figures', lambda: _figures(*rows))
  for title, compare in (('config', _configs), ('data', _data),
                         ('versions', _versions), ('settings', _settings)):
    lines += _part(title, lambda compare=compare: compare(*paths))
  notes = [f'{printable(row.run)}: {row.note}' for row in rows if row.note]
  return '\n'.join([*lines, *(_part('notes', lambda: notes) if notes else [])])


def _part(title: str, compare: Callable[[], list[str]]) -> list[str]:
  """Returns the lines of a part, the first with its title."""
  try:
    found = compare() or ['the same']
  except (UserError, TryAgain) as error:
    found = [f'not compared: {error}']
  return [f'{"" if number else title:9} {printable(line, _LONGEST)}'
          for number, line in enumerate(found)]


def _figures(first, second):
  names = [name for name in Row._fields
           if name not in ('run', 'recipe', 'changes', 'note')]
  values = {name: (getattr(first, name), getattr(second, name))
            for name in ('recipe', *names)}
  return [f'{name}: {_short(one)} -> {_short(other)}'
          for name, (one, other) in values.items() if one != other]


def _configs(*paths):
  return schema.differences(*map(run_config.read, paths))


def _data(*paths):
  return data_record.differences(*(
      _known(path, data_record.FILE, data_record.read(path))
      for path in paths))


def _versions(*paths):
  return _of_description('versions', *paths)


def _settings(*paths):
  return _of_description('settings', *paths)


def _of_description(name, *paths):
  both = []
  for path in paths:
    values = json_file.read(path / description.FILE)
    found = (values or {}).get(name)
    known = isinstance(found, dict) and all(
        isinstance(value, str) for value in found.values())
    both.append(_known(path, description.FILE, found if known else None))
  return surroundings.differences(*both)


def _known(path: pathlib.Path, name: str, found: Any) -> Any:
  """Returns what was found in a file; raises UserError if it is nothing."""
  if found is None:
    raise UserError(f'{path / name} does not say.')
  return found


def _short(value):
  if value is None:
    return '-'
  return f'{value:.4f}' if isinstance(value, float) else f'{value}'


def named(name: str, top: pathlib.Path | None) -> pathlib.Path:
  """Returns the folder of a run: a path, or its name in the table of `top`.

  Args:
    name: as the user gave it, checked.
    top: the folder that the names are in; None: there is none.

  Raises:
    UserError: it is not the folder of a run.
  """
  choices = [pathlib.Path(name)] if top is None else [top / name,
                                                      pathlib.Path(name)]
  for path in choices:
    if path.is_dir() and next(run_rows.find(path), None) == path:
      return path
  raise UserError(f'--diff: {name} is not a run folder: give two of the paths '
                  'that the table of runs shows.')
