"""Reads whole numbers that users and platforms write as text."""

MOST = 2**63 - 1  # What 64 bits can hold.


def parse(text: str, most: int = MOST) -> int | None:
  """Returns the number in a text of the digits 0-9; None for other texts.

  int() alone also takes signs, spaces, underscores and the digits of all
  scripts, and fails in its own ways on superscripts and on thousands of digits.

  Args:
    text: any text.
    most: larger numbers count as other texts.
  """
  if not (text.isascii() and text.isdecimal()):
    return None
  digits = text.lstrip('0') or '0'
  if len(digits) > len(str(most)) or int(digits) > most:
    return None
  return int(digits)
