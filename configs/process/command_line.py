"""How every program starts and ends: it reads flags, runs, and exits.

Exit codes: 0 done; 2 a user error, which a restart would not cure; 143 saved,
rerun the same command to continue; anything else is a failure.
"""
import atexit
from collections.abc import Callable, Sequence
import errno
import os
import signal
import sys
import threading
from typing import NoReturn, TypeVar

from absl import app, flags, logging

from configs.process import (
  flag_text,
  foreign_flags,
  help_flags,
  near_names,
  progress,
  streams,
)
from configs.process.errors import printable, TryAgain, UserError

DONE = 0
PERMANENT = 2
# PERMANENT, and its equivalents in other programs: EX_USAGE and EX_CONFIG of
# BSD's sysexits.h.
ALL_PERMANENT = (PERMANENT, 64, 78)
START_AGAIN = 143
FAILURE = 1
INTERRUPTED = 130  # What shells report after Ctrl-C.
BROKEN_PIPE = 141  # What they report of a program whose reader has left.

_LONGEST_EXIT_SECS = 10.0  # For what is registered with atexit.

# The largest value of a number flag that has no upper bound of its own: what
# fits into 32 bits, and some thirty years of seconds.
_MOST = {flags.IntegerParser: 2**31 - 1, flags.FloatParser: 10**9}

_Parsed = TypeVar('_Parsed')


def run(main: Callable[[_Parsed], int],
        parse: Callable[[list[str]], _Parsed]) -> NoReturn:
  """Runs a program and ends the process; see `outcome` and `leave`.

  Args:
    main: takes what `parse` returned and returns an exit code. The docstring of
      its module is what --help prints.
    parse: defines and reads the flags of a command line.
  """
  streams.guard()
  _use_utf8()
  leave(outcome(main, parse))


