"""Checks the paths that users give: all of them are local.

TensorFlow and TFDS would take gs://bucket/run for a remote folder, Python for
a local folder named 'gs:'. A run folder needs locks, renames and fsync, which
only local file systems offer (network mounts among them), so remote paths are
refused everywhere.
"""
import pathlib
import re

from configs.process.errors import UserError

_SCHEME = re.compile('[A-Za-z][A-Za-z0-9+.-]*:/')


def local(text: str, flag: str) -> pathlib.Path:
  """Returns the path that a flag gives, with ~ expanded.

  Args:
    text: the flag's value.
    flag: its name with dashes, for the sentence: '--workdir'.

  Raises:
    UserError: it is empty, remote, or has characters that the libraries below
      cannot handle; or there is no home folder for its ~.
  """
  if not text.strip():
    raise UserError(f'{flag}={text} is empty: give the path of a folder.')
  shown = ''.join(c if c.isprintable() else '?' for c in text)
  if _SCHEME.match(text):
    raise UserError(
        f'{flag}={shown} is not a folder on this machine: mount the remote '
        'folder, or give a local path.')
  try:
    text.encode()
  except UnicodeEncodeError as error:
    raise UserError(f'{flag}={shown} is not UTF-8: rename it, or give another '
                    'path.') from error
  if not text.isprintable():
    raise UserError(f'{flag}={shown} has control characters: give a path '
                    'without them.')
  try:
    return pathlib.Path(text).expanduser()
  except RuntimeError as error:
    raise UserError(
        f'{flag}={shown} begins with ~, but there is no home folder: set HOME, '
        'or give an absolute path.') from error
