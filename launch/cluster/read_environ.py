"""Reads environment variables that describe where a process runs."""
from collections.abc import Mapping

from configs.process.errors import UserError


def text(environ: Mapping[str, str], name: str, remedy: str) -> str:
  """Returns the value of a variable.

  Args:
    environ: {name: text}.
    name: the variable's.
    remedy: what to do if the value is wrong, the end of the sentence.

  Raises:
    UserError: the variable is not set, or blank.
  """
  value = environ.get(name, '')
  if not value.strip():
    raise UserError(f'The environment variable {name} is not set: {remedy}.')
  return value


def whole_number(environ: Mapping[str, str], name: str, remedy: str,
                 end: int | None = None) -> int:
  """Returns the value of a variable as an int, 0 <= value < end.

  Args:
    environ: {name: text}.
    name: the variable's.
    remedy: what to do if the value is wrong, the end of the sentence.
    end: the number of workers; None: no upper bound.

  Raises:
    UserError: the value is not such a number.
  """
  value = text(environ, name, remedy)
  if not (value.isascii() and value.isdigit()):
    raise UserError(f'{name}={value} is not a whole number: {remedy}.')
  if end is not None and int(value) >= end:
    raise UserError(f'{name}={value} is not less than {end}, the number of '
                    f'workers: {remedy}.')
  return int(value)
