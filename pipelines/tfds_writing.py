"""How TFDS writes a data set, and what goes wrong then, in one sentence."""
import errno
import os
import sys

import tensorflow as tf
import tensorflow_datasets as tfds

from configs.process.errors import first_line, TryAgain, UserError

# What another folder, more space or other permissions would cure.
_ERRNOS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT,
           errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP,
           errno.ENAMETOOLONG, errno.EFBIG)
_CODES = (tf.errors.PermissionDeniedError, tf.errors.ResourceExhaustedError,
          tf.errors.FailedPreconditionError, tf.errors.NotFoundError,
          tf.errors.AlreadyExistsError,
          tf.errors.OutOfRangeError)  # Of EFBIG: the file is too large.


def begin() -> None:
  """Leaves TFDS's progress bars out of files and pipes."""
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()


def cause(error: BaseException | None) -> OSError | tf.errors.OpError | None:
  """Returns the error of the file system that an error comes from, if any.

  TFDS raises a RuntimeError from TensorFlow's errors, and an OSError without
  its number from others.
  """
  found = None
  while error:
    if isinstance(error, (OSError, tf.errors.OpError)):
      found = error
    error = error.__cause__
  return found


def failure(data_dir: str | os.PathLike,
            error: OSError | tf.errors.OpError) -> UserError | TryAgain:
  """Returns the error for data that cannot be written.

  Args:
    data_dir: the folder that holds data sets.
    error: what was raised while a data set was written.
  """
  reason = getattr(error, 'strerror', None) or first_line(error)
  file = getattr(error, 'filename', None)
  what = f'--data_dir={data_dir} cannot be written ({reason})'
  if file and not os.fspath(file).startswith(os.fspath(data_dir)):
    what = f'{file} cannot be used ({reason})'
  # An OSError without a number is TFDS's own: there is too little space.
  number = getattr(error, 'errno', None)
  if isinstance(error, _CODES) or isinstance(error, OSError) and (
      number is None or number in _ERRNOS):
    return UserError(f'{what}: give a writable folder with enough free space.')
  return TryAgain(f'{what}: rerun the same command, with another folder if it '
                  'fails again.')
