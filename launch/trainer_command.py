"""The trainer's command line, which launchers take after " -- ".

  python -m launch.local --workers=2 -- --config=cifar10_resnet20

A launcher's --module may name another module to run. The project's own modules
always come from the code that is running. Any other module is also searched for
in the working directory, after the running code and PYTHONPATH, so that files
there never take the place of the project's.
"""
from collections.abc import Mapping, Sequence
import contextlib
from importlib.machinery import ModuleSpec, PathFinder
import importlib.util
import os
import subprocess
import sys

from absl import flags

from configs.process import (
  command_line,
  flag_words,
  help_flags,
  python_module,
)
from configs.process.errors import UserError
from launch.cluster import contract

MODULE = 'resnet.train'
PACKAGES = ('configs', 'launch', 'pipelines', 'resnet')  # Of the project.


def parse(argv: list[str], example: str = '') -> list[str]:
  """Reads a launcher's flags; returns the trainer's, which follow --.

  If those ask for help, the trainer answers and this process ends: nothing is
  started for them.

  Args:
    argv: the command line, with the program's name first.
    example: some trainer flags for the error message, if at least one is
      required.

  Raises:
    UserError: a flag of the launcher is wrong, or the trainer's are missing.
  """
  end = argv.index('--') if '--' in argv else len(argv)
  try:
    command_line.refuse(command_line.parse_flags(argv[:end]))
  except UserError as error:
    if isinstance(error.__cause__, flags.UnrecognizedFlagError):
      raise UserError(
          f'{error} Put flags for the trainer after " -- ".') from error
    raise
  answer_help(argv[end + 1:])
  if example and end == len(argv):
    raise UserError("The trainer's flags are missing: give them after "
                    f'" -- ", as in -- {example}.')
  return argv[end + 1:]


def answer_help(trainer_flags: Sequence[str]) -> None:
  """Ends this process with the trainer's answer if its flags ask for help."""
  if not help_flags.asked(trainer_flags):
    return
  values = flags.FLAGS.flag_values_dict()
  module = values.get('module', MODULE)
  recipe = values.get('config')  # Of a sweep.
  done = subprocess.run(
      [*python_module.command(module),
       *([f'--config={recipe}'] if recipe else []), *trainer_flags],
      env={**os.environ, **variables(module, os.environ)}, check=False)
  sys.exit(done.returncode)


def check_utf8(trainer_flags: Sequence[str]) -> None:
  """Raises UserError for a word that no script and no manifest can hold."""
  for word in trainer_flags:
    try:
      word.encode()
    except UnicodeEncodeError as error:
      raise UserError(f"The trainer's flag {word!r} is not valid UTF-8: spell "
                      'it in UTF-8.') from error


def words(python: Sequence[str], module: str,
          trainer_flags: Sequence[str]) -> tuple[str, ...]:
  """Returns the words of a worker's command.

  Args:
    python: the words that start Python.
    module: dotted name of the module to run.
    trainer_flags: the user's. The strategy for several workers is added unless
      they name one.
  """
  given = flag_words.given(['strategy'], trainer_flags)
  strategy = () if given else (f'--strategy={contract.MULTI_WORKER}',)
  return (*python_module.command(module, python), *strategy, *trainer_flags)


def variables(module: str, environ: Mapping[str, str]) -> dict[str, str]:
  """Returns the variables to add to environ so that workers find a module."""
  return python_module.variables(
      environ, () if _is_own(module) else (os.getcwd(),))


def check_module(name: str) -> None:
  """Raises UserError if workers would not find a module that can be run.

  Imports nothing: the packages that hold it may need TensorFlow, or more.
  """
  spec = _find_module(name)
  if spec and spec.submodule_search_locations:  # A package.
    spec = _find_module(f'{name}.__main__')
  if not spec:
    raise UserError(
        f'--module={name} is not a Python module that can be run: fix the '
        'name, or rerun the command in the folder that holds the module.')


def _is_own(module):
  return module.partition('.')[0] in PACKAGES


def _find_module(name: str) -> ModuleSpec | None:
  """Returns the spec of a module; None if there is no such module."""
  parts = name.split('.')
  if not all(parts):
    return None
  spec = _find_top_level(parts[0])
  for end in range(2, len(parts) + 1):
    if not spec or not spec.submodule_search_locations:
      return None
    spec = PathFinder.find_spec(
        '.'.join(parts[:end]), spec.submodule_search_locations)
  return spec


def _find_top_level(name):
  if _is_own(name):  # `import` would find a resnet.py in the working directory.
    return PathFinder.find_spec(name, [os.fspath(python_module.ROOT)])
  spec = None
  with contextlib.suppress(ValueError):  # '__main__' may have no spec.
    spec = importlib.util.find_spec(name)
  return spec or PathFinder.find_spec(name, [os.getcwd()])
