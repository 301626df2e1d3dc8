"""Where the user's machine keeps what can be made again."""
import os
import pathlib


def make(name):
  """Makes and returns the folder `name` of this project's cache.

  Returns:
    pathlib.Path; None if there is no home, or one that cannot be written: what
    was to be kept there is then made anew each time.
  """
  caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  folder = pathlib.Path(caches, 'resnet-trainer', name)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return None
  return folder
