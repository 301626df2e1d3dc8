"""How every binary starts: parse, run, and end with an exit code that tells.

Exit codes: 0 done; 2 permanent (flags, config, data): starting again will not
help; 143 checkpointed, start me again; anything else is a failure.
"""
import sys

from absl import app, flags, logging

from configs.process.errors import UserError

DONE = 0
PERMANENT = 2
# Of other programs' too: EX_USAGE and EX_CONFIG of BSD's sysexits.h.
ALL_PERMANENT = (PERMANENT, 64, 78)
START_AGAIN = 143
INTERRUPTED = 130  # As shells have it for Ctrl-C.


def run(main, parse):
  """Runs main(parsed) and exits the process.

  Args:
    main: called with what `parse` returned; returns an exit code.
    parse: argv -> anything; defines and reads the flags.
  """
  parsed = []

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
  except KeyboardInterrupt:  # Before there was anything to save.
    sys.exit(INTERRUPTED)


def parse_flags(argv, flag_values=flags.FLAGS):
  """Reads the defined flags; returns the other arguments.

  Raises:
    UserError: an unknown flag or a value that is not allowed.
  """
  try:
    return flag_values(argv)[1:]
  except flags.Error as error:
    raise UserError(sentence(error)) from error


def sentence(error):
  """absl's message for a wrong flag, and where to find the right ones."""
  text = ' '.join(str(error).split()).rstrip('.')
  return f'{text}; see --helpfull for all flags.'


def refuse(others):
  """Raises UserError if arguments that are no flags were given."""
  if others:
    raise UserError(f'{" ".join(others)!r} is not a flag: flags look like '
                    '--name=value.')


def warn(text):
  """Tells the user, in a sentence, of what the program works around."""
  print(f'warning: {text}', file=sys.stderr, flush=True)
