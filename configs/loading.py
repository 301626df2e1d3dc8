"""Finds a recipe by its name or path and lays overrides over it."""
import importlib.util
import pathlib

from absl import flags
from ml_collections import config_flags

from configs import schema
from configs.process import command_line
from configs.process.errors import UserError

DEFAULT = 'digits_resnet8'
_FOLDER = pathlib.Path(__file__).parent


def names():
  """The recipes that come with the project, sorted."""
  return sorted(
      path.stem for path in _FOLDER.glob('*.py')
      if '\ndef get_config(' in path.read_text())


def load(recipe):
  """The Config that a recipe builds.

  Args:
    recipe: a name such as 'cifar10_resnet20', or the path of a Python file
      with a function `get_config()`.

  Raises:
    UserError: there is no such recipe, or the file has no get_config().
  """
  path = pathlib.Path(recipe)
  if path.suffix != '.py':
    path = _FOLDER / f'{recipe}.py'
    if recipe not in names():
      raise UserError(
          f'--config={recipe} is unknown: give the path of a .py file or one '
          f'of {", ".join(names())}.')
  if not path.is_file():
    raise UserError(
        f'--config={recipe} does not exist: give an existing .py file or one '
        f'of {", ".join(names())}.')
  spec = importlib.util.spec_from_file_location(f'recipe_{path.stem}', path)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    config = module.get_config()
  except UserError:
    raise
  except Exception as error:  # The file is the user's: any error may come.
    raise UserError(
        f'--config={recipe} cannot be read ({type(error).__name__}: {error}): '
        'mend the file; it needs a get_config() that returns a '
        'configs.schema.Config.') from error
  if not isinstance(config, schema.Config):
    raise UserError(
        f'--config={recipe} has a get_config() that returns a '
        f'{type(config).__name__}: return a configs.schema.Config.')
  return config


def split_config_flag(argv):
  """Takes --config out of argv, wherever it stands.

  Returns:
    (recipe, the rest of argv); the last of several --config counts.
  """
  recipe, rest, words = DEFAULT, [], iter(argv)
  for word in words:
    name, has_value, value = word.partition('=')
    if name not in ('--config', '-config'):
      rest.append(word)
    elif has_value:
      recipe = value
    else:
      recipe = next(words, '')
  return recipe, rest


def parse(argv, flag_values=flags.FLAGS):
  """Parses all flags; returns (Config, recipe's name, other arguments).

  Raises:
    UserError: an unknown recipe, field or flag, or a value of a wrong type.
  """
  recipe, rest = split_config_flag(argv)
  config = load(recipe)
  for word in rest:
    path = word.partition('=')[0].lstrip('-').removeprefix('no')
    if word.startswith('-') and path.startswith('config.'):
      check_field(path.removeprefix('config.'), config)
  try:
    holder = config_flags.DEFINE_config_dataclass(
        'config', config, sys_argv=rest, flag_values=flag_values,
        help_string='Recipe (a name in configs/ or the path of a .py file), '
        'overridden field by field: --config=cifar10_resnet20 '
        '--config.model.depth=56.')
    others = flag_values(rest)
  except flags.Error as error:
    raise UserError(_flag_sentence(error, config)) from error
  schema.check(holder.value)
  return holder.value, pathlib.Path(recipe).stem, others[1:]


def check_field(path, config):
  """Raises UserError unless `config` has a plain field at `path`."""
  holder = config
  for name in path.split('.'):
    if name not in getattr(holder, '__dataclass_fields__', ()):
      raise UserError(schema.unknown_field(path, config))
    holder = getattr(holder, name)
  if hasattr(holder, '__dataclass_fields__'):
    raise UserError(
        f'config.{path} is a group: set one of its fields '
        f'{", ".join(holder.__dataclass_fields__)}.')


def _flag_sentence(error, config):
  """absl's message, with what is allowed for an ill-typed config field."""
  if isinstance(error, flags.IllegalFlagValueError):
    given = str(error).removeprefix('flag --').partition(': ')[0]
    path = given.partition('=')[0]
    if path.startswith('config.'):
      kind = schema.type_name(path.removeprefix('config.'), config)
      return f'{given} has the wrong type: give {kind}.'
  return command_line.sentence(error)

