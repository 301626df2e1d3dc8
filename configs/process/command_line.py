"""How every program starts and ends: it reads flags, runs, and exits.

Exit codes: 0 done; 2 a user error, which a restart would not cure; 143 saved,
rerun the same command to continue; anything else is a failure.
"""
from collections.abc import Callable, Sequence
import sys
from typing import TypeVar

from absl import app, flags, logging

from configs.process import help_flags
from configs.process.errors import TryAgain, UserError

DONE = 0
PERMANENT = 2
# PERMANENT, and its equivalents in other programs: EX_USAGE and EX_CONFIG of
# BSD's sysexits.h.
ALL_PERMANENT = (PERMANENT, 64, 78)
START_AGAIN = 143
INTERRUPTED = 130  # What shells report after Ctrl-C.

_Parsed = TypeVar('_Parsed')


def run(main: Callable[[_Parsed], int],
        parse: Callable[[list[str]], _Parsed]) -> None:
  """Runs a program and exits the process.

  Args:
    main: takes what `parse` returned and returns an exit code. The docstring of
      its module is what --help prints.
    parse: defines and reads the flags of a command line.
  """
  parsed = []
  help_flags.define(sys.modules[main.__module__].__doc__ or '')

  def parse_flags(argv):
    parsed.append(parse(argv))
    return argv[:1]

  def main_with_quiet_log(_):
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.ERROR)
    return main(parsed[0])

  try:
    app.run(main_with_quiet_log, flags_parser=parse_flags)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(PERMANENT)
  except TryAgain as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(START_AGAIN)
  except KeyboardInterrupt:  # Before there was anything to save.
    sys.exit(INTERRUPTED)


def parse_flags(argv: Sequence[str],
                flag_values: flags.FlagValues = flags.FLAGS) -> list[str]:
  """Reads the defined flags; returns the arguments that are not flags.

  Raises:
    UserError: a flag is unknown, or its value is not allowed.
  """
  try:
    return flag_values(argv)[1:]
  except flags.Error as error:
    raise UserError(sentence(error, flag_values)) from error


def sentence(error: flags.Error,
             flag_values: flags.FlagValues = flags.FLAGS) -> str:
  """Returns one sentence that says what is wrong with a flag and what to do.

  Args:
    error: what absl raised while it read the flags.
    flag_values: the flags that it read.
  """
  text = ' '.join(str(error).split()).rstrip('.')
  if isinstance(error, flags.UnrecognizedFlagError):
    near = text.partition('Did you mean: ')[2].removesuffix(' ?').split(', ')
    hint = ' or '.join(f'--{name}' for name in near if name)
    hint = f' (did you mean {hint}?)' if hint else ''
    return f'--{error.flagname} is unknown{hint}: --help lists the flags.'
  if isinstance(error, flags.IllegalFlagValueError):
    given, _, reason = text.removeprefix('flag --').partition(': ')
    name = given.partition('=')[0]
    allowed = _allowed(flag_values[name]) if name in flag_values else ''
    if allowed:
      return f'--{given} is not allowed: give {allowed}.'
    return f'--{given} is not allowed ({reason}): see --help.'
  return f'{text}: see --help.'


def _allowed(flag):
  """Returns what the value of a flag must be; '' if that is not known."""
  if flag.boolean:
    return 'true or false'
  words = getattr(flag.parser, 'enum_values', None)
  return f'one of {", ".join(words)}' if words else flag.parser.syntactic_help


def refuse(others: Sequence[str]) -> None:
  """Raises UserError if arguments that are not flags were given."""
  if others:
    raise UserError(f'{" ".join(others)!r} is not a flag: flags have the form '
                    '--name=value.')


def warn(text: str) -> None:
  """Tells the user, in a sentence, what the program works around."""
  print(f'warning: {text}', file=sys.stderr, flush=True)
