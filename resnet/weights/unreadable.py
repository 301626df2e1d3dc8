"""Why a file of weights cannot be used; both become sentences in files.py."""
import struct
import zipfile
import zlib

# What reading a damaged zip raises.
ZIP_ERRORS = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile,
              zlib.error, struct.error)


class Unreadable(Exception):
  """A file is damaged or is not of its kind.

  The message is the middle of a sentence that says what is wrong.
  """


class Foreign(Exception):
  """A file holds the weights of a network that this project does not have.

  The message says of which, and what to do: the end of a sentence that begins
  with 'FILE holds weights of'.
  """
