"""The exceptions that reach the user as one sentence, and its wording."""


class UserError(Exception):
  """An error that the user can fix.

  The message is one sentence: the value received, what is allowed, what to do
  next. Programs print it and exit with code 2, which tells launchers that a
  restart would not help.
  """


class TryAgain(Exception):
  """Something that cannot be done now, and that a restart may cure.

  The I/O error of a file server, for example. The message is one sentence.
  Programs print it and exit with code 143, which asks launchers for a restart.
  """


def first_line(error: BaseException, longest: int = 200) -> str:
  """Returns the first line of an error's message, or its type if it has none.

  The line ends without a period, so that it can stand inside a sentence.
  """
  text = getattr(error, 'message', '') or str(error) or type(error).__name__
  return text.strip().splitlines()[0][:longest].rstrip('.')
