"""Keeps TensorFlow's start-up noise off the screen.

TensorFlow prints driver and CPU notices straight to file descriptor 2 while it
is imported, before any log level is read. Set TF_CPP_MIN_LOG_LEVEL=0 to see
all of it.
"""
import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def tensorflow_import():
  """Holds back native code's stderr; shows it if the import fails."""
  verbose = os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3') == '0'
  if verbose or 'tensorflow' in sys.modules:
    yield
    return
  sys.stderr.flush()
  stderr = os.dup(2)
  with tempfile.TemporaryFile() as held:
    os.dup2(held.fileno(), 2)
    try:
      yield
    except BaseException:
      held.seek(0)
      os.write(stderr, held.read())
      raise
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)
