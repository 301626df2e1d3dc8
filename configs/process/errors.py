"""The exception that reaches the user as one sentence, and its wording."""


class UserError(Exception):
  """An error that the user can fix.

  The message is one sentence: the value received, what is allowed, what to do
  next. Programs print it and exit with code 2, which tells launchers that a
  restart would not help.
  """


def first_line(error: BaseException, longest: int = 200) -> str:
  """Returns the first line of an error's message, or its type if it has none.

  The line ends without a period, so that it can stand inside a sentence.
  """
  text = getattr(error, 'message', '') or str(error) or type(error).__name__
  return text.strip().splitlines()[0][:longest].rstrip('.')
