"""The one exception that reaches the user as a sentence, not a traceback."""


class UserError(Exception):
  """What a user can mend: the value received, what is allowed, what to do next.

  The message is one sentence. Binaries print it and exit with code 2, which
  tells launchers that starting again would not help.
  """
