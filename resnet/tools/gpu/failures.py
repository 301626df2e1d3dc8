"""One line for an error, whatever raised it."""
import re

from configs.process.errors import printable, TryAgain, UserError

_LONGEST = 300  # Characters.
# What TensorFlow and Keras write around the cause of an error in a graph.
_AROUND = re.compile(
    r'(?m)^(Graph execution error:|Detected at node .*|  ?File .*|\s+\[\[.*|'
    r'Exception encountered when calling .*)$')
_COLORS = re.compile(r'\x1b\[[0-9;]*m')  # Keras writes some.


class Failed(Exception):
  """Something could not be measured. The message is one line that says why."""


def sentence(error: Exception) -> str:
  """Returns one line that says what an error is, without a period."""
  if isinstance(error, (UserError, TryAgain, Failed)):
    return printable(str(error)).rstrip('.')
  text = getattr(error, 'message', None) or str(error)
  lines = _AROUND.sub('', _COLORS.sub('', text)).split('\n')
  first = next((line.strip() for line in lines if line.strip()), '')
  name = type(error).__name__
  return printable(f'{name}: {first}' if first else name, _LONGEST).rstrip('.')
