"""Finds a recipe by its name or path and applies overrides to it."""
from collections.abc import Sequence
import importlib.util
import pathlib
from typing import Any, NamedTuple

from absl import flags
from ml_collections import config_flags

from configs import combinations, field_help, schema
from configs.process import (
  command_line,
  completion,
  flag_groups,
  flag_words,
  help_flags,
  near_names,
  paths,
  typed_fields,
  word_tuples,
)
from configs.process.errors import first_line, UserError

DEFAULT = 'digits_resnet8'
FUNCTIONS = frozenset(('build', 'metrics'))  # Of resnet/models/own.py.
_FOLDER = pathlib.Path(__file__).parent
_LISTED = typed_fields.LISTED
_NOT_RECIPES = ('__init__', 'combinations', 'field_help', 'loading', 'schema',
                'unused')


def names() -> list[str]:
  """Returns the names of the recipes that come with the project, sorted.

  Those in a folder have its name: 'tutorials/mnist_resnet18'.
  """
  files = [*_FOLDER.glob('*.py'), *_FOLDER.glob('tutorials/*.py')]
  return sorted(path.relative_to(_FOLDER).with_suffix('').as_posix()
                for path in files if path.stem not in _NOT_RECIPES)


def run_name(recipe: str) -> str:
  """Returns what runs of a recipe are called: its name, or that of its file."""
  return recipe if recipe in names() else pathlib.Path(recipe).stem


def load(recipe: str) -> schema.Config:
  """Builds the Config of a recipe.

  Args:
    recipe: a name such as 'cifar10_resnet20', or the path of a Python file with
      a function `get_config()`.

  Raises:
    UserError: there is no such recipe, its file fails, or a field of its
      config does not exist, has the wrong type or is out of range.
  """
  module = _executed(recipe)
  config = module.config
  if type(config) is not schema.Config:  # A subclass could not be read again.
    raise UserError(
        f'--config={recipe} has a get_config() that returns a '
        f'{type(config).__name__}: return a configs.schema.Config.')
  typed_fields.check_types(config)
  typed_fields.check_limits(config)
  if module.has_functions:
    config.code = module.source
  return config


class _Executed(NamedTuple):
  """A recipe's file that has been run."""
  config: Any  # What its get_config() returns.
  has_functions: bool  # Whether it has those of resnet/models/own.py.
  source: str


def _executed(recipe):
  """Runs a recipe's file."""
  path = _path(recipe)
  spec = importlib.util.spec_from_file_location(f'recipe_{path.stem}', path)
  assert spec and spec.loader  # There is a loader for each .py file.
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    return _Executed(
        module.get_config(), bool(FUNCTIONS & vars(module).keys()),
        path.read_text(encoding='utf-8'))
  except (UserError, KeyboardInterrupt):
    raise
  except BaseException as error:  # The file is the user's: it may raise all.
    raise UserError(
        f'--config={recipe} cannot be loaded ({type(error).__name__}: '
        f'{first_line(error)}): fix the file, which must define a get_config() '
        'that returns a configs.schema.Config.') from error


def _path(recipe):
  """Returns the path of a recipe's file."""
  if not recipe.endswith('.py'):
    if recipe not in names():
      raise UserError(
          f'--config={recipe} is unknown{near_names.hint(recipe, names())}: '
          f'give the path of a .py file or a recipe; {_LISTED} lists them.')
    return _FOLDER / f'{recipe}.py'
  path = paths.local(recipe, '--config')
  try:
    found = path.is_file()
  except OSError as error:
    raise UserError(f'--config={recipe} cannot be read ({error.strerror}): '
                    f'give a .py file that you may read.') from error
  if not found:
    raise UserError(
        f'--config={recipe} does not exist: give an existing .py file or a '
        f'recipe; {_LISTED} lists them.')
  return path


