"""Tuples of words on the command line: --name=stem,stage1 without quotes."""
from collections.abc import Collection, Sequence

from configs.process import flag_words


def quoted(words: Sequence[str], names: Collection[str]) -> list[str]:
  """Returns a command line whose tuples of words are Python's.

  ml_collections reads them with ast.literal_eval, which takes "('a', 'b')" only
  and would read a,b as one word. Values that have quotes or parentheses stay.

  Args:
    words: the command line.
    names: of the flags, without dashes.
  """
  result, rest = [], iter(words)
  for word in rest:
    if flag_words.name_of(word) in names:
      flag, equals, value = word.partition('=')
      if not equals:
        value = next(rest, None)
      if value is not None:
        word = f'{flag}={_as_tuple(value)}'
    result.append(word)
  return result


def _as_tuple(value):
  if set(value) & set('\'"()'):
    return value
  return repr(tuple(word for word in value.split(',') if word))
