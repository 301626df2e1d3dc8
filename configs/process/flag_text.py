"""The help of flags, in two columns: --name=TYPE, and what it does (default).

  --keep_last=N             How many of the newest checkpoints to keep. (3)
  --[no]extend              Trains a run on with another length. (false)
"""
from collections.abc import Iterable
import textwrap
from typing import Any

from absl import flags

WIDTH = 80
_COLUMN = 29  # Where what a flag does begins.
# What absl calls the types of values; other types have a name in capitals.
_KINDS = {'int': 'N', 'float': 'NUMBER', 'string': 'TEXT',
          'comma separated list of strings': 'A,B,...'}
_REPEATED = ';\n    repeat this option to specify a list of values'  # absl's.


def of(heading: str, found: Iterable[flags.Flag]) -> str:
  """Returns the help of the flags of a group."""
  return '\n'.join([f'{heading}:', *map(_of_flag, found)])


def _of_flag(flag):
  left = f'  --{_syntax(flag)}'
  words = [_meaning(flag)]
  default = _default(flag)
  if default:
    words.append(f'({default})')
  text = textwrap.fill(
      ' '.join(words), WIDTH, initial_indent=' ' * _COLUMN,
      subsequent_indent=' ' * _COLUMN, break_long_words=False,
      break_on_hyphens=False)
  if len(left) + 2 > _COLUMN:
    return f'{left}\n{text}'
  return left + text[len(left):]


def values(flag: flags.Flag) -> list[str]:
  """Returns the words that may be the value of a flag; [] if all may be."""
  if flag.boolean:
    return ['true', 'false']
  return list(getattr(flag.parser, 'enum_values', None) or ())


def kind(flag: flags.Flag) -> str:
  """Returns a word for the values of a flag: 'N', 'PATH' or 'a|b'."""
  words = values(flag)
  if words:
    return '|'.join(words)
  name = flag.parser.flag_type()
  return _KINDS.get(name, name if name.isupper() else 'NAME')


def _syntax(flag):
  if flag.boolean:
    return f'[no]{flag.name}'
  return f'{flag.name}={kind(flag)}'


def _meaning(flag):
  """Returns the help as it was written, without what absl adds to it."""
  text = (flag.help or '').replace(_REPEATED, '')
  return ' '.join(text.removeprefix(f'<{kind(flag)}>: ').split())


def _default(flag: flags.Flag[Any]) -> str:
  """Returns the default as it would be given; '' if it needs no words."""
  value = flag.default
  if value is None or value in ('', []):
    return ''
  if isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, (list, tuple)):
    return ', '.join(map(str, value))
  if isinstance(value, float):
    return f'{value:g}'
  return (flag.default_as_str or '').strip("'")
