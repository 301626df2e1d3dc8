"""How every binary starts: parse, run, and end with an exit code that tells.

Exit codes: 0 done; 2 permanent (flags, config, data): starting again will not
help; 143 checkpointed, start me again; anything else is a failure.
"""
import sys

from absl import app
from absl import flags
from absl import logging

from configs.errors import UserError

DONE = 0
PERMANENT = 2
START_AGAIN = 143


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
      logging.set_verbosity(logging.WARNING)
    return main(parsed[0])

  try:
    app.run(main_with_quiet_log, flags_parser=parse_flags)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(PERMANENT)
