"""What a part finds out, and how it comes to the program that asked for it.

A part writes a line of JSON for each finding as soon as it has it, so that what
was measured is not lost when the process crashes, hangs or runs out of time.
"""
from collections.abc import Mapping, Sequence
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

_NONE: Mapping[str, Any] = {}
NOT_MEASURED = 'not measured'


class Finding(NamedTuple):
  """One row of the table."""
  name: str
  value: float | str | None  # None: not measured.
  unit: str = ''
  note: str = ''  # If the value is None: why.
  of: Mapping[str, Any] = _NONE  # What it is, for programs: see verdict.py.


class Written(NamedTuple):
  """All that a part has written."""
  findings: list[Finding]
  failure: str | None  # The error that ended the part.


class Writer:
  """Adds lines to a file."""

  def __init__(self, path: str | os.PathLike):
    self._path = pathlib.Path(path)

  def add(self, name: str, value: float | str | None, unit: str = '',
          note: str = '', **of: Any) -> None:
    """Writes a finding; the arguments are the fields of Finding."""
    self._write({'finding': Finding(name, value, unit, note, of)})

  def fail(self, failure: str) -> None:
    """Writes the error that ends the part, one line."""
    self._write({'failure': failure})

  def _write(self, record):
    with self._path.open('a', encoding='utf-8') as file:
      file.write(f'{json.dumps(record)}\n')


def read(path: str | os.PathLike) -> Written:
  """Returns what is in a file; nothing if it does not exist.

  The last line may be cut: its process may have been killed.
  """
  path = pathlib.Path(path)
  text = path.read_text('utf-8', 'replace') if path.exists() else ''
  whole, _, _ = text.rpartition('\n')
  records = [json.loads(line) for line in whole.splitlines()]
  found = [Finding(*r['finding']) for r in records if 'finding' in r]
  failures = [r['failure'] for r in records if 'failure' in r]
  return Written(found, failures[-1] if failures else None)


def value_text(finding: Finding) -> str:
  """Returns the value with its unit and note, for the table."""
  if finding.value is None:
    return NOT_MEASURED + (f': {finding.note}' if finding.note else '')
  value = finding.value
  text = value if isinstance(value, str) else _number(value)
  return (f'{text} {finding.unit}'.rstrip()
          + (f' ({finding.note})' if finding.note else ''))


def select(found: Sequence[Finding], **of: Any) -> list[Finding]:
  """Returns the findings that were measured and are of some kind."""
  return [one for one in found if one.value is not None and all(
      one.of.get(name) == value for name, value in of.items())]


def _number(value):
  """Returns a number with four digits that count, or all before the point."""
  if isinstance(value, int) or not value or not math.isfinite(value):
    return f'{value:,}'
  digits = 3 - math.floor(math.log10(abs(value)))
  return f'{value:,.{min(max(digits, 0), 9)}f}'
