"""The flags --help, --helpfull, --version and --completion of every program.

They print to stdout and end the process with exit code 0 before anything else
happens. They replace absl's own, which exit with 1, and which find neither the
docstring nor the flags of a program that was installed as a command.
"""
from collections.abc import Callable, Iterable
import sys
from typing import Any

from absl import app, flags

from configs.process import completion, flag_groups, flag_text, flag_words
from configs.process.version import VERSION

_sections: dict[str, Callable[[], str]] = {}  # Shown after the flags.
_FOOTER = """\
Help:
  --help, -h                 This help.
  --helpfull                 Also lists the flags for logging and debugging.
  --version                  The version.
  --completion=bash|zsh      Lets Tab complete flags and their values, after
                             eval "$(resnet-train --completion=bash)"."""
# Flags that another program, to which the words belong, would answer.
_ANSWERED = ('help', 'h', '?', 'helpshort', 'helpfull', 'version', 'completion',
             'complete')


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


class _AskingFlag(flags.Flag[str]):
  """A flag that prints a text for its value and ends the process."""

  def __init__(self, name: str, help_string: str, answer: Callable[[str], str],
               parser: flags.ArgumentParser[str]):
    super().__init__(parser, None, name, None, help_string)
    self._answer = answer

  def parse(self, argument: Any) -> None:
    super().parse(argument)
    print(self._answer(self.value or ''))
    sys.exit(0)


def define(description: str) -> None:
  """Defines the flags.

  Args:
    description: what the program does: its module docstring.
  """
  app.define_help_flags()  # So that absl does not do it later, over ours.
  description = description.strip()

  def own_help():
    groups = (flag_text.of(*group) for group in flag_groups.groups().items())
    more = (section() for section in _sections.values())
    return '\n\n'.join([description, *groups, _FOOTER, *more])

  def full_help():
    return f'{description}\n{flags.FLAGS.get_help()}'

  for flag in (
      _AnswerFlag('help', 'Prints what the program does and its flags.',
                  own_help, short_name='?'),
      _AnswerFlag('helpshort', 'The same as --help.', own_help,
                  short_name='h'),
      _AnswerFlag('helpfull', 'Prints what the program does and all flags.',
                  full_help),
      _AnswerFlag('version', 'Prints the version.',
                  lambda: f'resnet-trainer {VERSION}'),
      _AskingFlag('completion', 'Prints a script with which a shell '
                  'completes the flags of all programs.', completion.script,
                  flags.EnumParser(list(completion.SHELLS))),
      _AskingFlag('complete', 'Prints what a word can become; for the script '
                  'of --completion.', lambda word: '\n'.join(
                      completion.candidates(word)), flags.ArgumentParser())):
    flags.DEFINE_flag(flag)
  flag_groups.hide()


def add(name: str, section: Callable[[], str]) -> None:
  """Has --help call a function and show its text after the flags."""
  _sections[name] = section


def asked(words: Iterable[str]) -> list[str]:
  """Returns those words that ask a program to answer and end, as --help does.
  """
  return [word for word in words if flag_words.name_of(word) in _ANSWERED
          and word.partition('=')[2] != 'false']
