"""Which recipe a run was started from, and what was overridden."""
from collections.abc import Sequence
import functools
import pathlib
from typing import Any

from configs import loading, schema
from configs.process import flag_words
from configs.process.errors import UserError

_LONGEST = 60  # Characters of a value.
_TRAINERS = ('train.py', 'resnet-train', 'resnet.train')
_CODE = 'code'  # The source of a recipe's own functions.


def of(command: Any) -> str | None:
  """Returns the recipe that a command names; None if that is not known.

  Args:
    command: `command` of run.json: the words, whatever they are.
  """
  if not (isinstance(command, list) and command
          and all(isinstance(word, str) for word in command)):
    return None
  recipe, _ = flag_words.take('config', command[1:])
  if recipe is None and pathlib.Path(command[0]).name in _TRAINERS:
    return loading.DEFAULT
  return recipe


def changes(recipe: str | None, config: schema.Config,
            command: Sequence[str]) -> list[str]:
  """Returns 'field=value' for each field that differs from its recipe.

  The user's own recipes are not run: of them, the command says what was set.

  Args:
    recipe: see `of`.
    config: of the run.
    command: that started it.
  """
  if recipe is None:
    return []
  try:
    before = _built_in(recipe)
  except UserError:
    before = None
  if before is None:
    return _given(command[1:])
  values = schema.plain_fields(config)
  return [f'{name}={_text(value)}' for name, value in values.items()
          if name != _CODE and value != before.get(name)]


def _given(words):
  """Returns 'field=value' for each field that a command line sets."""
  found: list[str] = []
  for word in flag_words.select('config.', words):
    if flag_words.name_of(word):
      found.append(word.lstrip('-').removeprefix('config.'))
    else:  # The value of the field before.
      found[-1] += f'={word}'
  return found


@functools.cache
def _built_in(recipe):
  """Returns the fields of a recipe of the project; None for another's file."""
  if recipe.endswith('.py'):
    return None
  return schema.plain_fields(loading.load(recipe))


def _text(value):
  if isinstance(value, float):
    return f'{value:g}'
  text = ','.join(map(_text, value)) if isinstance(value, tuple) else str(value)
  return text if len(text) <= _LONGEST else text[:_LONGEST - 1] + '…'
