"""Keeps TensorFlow's start-up notices off the screen.

While it is imported, TensorFlow prints notices about drivers and CPUs directly
to file descriptor 2, before it reads any log level. Set TF_CPP_MIN_LOG_LEVEL=0
to see them.
"""
from collections.abc import Iterator
import contextlib
import os
import sys

from configs.process import streams


@contextlib.contextmanager
def tensorflow_import() -> Iterator[None]:
  """Holds back stderr, also of native code; shows it if the import fails."""
  verbose = os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3') == '0'
  if verbose or 'tensorflow' in sys.modules:
    yield
    return
  streams.flush()
  try:
    stderr = os.dup(2)
  except OSError:  # Closed: there is nothing to hold back.
    yield
    return
  # In memory: there may be no folder for temporary files, or no space in it.
  with open(os.memfd_create('stderr'), 'w+b') as held:
    os.dup2(held.fileno(), 2)
    try:
      yield
    except Exception:
      held.seek(0)
      with contextlib.suppress(OSError):
        os.write(stderr, held.read())
      raise
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)
