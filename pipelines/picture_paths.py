"""Finds the pictures that the arguments of a command name.

An argument is a file, a folder, or - for a list on stdin, one path a line. A
file is taken whatever it is called. In folders and all folders below, only
files with the ending of a picture are taken, sorted by name. Hidden ones are
left out, and so are links that lead back to a folder above. The order of the
arguments is kept, and a file that is named twice is there twice. No picture is
opened, and TensorFlow is not needed.

  found = find(['cats', 'dog.jpg', '-'], sys.stdin.buffer)
"""
from collections.abc import Iterable, Iterator
import os
from typing import BinaryIO, NamedTuple

from configs.process.errors import UserError

ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.webp')
_LIST = '-'


class Found(NamedTuple):
  """What the arguments name."""
  files: list[str]  # In order; bytes that are not UTF-8 are surrogates.
  unreadable: list[tuple[str, str]]  # (folder, why it cannot be read).
  empty: list[str]  # Folders that were given and hold no pictures.
  ignored: list[str]  # Files in folders, without the ending of a picture.


def find(arguments: Iterable[str], stdin: BinaryIO | None) -> Found:
  """Finds the files.

  Args:
    arguments: files, folders, or '-'.
    stdin: what '-' is read from; None: it is closed.

  Raises:
    UserError: the list on stdin is empty.
  """
  found = Found([], [], [], [])
  for argument in arguments:
    names = _listed(stdin) if argument == _LIST else [argument]
    for name in names:
      if os.path.isdir(name):
        _add_folder(name, found)
      else:
        found.files.append(name)
  return found


def _listed(stdin):
  """Returns the paths in a list, without empty lines."""
  text = os.fsdecode(stdin.read()) if stdin else ''
  names = [line.removesuffix('\r') for line in text.split('\n')]
  names = [name for name in names if name]
  if not names:
    raise UserError(
        '- reads the paths of pictures from stdin, one a line, but there are '
        "none: pipe a list into it, for example that of `find . -name '*.jpg'`."
    )
  return names


def _add_folder(folder, found):
  before = len(found.files), len(found.unreadable)
  found.files.extend(_walk(folder, found, ()))
  if (len(found.files), len(found.unreadable)) == before:
    found.empty.append(folder)


def _walk(folder, found, above) -> Iterator[str]:
  """Yields the pictures in a folder and all folders below."""
  try:
    status = os.stat(folder)
    names = sorted(os.listdir(folder))
  except OSError as error:
    found.unreadable.append((folder, error.strerror or str(error)))
    return
  here = status.st_dev, status.st_ino
  if here in above:
    return
  for name in names:
    path = os.path.join(folder, name)
    if name.startswith('.'):
      continue
    if os.path.isdir(path):
      yield from _walk(path, found, (*above, here))
    elif name.lower().endswith(ENDINGS):
      yield path
    else:
      found.ignored.append(path)
