"""The trainer's command line, which launchers take after " -- "."""
import importlib.machinery
import importlib.util
import re

from absl import flags

from configs.process import command_line
from configs.process.errors import UserError

MODULE = 'resnet.train'
_STRATEGY = '--strategy=multi_worker_mirrored'


def parse(argv, example=None):
  """Reads a launcher's flags; returns the trainer's, which follow --.

  Args:
    argv: words.
    example: flags of the trainer, for the sentence, if there must be some.

  Raises:
    UserError: a flag of the launcher's is wrong, or those of the trainer are
      missing.
  """
  end = argv.index('--') if '--' in argv else len(argv)
  try:
    command_line.refuse(command_line.parse_flags(argv[:end]))
  except UserError as error:
    if isinstance(error.__cause__, flags.UnrecognizedFlagError):
      raise UserError(f'{error} The flags of the trainer stand after " -- ".'
                     ) from error
    raise
  if example and end == len(argv):
    raise UserError('The flags of the trainer are missing: give them after '
                    f'" -- ", as in -- {example}.')
  return argv[end + 1:]


def words(python, module, trainer_flags):
  """The words of the command, with a strategy for several workers.

  Args:
    python: words that start Python.
    module: its name.
    trainer_flags: of the user, whose --strategy counts.
  """
  given = any(re.match('--?strategy(=|$)', flag) for flag in trainer_flags)
  return (*python, '-m', module, *([] if given else [_STRATEGY]),
          *trainer_flags)


def check_module(name):
  """Raises UserError if python -m would not find a module.

  importlib.util.find_spec would import the packages that it is in, and the
  trainer's imports TensorFlow.
  """
  spec = _find_module(name)
  if spec and spec.submodule_search_locations:  # A package.
    spec = _find_module(f'{name}.__main__')
  if not spec:
    raise UserError(f'--module={name} is no Python module that can be run: '
                    'mend the name, or start in the folder that it is in.')


def _find_module(name):
  package, _, _ = name.rpartition('.')
  if not package:
    return name and importlib.util.find_spec(name)
  within = _find_module(package)
  folders = within and within.submodule_search_locations
  return folders and importlib.machinery.PathFinder.find_spec(name, folders)
