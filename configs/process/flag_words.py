"""Reads single flags of another program's command line, as absl would.

Launchers pass most of the trainer's flags on without defining them. The few
that matter to a launcher are read here, in the forms that absl accepts:
-name=value, --name=value, --name value, --name and --noname. If a flag is given
several times, the last one counts.

  workdir, others = flag_words.take('workdir', words)
"""
from collections.abc import Iterable, Sequence


def name_of(word: str) -> str | None:
  """Returns the name in a word such as '--name=value'; None for other words."""
  if not word.startswith('-') or not word.strip('-'):
    return None
  return word.removeprefix('-').removeprefix('-').partition('=')[0]


def take(name: str,
         words: Sequence[str]) -> tuple[str | None, list[str]]:
  """Takes a flag that has a value out of a command line.

  Args:
    name: name of the flag, without dashes.
    words: the command line.

  Returns:
    (value, the other words). The value is None if the flag is not given, and ''
    if its value is missing.
  """
  value, others, rest = None, [], iter(words)
  for word in rest:
    if name_of(word) != name:
      others.append(word)
      continue
    _, has_value, value = word.partition('=')
    if not has_value:
      value = next(rest, '')
  return value, others


def given(names: Iterable[str], words: Sequence[str]) -> list[str]:
  """Returns those of `names` that the words set; --noname sets `name` too."""
  found = {name_of(word) for word in words}
  return [name for name in names if found & {name, f'no{name}'}]


def select(prefix: str, words: Sequence[str]) -> list[str]:
  """Returns the flags whose names begin with a prefix, with their values.

  After --name without '=', the next word is its value unless it begins with
  '--'; whether the flag is boolean is not known here.
  """
  found = []
  for word, following in zip(words, [*words[1:], '--']):
    name = name_of(word)
    if name and (name.startswith(prefix) or name.startswith(f'no{prefix}')):
      found.append(word)
      if '=' not in word and not following.startswith('--'):
        found.append(following)
  return found
