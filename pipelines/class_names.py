"""Names of classes: which ones a data set can keep, and which are the same.

TFDS keeps them in a text file, one name a line, and strips the spaces around
each. Names that would come back changed are refused. A letter such as é can be
written in two ways, composed (NFC) or decomposed (NFD, as older file systems of
macOS store it). They look the same, and are the same class here.
"""
from collections.abc import Iterable
import unicodedata

# Control characters, which include line breaks; line and paragraph separators.
_NOT_KEPT = ('Cc', 'Zl', 'Zp')


def canonical(name: str) -> str:
  """Returns the composed spelling of a name."""
  return unicodedata.normalize('NFC', name)


def why_not(names: Iterable[str]) -> tuple[str, str] | None:
  """Finds names that cannot be those of different classes of one split.

  Args:
    names: of class folders; UTF-8, different and not empty.

  Returns:
    (what is wrong, what to do), as parts of a sentence about the folder that
    contains them; None if all is well.
  """
  spellings = {}
  for name in names:
    if any(unicodedata.category(c) in _NOT_KEPT for c in name):
      return (f'has the class folder {name!r}, with a line break or another '
              'control character in its name', 'rename it')
    if name != name.strip():
      return (f'has the class folder {name!r}, whose name begins or ends with '
              'a space', 'rename it')
    other = spellings.setdefault(canonical(name), name)
    if other != name:
      return (f'has two class folders called {canonical(name)} ({other!a} and '
              f'{name!a}), one composed and one decomposed in Unicode',
              'merge them or rename one')
  return None


def alike(names: Iterable[str]) -> list[str]:
  """Returns 'Cat = cat' for names that differ in case alone."""
  groups: dict[str, list[str]] = {}
  for name in sorted(names):
    groups.setdefault(canonical(name).casefold(), []).append(name)
  return [' = '.join(group) for group in groups.values() if len(group) > 1]
