"""The report: a table on stdout as it grows, and a file of JSON."""
from collections.abc import Mapping, Sequence
import json
import pathlib
import sys
import time
from typing import Any

from configs.process import atomic_file, errors
from resnet.tools.gpu import findings, parts
from resnet.tools.gpu.findings import Finding

DONE, FAILED, NOT_MEASURED = 'done', 'failed', findings.NOT_MEASURED
_NAME_WIDTH = 44


class Report:
  """What has been measured so far.

  Attributes:
    found: all findings of all parts.
    failed: names of the parts that failed.
  """

  def __init__(self, path: pathlib.Path, about: Mapping[str, Any]):
    """Writes the file, so that a wrong path is known before anything else.

    Args:
      path: of the file.
      about: what is measured, and how.

    Raises:
      UserError, TryAgain: the file cannot be written.
    """
    self.found: list[Finding] = []
    self.failed: list[str] = []
    self._path = path
    self._values = {**about, 'started': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
                    'parts': {}, 'verdict': []}
    self._write()

  def add(self, part: str, secs: float, written: findings.Written,
          log: str = '') -> None:
    """Adds a part: prints its rows and writes the file.

    Args:
      part: its name.
      secs: that it took.
      written: what it found.
      log: the end of what it printed, kept if it failed.
    """
    failure = written.failure
    self.found += written.findings
    self._values['parts'][part] = {
        'status': FAILED if failure else DONE, 'reason': failure,
        'seconds': round(secs, 1), 'findings': _plain(written.findings),
        **({'log': log} if failure else {})}
    self._write()
    print(f'{part}: {parts.PARTS[part].title} ({secs:.0f} s)')
    _print_rows(written.findings)
    if failure:
      self.failed.append(part)
      print(f'  failed: {failure}', flush=True)

  def skip(self, part: str, reason: str) -> None:
    """Adds a part that is not measured, and why."""
    self._values['parts'][part] = {
        'status': NOT_MEASURED, 'reason': reason, 'findings': []}
    self._write()
    print(f'{part}: {NOT_MEASURED}: {reason}', flush=True)

  def conclude(self, verdict: Sequence[Finding]) -> None:
    """Adds the verdict."""
    self._values['verdict'] = _plain(verdict)
    self._write()
    print('verdict')
    _print_rows(verdict)
    print(f'report: {self._path}', flush=True)

  def _write(self):
    with errors.writing(self._path):
      atomic_file.write(self._path, json.dumps(self._values, indent=2) + '\n',
                        durable=False)


def _print_rows(found):
  for one in found:
    print(f'  {one.name:{_NAME_WIDTH}} {findings.value_text(one)}')
  sys.stdout.flush()


def _plain(found):
  """Returns findings as JSON has them; what was not measured is null."""
  return [{'name': one.name.strip(), 'value': one.value, 'unit': one.unit,
           'note': one.note, 'of': dict(one.of)} for one in found]
