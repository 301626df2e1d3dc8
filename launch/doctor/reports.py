"""What each rank finds out for the doctor, and how it crosses the network.

Whoever can connect can send anything: what comes is read as JSON, bounded in
size, and is a report only if every field is of its type.
"""
import json
from typing import NamedTuple

LONGEST = 2**18  # Bytes of a message.
# What a report can say of the workdir.
WRITABLE, NOT_WRITABLE = 'writable', 'not writable'
SHARED, NOT_SHARED = 'shared', 'not shared'
# Why a rank cannot be reached, if another list of workers was given there.
OTHER_CLUSTER = 'a worker with another list of workers answers there'
PORT = 'port'  # The first word on one that cannot be opened.
_PROTOCOL = 'resnet-doctor/'
_VERSION = '1'
_LONGEST_SENTENCE = 1000  # Characters.


class Report(NamedTuple):
  """What one rank knows of itself, and of its ways to the others."""
  rank: int
  host: str
  process: str  # Tells this process from others that claim its rank.
  final: bool = False  # Nothing more will be found.
  unreached: dict = {}  # {rank: why it cannot be reached, in a few words}.
  problems: tuple = ()  # Sentences.
  survey: dict | None = None  # What resnet.tools.survey prints.
  mark: str | None = None  # Of the chief, once there: see doctor_workdir.
  workdir: str = ''  # One of the above; '' before it is known.


class Message(NamedTuple):
  """What two ranks send each other."""
  cluster: str  # Tells the list of workers from others.
  report: Report | None = None  # None: for somebody of another cluster.
  verdict: int | None = None  # Of the chief, the exit code of all.


class Stranger(Exception):
  """Something else than a message; says what, in a few words."""


_WORDS = {str: str}
_SURVEY = {
    'strategy': str, 'flags': _WORDS, 'config': _WORDS, 'global_batch': int,
    'workdir': str, 'versions': _WORDS, 'code': str, 'devices': ([str], None),
    'data': ({'name': str, 'train': int, 'eval': int, 'digest': str}, None),
    'problems': [str]}
_REPORT = {
    'rank': int, 'host': str, 'process': str, 'final': bool,
    'unreached': _WORDS, 'problems': [str], 'survey': (_SURVEY, None),
    'mark': (str, None), 'workdir': str}
_MESSAGE = {'protocol': str, 'cluster': str, 'report': (_REPORT, None),
            'verdict': (int, None)}


def encode(message):
  """Bytes that end with a newline, and have no other."""
  report = message.report and message.report._asdict()
  if report:  # Rather all in short than nothing.
    report['problems'] = [
        text[:_LONGEST_SENTENCE] for text in report['problems']]
  return json.dumps({
      'protocol': _PROTOCOL + _VERSION, 'cluster': message.cluster,
      'report': report, 'verdict': message.verdict}).encode() + b'\n'


def decode(line):
  """The Message in bytes that `encode` made. Raises Stranger otherwise."""
  if not line:
    raise Stranger('the connection is closed there without an answer')
  values = _parsed(line)
  protocol = values.get('protocol') if isinstance(values, dict) else None
  if not isinstance(protocol, str) or not protocol.startswith(_PROTOCOL):
    raise Stranger('another program answers there')
  if protocol != _PROTOCOL + _VERSION:
    raise Stranger('another version of this program answers there')
  if not _fits(values, _MESSAGE):
    raise Stranger('something answers there that makes no sense')
  report = values['report']
  if report:
    # What is no number is no rank; of the wrong ranks nobody asks.
    unreached = {int(rank): why for rank, why in report['unreached'].items()
                 if rank.isascii() and rank.isdigit() and len(rank) < 9}
    report = Report(**{**report, 'unreached': unreached,
                       'problems': tuple(report['problems'])})
  return Message(values['cluster'], report, values['verdict'])


def read_survey(line):
  """The dict that resnet.tools.survey printed; None if it is not one."""
  values = _parsed(line)
  return values if _fits(values, _SURVEY) else None


def printable(text, longest=_LONGEST_SENTENCE):
  """A text of somebody else's that is safe to print: no escapes, no end."""
  shown = text if len(text) <= longest else f'{text[:longest]}...'
  return ''.join(c if c.isprintable() else '?' for c in shown)


def _parsed(line):
  try:
    return json.loads(line)
  except (ValueError, RecursionError):
    return None


def _fits(value, shape):
  """Whether a value read from JSON has a shape.

  Args:
    value: anything.
    shape: a type; None; a tuple of alternatives; [shape] of all items; {str:
      shape} of all values; or {name: shape}, of just these fields.
  """
  if isinstance(shape, tuple):
    return any(_fits(value, one) for one in shape)
  if isinstance(shape, list):
    return isinstance(value, list) and all(_fits(v, shape[0]) for v in value)
  if isinstance(shape, dict):
    if not isinstance(value, dict):
      return False
    if str in shape:
      return all(_fits(v, shape[str]) for v in value.values())
    return value.keys() == shape.keys() and all(
        _fits(value[name], one) for name, one in shape.items())
  if shape is None:
    return value is None
  return type(value) is shape  # True is no int.
