"""The flags --help, --helpfull and --version of every program.

They print to stdout and end the process with exit code 0 before anything else
happens. They replace absl's own, which exit with 1, and which find neither the
docstring nor the flags of a program that was installed as a command.
"""
from collections.abc import Callable
import sys

from absl import app, flags

from configs.process.version import VERSION

_HEADING = 'Flags'
_sections: dict[str, Callable[[], str]] = {}  # Shown after the flags.
_FOOTER = ('--helpfull also lists the flags for logging, debugging and '
           'profiling.\n--version prints the version.')


class _AnswerFlag(flags.BooleanFlag):
  """A flag that prints a text and ends the process."""

  def __init__(self, name: str, help_string: str, answer: Callable[[], str],
               short_name: str | None = None):
    super().__init__(
        name, False, help_string, short_name, allow_override=True)
    self._answer = answer

  def parse(self, argument):
    super().parse(argument)
    if self.value:
      print(self._answer())
      sys.exit(0)


def define(description: str) -> None:
  """Defines the flags.

  Args:
    description: what the program does: its module docstring.
  """
  app.define_help_flags()  # So that absl does not do it later, over ours.
  description = description.strip()

  def own_help():
    more = ''.join(f'\n\n{section()}' for section in _sections.values())
    return f'{description}\n{_own_flags()}{more}\n\n{_FOOTER}'

  def full_help():
    return f'{description}\n{flags.FLAGS.get_help()}'

  for flag in (
      _AnswerFlag('help', 'Prints what the program does and its flags.',
                  own_help, short_name='?'),
      _AnswerFlag('helpshort', 'The same as --help.', own_help),
      _AnswerFlag('helpfull', 'Prints what the program does and all flags.',
                  full_help),
      _AnswerFlag('version', 'Prints the version.',
                  lambda: f'resnet-trainer {VERSION}')):
    flags.DEFINE_flag(flag)


def add(name: str, section: Callable[[], str]) -> None:
  """Has --help call a function and show its text after the flags."""
  _sections[name] = section


def _own_flags():
  """Returns the help of all flags that the project defines, sorted."""
  values = flags.FLAGS
  for module, found in values.flags_by_module_dict().items():
    if module != __name__ and not module.startswith('absl.'):
      for flag in found:
        values.register_key_flag_for_module(_HEADING, flag)
  return values.module_help(_HEADING)
