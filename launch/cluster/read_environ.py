"""Reads environment variables that describe where a process runs."""
from collections.abc import Mapping

from configs.process import whole_number as whole_number_lib
from configs.process.errors import UserError
from launch.cluster import contract


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
  number = whole_number_lib.parse(value)
  if number is None:
    raise UserError(
        f'{name}={value} is not a whole number of at most '
        f'{whole_number_lib.MOST}: {remedy}.')
  if end is not None and number >= end:
    raise UserError(f'{name}={value} is not less than {end}, the number of '
                    f'workers: {remedy}.')
  return number


def check_count(count: int, name: str, value: str, remedy: str) -> None:
  """Raises UserError unless a variable describes a possible number of workers.

  Call it before anything is built for each worker.

  Args:
    count: how many workers it describes, or hosts or ports of workers.
    name: the variable's.
    value: the variable's.
    remedy: what to do, the end of the sentence.
  """
  if not 0 < count <= contract.MOST_WORKERS:
    raise UserError(
        f'{name}={value} describes {count}, but a group has 1 to '
        f'{contract.MOST_WORKERS} workers: {remedy}.')