def parse(argv: Sequence[str], flag_values: flags.FlagValues = flags.FLAGS
          ) -> tuple[schema.Config, str, list[str]]:
  """Reads all flags, --config and its overrides among them.

  Args:
    argv: the command line, with the program's name first.
    flag_values: the flags that are defined; --config is added.

  Returns:
    (config, the name of its runs, arguments that are not flags).

  Raises:
    UserError: the recipe, a field or a flag is unknown, or a value is wrong.
  """
  recipe, rest = flag_words.take('config', argv)
  recipe = DEFAULT if recipe is None else recipe
  config = load(recipe)
  help_flags.add('recipes', lambda: field_help.recipes(
      {name: _FOLDER / f'{name}.py' for name in names()}))
  help_flags.add('fields', lambda: field_help.text(
      config, recipe, _path(recipe)))
  completion.offer(_completions)
  for word in rest:
    name = (flag_words.name_of(word) or '').removeprefix('no')
    if name.startswith('config.'):
      check_field(name.removeprefix('config.'), config)
  rest = word_tuples.quoted(rest, [
      f'config.{field.path}' for field in typed_fields.plain(config)
      if field.type == tuple[str, ...]])
  try:
    with flag_groups.group('Recipe', first=True):
      holder = _define(config, rest, flag_values)
    others = command_line.read_flags(rest, flag_values)
  except flags.Error as error:
    raise UserError(_flag_sentence(error, config, flag_values)) from error
  _check_others(others[1:], flag_values)
  combinations.check(holder.value)
  return holder.value, run_name(recipe), others[1:]


def _define(config, words, flag_values):
  """Defines --config and those of its fields that the words set."""
  holder = config_flags.DEFINE_config_dataclass(
      'config', config, sys_argv=words, flag_values=flag_values,
      help_string='What is trained: a recipe, see below, or the path of a .py '
      'file. Each field can be overridden, as in --config.model.depth=56.')
  # The default that --help shows; else it would be all fields with values.
  flag_values['config'].default_as_str = f"'{DEFAULT}'"
  return holder


def _completions():
  """Returns {name: its values, if they are known} of --config and fields."""
  return {'config': names()} | {
      f'config.{field.path}': typed_fields.words(field)
      for field in typed_fields.plain(schema.Config()) if field.path != 'code'}


def _check_others(words, flag_values):
  """Raises UserError for a word that shows which flag was meant."""
  for word in words:
    name = word.partition('=')[0]
    flag = ''
    if word in names() or word.endswith('.py'):
      flag = f'--config={word}'
    elif name.removeprefix('config.') in schema.plain_fields(schema.Config()):
      flag = f'--config.{word.removeprefix("config.")}'
    elif '/' in word and 'data_dir' in flag_values and '=' not in word:
      flag = f'--data_dir={word}'
    if flag:
      raise UserError(f'{word!r} is not a flag: did you mean {flag}?')


def check_field(path: str, config: schema.Config) -> None:
  """Checks that `config` has a plain field at `path`, 'model.depth' say.

  Raises:
    UserError: there is no such field, or it is a group of fields.
  """
  holder = config
  for name in path.split('.'):
    if name not in getattr(holder, '__dataclass_fields__', ()):
      raise UserError(typed_fields.unknown(path, config))
    holder = getattr(holder, name)
  if hasattr(holder, '__dataclass_fields__'):
    raise UserError(
        f'config.{path} is a group: set one of its fields, such as '
        f'config.{path}.{next(iter(holder.__dataclass_fields__))}; {_LISTED} '
        'lists them.')


def _flag_sentence(error, config, flag_values):
  """Returns what is wrong with a flag, or with the value of a config field."""
  if isinstance(error, flags.IllegalFlagValueError):
    given = str(error).removeprefix('flag --').partition(': ')[0]
    path = given.partition('=')[0]
    if path.startswith('config.'):
      kind = typed_fields.type_name(path.removeprefix('config.'), config)
      return f'{given} has the wrong type: give {kind}.'
  return command_line.sentence(error, flag_values)
