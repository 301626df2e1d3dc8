"""What each rank finds out for the doctor, and how it crosses the network.

Anyone who can connect can send anything. What arrives is parsed as JSON,
bounded in size, and counts as a report only if every field has its type.
"""
import json
from typing import Any, NamedTuple

LONGEST = 2**18  # Bytes of a message.
# Values of Report.workdir.
WRITABLE, NOT_WRITABLE = 'writable', 'not writable'
SHARED, NOT_SHARED = 'shared', 'not shared'
# Kinds of findings: those that the doctor acts on, and all others.
PORT_CLOSED = 'port_closed'  # The rank cannot open its own port.
OTHER_CLUSTER = 'other_cluster'  # That rank was given other addresses.
OTHER = 'other'
_KINDS = frozenset((PORT_CLOSED, OTHER_CLUSTER, OTHER))
_PROTOCOL = 'resnet-doctor/'
_VERSION = '2'
_LONGEST_TEXT = 1000  # Characters.


class Finding(NamedTuple):
  """Something that is wrong, as one rank sees it."""
  kind: str  # One of the kinds above. Decisions depend on it, not on the text.
  text: str  # A sentence for a problem, a few words for a reason.


class Report(NamedTuple):
  """What one rank knows of itself, and of its connections to the others."""
  rank: int
  host: str
  process: str  # A random text that no other process has.
  final: bool = False  # Whether nothing more will be found.
  unreached: dict[int, Finding] = {}  # {rank: why it cannot be reached}.
  problems: tuple[Finding, ...] = ()
  survey: dict[str, Any] | None = None  # What resnet.tools.survey prints.
  mark: str | None = None  # The chief's: see workdir.py; '': it has none.
  workdir: str = ''  # One of the values above; '' before it is known.


class Message(NamedTuple):
  """What two ranks send each other."""
  cluster: str  # A digest of the addresses of all workers.
  report: Report | None = None  # None: for a caller from another cluster.
  verdict: int | None = None  # The chief's: the exit code of all ranks.


class Stranger(Exception):
  """What answers is not the expected rank; says what it is, in a few words."""

  def __init__(self, text: str, kind: str = OTHER):
    super().__init__(text)
    self.finding = Finding(kind, text)


_WORDS = {str: str}
_SURVEY = {
    'strategy': str, 'flags': _WORDS, 'config': _WORDS, 'global_batch': int,
    'workdir': str, 'versions': _WORDS, 'code': str, 'devices': ([str], None),
    'data': ({'name': str, 'train': int, 'eval': int, 'digest': str}, None),
    'problems': [str]}
_FINDING = {'kind': _KINDS, 'text': str}
_REPORT = {
    'rank': int, 'host': str, 'process': str, 'final': bool,
    'unreached': {str: _FINDING}, 'problems': [_FINDING],
    'survey': (_SURVEY, None), 'mark': (str, None), 'workdir': str}
_MESSAGE = {'protocol': str, 'cluster': str, 'report': (_REPORT, None),
            'verdict': (int, None)}


def encode(message: Message) -> bytes:
  """Returns a message as one line of JSON, with its newline."""
  report = message.report
  fields = report and {
      **report._asdict(),
      'unreached': {rank: _plain(why)
                    for rank, why in report.unreached.items()},
      'problems': [_plain(problem) for problem in report.problems]}
  return json.dumps({
      'protocol': _PROTOCOL + _VERSION, 'cluster': message.cluster,
      'report': fields, 'verdict': message.verdict}).encode() + b'\n'


def decode(line: bytes) -> Message:
  """Returns the message in a line that `encode` made.

  Raises:
    Stranger: it is something else.
  """
  if not line:
    raise Stranger('the connection was closed without an answer')
  values = _parsed(line)
  protocol = values.get('protocol') if isinstance(values, dict) else None
  if not isinstance(protocol, str) or not protocol.startswith(_PROTOCOL):
    raise Stranger('another program answers there')
  if protocol != _PROTOCOL + _VERSION:
    raise Stranger('another version of this program answers there')
  if not _fits(values, _MESSAGE):
    raise Stranger('the answer from there is malformed')
  fields, report = values['report'], None
  if fields:
    # Ranks that are not numbers are dropped; wrong numbers are never looked up.
    unreached = {int(rank): Finding(**why)
                 for rank, why in fields['unreached'].items()
                 if rank.isascii() and rank.isdigit() and len(rank) < 9}
    report = Report(**{
        **fields, 'unreached': unreached,
        'problems': tuple(Finding(**one) for one in fields['problems'])})
  return Message(values['cluster'], report, values['verdict'])


def read_survey(line: bytes) -> dict[str, Any] | None:
  """Returns what resnet.tools.survey printed; None if the line is not that."""
  values = _parsed(line)
  return values if _fits(values, _SURVEY) else None


def printable(text: str, longest: int = _LONGEST_TEXT) -> str:
  """Returns a text from another machine so that it is safe to print.

  Control characters, such as the escapes that terminals obey, become '?'. A
  text of more than `longest` characters is cut.
  """
  shown = text if len(text) <= longest else f'{text[:longest]}...'
  return ''.join(c if c.isprintable() else '?' for c in shown)


def _plain(finding):
  """Returns a finding as JSON values, cut: long messages would be refused."""
  return {'kind': finding.kind, 'text': finding.text[:_LONGEST_TEXT]}


def _parsed(line: bytes) -> Any:
  try:
    return json.loads(line)
  except (ValueError, RecursionError):
    return None


def _fits(value: object, shape: Any) -> bool:
  """Returns whether a value read from JSON has a shape.

  Args:
    value: anything.
    shape: a type; None; a frozenset of the texts allowed; a tuple of
      alternatives; [shape] of all items; {str: shape} of all values; or {name:
      shape}, of exactly these fields.
  """
  if isinstance(shape, tuple):
    return any(_fits(value, one) for one in shape)
  if isinstance(shape, frozenset):
    return isinstance(value, str) and value in shape
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
  return type(value) is shape  # A bool is not an int.
