"""The exceptions that reach the user as one sentence, and its wording."""
from collections.abc import Iterator
import contextlib
import errno
import os
import unicodedata

# What only the user can change. Other errors, an I/O error of a file server for
# example, may go away.
LASTING = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES,
    errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY,
    errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG)

# Control characters, surrogates (bytes that are not UTF-8), line separators.
_UNPRINTABLE = ('Cc', 'Cs', 'Zl', 'Zp')


class UserError(Exception):
  """An error that the user can fix.

  The message is one sentence: the value received, what is allowed, what to do
  next. Programs print it and exit with code 2, which tells launchers that a
  restart would not help.
  """


class TryAgain(Exception):
  """Something that cannot be done now, and that a restart may cure.

  The I/O error of a file server, for example. The message is one sentence.
  Programs print it and exit with code 143, which asks launchers for a restart.
  """


def printable(text: str, longest: int = 2000) -> str:
  """Returns a text as one line that any terminal can show.

  Line breaks, other control characters and what is not UTF-8 become '?'. The
  middle of a longer text is left out: the end of a sentence says what to do.
  """
  if len(text) > longest:
    half = longest // 2
    text = f'{text[:half]} ... {text[-half:]}'
  return ''.join(
      '?' if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def first_line(error: BaseException, longest: int = 200) -> str:
  """Returns the first line of an error's message, or its type if it has none.

  The line ends without a period, so that it can stand inside a sentence.
  """
  text = getattr(error, 'message', '') or str(error)
  lines = str(text).strip().splitlines() or [type(error).__name__]
  return lines[0][:longest].rstrip('.')


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
  """Names the file or folder that the block fails to write.

  Raises:
    UserError: for an OSError that only the user can fix.
    TryAgain: for any other OSError.
  """
  try:
    yield
  except OSError as error:
    what = f'{os.fspath(path)} cannot be written ({error.strerror})'
    if error.errno in LASTING:
      raise UserError(f'{what}: free some space or fix the permissions, then '
                      'rerun the same command.') from error
    raise TryAgain(f'{what}: rerun the same command once it can.') from error
