"""Which of several names a misspelt one is likely to mean."""
from collections.abc import Iterable
import difflib

_LEAST = 4  # Letters of a part by which a name is found.


def find(word: str, names: Iterable[str]) -> list[str]:
  """Returns at most three names that a word is likely to mean, best first.

  Args:
    word: what was given.
    names: what there is. Case does not count.
  """
  word, by_lower = word.lower(), {name.lower(): name for name in names}
  if word in by_lower:
    return [by_lower[word]]
  near = difflib.get_close_matches(word, by_lower, n=3, cutoff=0.7)
  if not near and len(word) >= _LEAST:
    near = sorted((name for name in by_lower if word in name), key=len)
  return [by_lower[name] for name in near[:3]]


def hint(word: str, names: Iterable[str]) -> str:
  """Returns ' (did you mean a or b?)'; '' if no name is similar."""
  return meant(find(word, names))


def meant(names: Iterable[str]) -> str:
  """Returns ' (did you mean a or b?)'; '' without names."""
  names = ' or '.join(names)
  return f' (did you mean {names}?)' if names else ''