def outcome(main: Callable[[_Parsed], int],
            parse: Callable[[list[str]], _Parsed]) -> int:
  """Runs a program and prints the error that ends it; returns the exit code.

  Args:
    main: see `run`.
    parse: see `run`.
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
  except SystemExit as end:
    if isinstance(end.code, str):
      print(end.code, file=sys.stderr)
      return FAILURE
    return end.code or DONE
  except UserError as error:
    print(f'error: {printable(str(error))}', file=sys.stderr)
    return PERMANENT
  except TryAgain as error:
    print(f'error: {printable(str(error))}', file=sys.stderr)
    return START_AGAIN
  except KeyboardInterrupt:  # Before there was anything to save.
    return INTERRUPTED
  except BaseException as error:
    sys.excepthook(type(error), error, error.__traceback__)
    return FAILURE
  return DONE


def leave(code: int) -> NoReturn:
  """Ends this process at once, with all that it has printed written.

  The end of the interpreter would wait for threads of TensorFlow, for up to a
  minute, and to other workers it would look like a crash.

  Args:
    code: the exit code. In place of DONE it is FAILURE, with a sentence, if
      what the program printed could not be written; or BROKEN_PIPE, without
      one, if nobody was left to read it. For START_AGAIN see `exit_code`.
  """
  code = exit_code(code)
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ends it without a traceback.
  late = threading.Timer(_LONGEST_EXIT_SECS, os._exit, [code])
  late.daemon = True
  late.start()
  atexit._run_exitfuncs()  # Temporary files, for example.
  error = streams.lost()
  if error and code == DONE:
    code = BROKEN_PIPE if error.errno == errno.EPIPE else FAILURE
    if code == FAILURE:
      print(f'error: stdout could not be written ({error.strerror}): what the '
            'program printed is lost.', file=sys.stderr)
  streams.flush()
  os._exit(code)


def exit_code(code: int) -> int:
  """Returns the code with which a process ends that wants to end with `code`.

  FAILURE in place of START_AGAIN if only exit codes count and nothing new was
  saved (see progress); says so.
  """
  if code != START_AGAIN or not progress.is_missing():
    return code
  warn('No checkpoint was saved since this process started: the exit code is '
       f'{FAILURE} instead of {START_AGAIN}, so that the restart counts as a '
       'failure.')
  return FAILURE


def parse_flags(argv: Sequence[str],
                flag_values: flags.FlagValues = flags.FLAGS) -> list[str]:
  """Reads the defined flags; returns the arguments that are not flags.

  Raises:
    UserError: a flag is unknown, or its value is not allowed.
  """
  try:
    return read_flags(argv, flag_values)[1:]
  except flags.Error as error:
    raise UserError(sentence(error, flag_values)) from error


def read_flags(argv: Sequence[str], flag_values: flags.FlagValues,
               known_only: bool = False) -> list[str]:
  """Reads the flags that are defined, and bounds every number.

  All programs read their flags here, so none gets nan, or too large a number.

  Args:
    argv: the command line, with the program's name first.
    flag_values: the flags that are defined.
    known_only: whether to leave flags that are not defined where they are.

  Returns:
    argv without the flags.

  Raises:
    flags.Error: a flag is unknown, or its value is not allowed; see `sentence`.
  """
  try:
    others = flag_values(argv, known_only)
  except ValueError as error:  # Of absl's own flags, and of --noname=value.
    raise flags.Error(str(error).rstrip('.')) from error
  except (MemoryError, RecursionError) as error:  # Of Python's own parser.
    raise flags.Error('The value of a flag is nested too deeply') from error
  _check_bounds(flag_values)
  return others


def _check_bounds(flag_values):
  """Raises flags.Error if a number flag has no number, or a too large one."""
  for name in flag_values:
    flag = flag_values[name]
    most = _most(flag)
    if not most or '.' in name:  # The config's schema has limits of its own.
      continue
    for value in flag.value if isinstance(flag.value, list) else [flag.value]:
      if value is not None and not abs(value) <= most:  # nan is never `<=`.
        raise flags.IllegalFlagValueError(f'flag --{name}={value}')


def _most(flag):
  """Returns the largest value of a number flag; None for other flags."""
  bound = getattr(flag.parser, 'upper_bound', None)
  return _MOST.get(type(flag.parser)) if bound is None else bound


def sentence(error: flags.Error,
             flag_values: flags.FlagValues = flags.FLAGS) -> str:
  """Returns one sentence that says what is wrong with a flag and what to do.

  Args:
    error: what absl raised while it read the flags.
    flag_values: the flags that it read.
  """
  text = ' '.join(str(error).split()).rstrip('.')
  if isinstance(error, flags.UnrecognizedFlagError):
    return _unknown(error.flagname, text, flag_values)
  if isinstance(error, flags.IllegalFlagValueError):
    given, _, reason = text.removeprefix('flag --').partition(': ')
    name = given.partition('=')[0]
    allowed = _allowed(flag_values[name]) if name in flag_values else ''
    if allowed:
      hint = near_names.hint(
          given.partition('=')[2], flag_text.values(flag_values[name]))
      return f'--{given} is not allowed{hint}: give {allowed}.'
    return f'--{given} is not allowed ({reason}): see --help.'
  return f'{text}: see --help.'


def _unknown(name, text, flag_values):
  """Returns the sentence for a flag that does not exist."""
  known = foreign_flags.ours(name, flag_values)
  remark = foreign_flags.remark(name, flag_values)
  if not known and remark:
    return f'--{name} is unknown: {remark}; --help lists the flags.'
  near = [known] if known else text.partition(
      'Did you mean: ')[2].removesuffix(' ?').split(', ')
  hint = near_names.meant(f'--{other}' for other in near if other)
  return f'--{name} is unknown{hint}: --help lists the flags.'


def _allowed(flag):
  """Returns what the value of a flag must be; '' if that is not known."""
  if flag.boolean:
    return 'true or false'
  words = getattr(flag.parser, 'enum_values', None)
  if words:
    return f'one of {", ".join(words)}'
  parser, most = flag.parser, _most(flag)
  if not most:
    return parser.syntactic_help
  least = parser.lower_bound
  limits = f'up to {most}' if least is None else f'from {least} to {most}'
  return f'{parser.number_article} {parser.number_name} {limits}'


def refuse(others: Sequence[str]) -> None:
  """Raises UserError if arguments that are not flags were given."""
  if not others:
    return
  given = ' '.join(others)
  if others[0].lower() in ('true', 'false'):
    raise UserError(f'{given!r} is not a flag: the value of a flag that is '
                    'true or false follows an equals sign, as in '
                    f'--deterministic={others[0].lower()}.')
  hint = near_names.meant(
      f'--{others[0]}' for name in [others[0].partition('=')[0]]
      if name in flags.FLAGS and name != others[0])
  raise UserError(f'{given!r} is not a flag{hint}: flags have the form '
                  '--name=value.')


def warn(text: str) -> None:
  """Tells the user, in a sentence, what the program works around."""
  print(f'warning: {printable(text)}', file=sys.stderr, flush=True)


def _use_utf8() -> None:
  """Makes this process read and write UTF-8, whatever the locale is.

  Python takes the names of files in the locale's encoding, TensorFlow in UTF-8:
  with another locale they would write to different files. The encoding can only
  be set when Python starts, so it is started again. Its children inherit it.
  """
  if sys.getfilesystemencoding() != 'utf-8':
    os.environ['PYTHONUTF8'] = '1'
    os.execv(sys.executable,
             [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])
