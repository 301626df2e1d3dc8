"""Flags whose values are paths: none reaches a file system unchecked."""
import pathlib

from absl import flags

from configs.process import paths

KIND = 'PATH'

flags.disclaim_key_flags()  # They belong to the modules that call `define`.


class _Parser(flags.ArgumentParser[pathlib.Path]):
  """Turns the text of a flag into a local path, or raises UserError."""
  syntactic_help = 'a path'

  def __init__(self, flag: str):
    super().__init__()
    self._flag = flag

  def parse(self, argument: str | pathlib.Path) -> pathlib.Path:
    return paths.local(argument, self._flag)

  def flag_type(self) -> str:
    return KIND


def define(name: str, default: str | None, help_text: str,
           allow_override: bool = False) -> None:
  """Defines a flag whose value is a pathlib.Path with ~ expanded, or None.

  Reading a path that is not local raises UserError; see paths.local.

  Args:
    name: the flag's.
    default: its value if it is not given.
    help_text: its help.
    allow_override: whether absl may have defined a flag of this name.
  """
  flags.DEFINE(_Parser(f'--{name}'), name, default, help_text,
               allow_override=allow_override)
