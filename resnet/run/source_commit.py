"""Which commit the project's source files are of, if they are a git checkout.
"""
import pathlib
import subprocess

_ROOT = pathlib.Path(__file__).parents[2]
_SECS = 2.0  # Until git is given up: nothing depends on it.


def of(root: pathlib.Path = _ROOT) -> str | None:
  """Returns the commit, with '-dirty' if files differ from it; None: unknown.

  Args:
    root: the folder of the source files. An installed package in a checkout of
      something else has no commit.
  """
  if not (root / '.git').exists():
    return None
  try:
    found = subprocess.run(
        ['git', '--no-optional-locks', '-C', str(root), 'describe', '--always',
         '--abbrev=40', '--dirty', '--exclude=*'],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_SECS, check=True)
  except (OSError, ValueError, subprocess.SubprocessError):
    return None
  return found.stdout.strip() or None
