"""Where the project keeps, on the user's machine, what can be made again."""
import os
import pathlib


def make(name: str) -> pathlib.Path | None:
  """Makes and returns the folder `name` in the project's cache.

  Returns:
    Its path; None if there is no writable home. What was to be kept there must
    then be made again each time.
  """
  caches = os.environ.get('XDG_CACHE_HOME', '')
  if not os.path.isabs(caches):  # To be ignored, says the specification.
    # Python takes an empty HOME for the root folder.
    caches = os.environ.get('HOME', '~') and os.path.expanduser('~/.cache')
  folder = pathlib.Path(caches, 'resnet-trainer', name)
  try:
    if not folder.is_absolute():  # Without a home, ~ stays what it is.
      return None
    os.fspath(folder).encode()  # TensorFlow takes no other names.
    folder.mkdir(parents=True, exist_ok=True)
  except (OSError, UnicodeEncodeError):
    return None
  return folder
