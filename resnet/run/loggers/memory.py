"""loggers.json of a run folder: what each service of --log_to has of the run.

{service: {'id': the run's id there, 'train': step, 'eval': step, 'rows': number
of records}}. All records of a split up to its step have been handed over. Only
W&B counts them. Nothing in the file is needed to train: without it, a service
begins a new run.
"""
import json
import os
import pathlib
import threading
from typing import Any

from configs.process import atomic_file, command_line, json_file

FILE = 'loggers.json'
ROWS = 'rows'
_NUMBERS = ('train', 'eval', ROWS)


class Memory:
  """The file of a run folder. Several threads may use it."""

  def __init__(self, workdir: str | os.PathLike):
    self._path, self._lock = pathlib.Path(workdir, FILE), threading.Lock()
    self._values: dict[str, Any] | None = None  # Read when it is asked for.

  def of(self, service: str) -> dict[str, Any]:
    """Returns what is known of a service: the id and some of the numbers.

    Raises:
      UserError, TryAgain: the file cannot be read.
    """
    with self._lock:
      return dict(self._read().get(service, {}))

  def note(self, service: str, values: dict[str, Any]) -> None:
    """Replaces what is known of a service.

    Raises:
      OSError: the file cannot be written.
    """
    with self._lock:
      known = self._read()
      known[service] = dict(values)
      atomic_file.write(self._path, json.dumps(known, indent=2) + '\n',
                        durable=False)

  def _read(self):
    if self._values is None:
      try:
        values = json_file.read(self._path) or {}
        if not all(map(_is_entry, values.values())):
          raise json_file.Damaged(self._path, 'wrong values')
      except json_file.Damaged as damage:
        command_line.warn(
            f'{self._path} is damaged ({damage.reason}): --log_to begins new '
            'runs.')
        values = {}
      self._values = values
    return self._values


def _is_entry(value):
  return (isinstance(value, dict) and isinstance(value.get('id'), str)
          and all(json_file.is_whole(value.get(name, 0)) for name in _NUMBERS))
