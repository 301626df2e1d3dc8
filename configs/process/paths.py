"""Checks the paths that users give: all of them are local.

TensorFlow and TFDS would take gs://bucket/run for a remote folder, Python for
a local folder named 'gs:'. A run folder needs locks, renames and fsync, which
only local file systems offer (network mounts among them), so remote paths are
refused everywhere.
"""
import os
import pathlib
import re
import unicodedata

from configs.process.errors import printable, UserError

_SCHEME = re.compile('[A-Za-z][A-Za-z0-9+.-]*:/')
_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # Bytes, on Linux.


def local(text: str | os.PathLike[str], flag: str) -> pathlib.Path:
  """Returns the path that a flag gives, with ~ expanded.

  Args:
    text: the flag's value.
    flag: its name with dashes, for the sentence: '--workdir'.

  Raises:
    UserError: see `check`; or there is no home folder for its ~.
  """
  text = os.fspath(text)
  check(text, flag)
  path = pathlib.Path(text)
  if not text.startswith('~'):  # './~' does not mean the home folder.
    return path.absolute() if str(path).startswith('~') else path
  home = path.parts[0]
  empty = home == '~' and not os.environ.get('HOME', '/')  # Python takes /.
  if empty or not os.path.isabs(os.path.expanduser(home)):
    raise UserError(
        f'{flag}={text} begins with {home}, but there is no home folder: set '
        'HOME, or give an absolute path.')
  return path.expanduser()


def check(text: str, flag: str) -> None:
  """Checks that a text is a path of this or another machine's file system.

  Args:
    text: the flag's value.
    flag: its name with dashes, for the sentence: '--workdir'.

  Raises:
    UserError: it is empty, remote, too long, or has characters that the
      libraries below cannot handle.
  """
  if not text.strip():
    raise UserError(f'{flag}={text} is empty: give a path.')
  wrong = (_SCHEME.match(text) and (
      'is not a folder on this machine: mount the remote folder, or give a '
      'local path') or _wrong_characters(text))
  if wrong:
    raise UserError(f'{flag}={printable(text)} {wrong}.')


def _wrong_characters(text):
  """Returns what is wrong with a path's characters, and what to do; or None."""
  try:
    encoded = text.encode()
  except UnicodeEncodeError:
    return 'is not UTF-8: rename it, or give another path'
  if any(unicodedata.category(c) in ('Cc', 'Zl', 'Zp') for c in text):
    return 'has control characters: give a path without them'
  if (len(encoded) > _LONGEST_PATH
      or max(map(len, encoded.split(b'/'))) > _LONGEST_NAME):
    return (f'is too long: give a path of at most {_LONGEST_PATH} bytes, with '
            f'names of at most {_LONGEST_NAME}')
  return None
