"""Reads environment variables that describe where a process runs."""
from configs.process.errors import UserError


def text(environ, name, remedy):
  """The value of a variable.

  Args:
    environ: {name: text}.
    name: of the variable.
    remedy: what to do if it is wrong, for the sentence.

  Raises:
    UserError: it is not set, or empty.
  """
  value = environ.get(name, '')
  if not value.strip():
    raise UserError(f'The environment variable {name} is not set: {remedy}.')
  return value


def whole_number(environ, name, remedy, end=None):
  """The value of a variable, 0 <= value < end (no end: any), as an int.

  Raises:
    UserError: it is not that.
  """
  value = text(environ, name, remedy)
  if not (value.isascii() and value.isdigit()):
    raise UserError(f'{name}={value} is not a whole number: {remedy}.')
  if end is not None and int(value) >= end:
    raise UserError(
        f'{name}={value} is not below {end}, the number of workers: {remedy}.')
  return int(value)
