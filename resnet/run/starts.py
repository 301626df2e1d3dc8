"""When a run was started, and how far it had come: starts.jsonl.

One line for each start: {'time': Unix seconds, 'step': updates done before it,
'host': its name}. All but the first followed an interruption. Nothing reads it
to continue.
"""
import json
import os
import pathlib
import platform
import time
from typing import Any

from configs.process import atomic_file, json_file
from configs.process.errors import writing

FILE = 'starts.jsonl'


def record(folder: str | os.PathLike, step: int) -> None:
  """Adds a line for the start that is under way.

  Args:
    folder: of the run.
    step: updates done before it.

  Raises:
    UserError, TryAgain: the file cannot be read or written.
  """
  path = pathlib.Path(folder, FILE)
  line = json.dumps(
      {'time': time.time(), 'step': step, 'host': platform.node()})
  lines = [*(json_file.content_of(path) or b'').splitlines(), line.encode()]
  with writing(path):
    atomic_file.write(path, b'\n'.join([*lines, b'']))


def read(folder: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the starts of a run, oldest first; damaged lines are left out.

  Raises:
    UserError, TryAgain: the file cannot be read.
  """
  content = json_file.content_of(pathlib.Path(folder, FILE)) or b''
  return [start for start in map(_start, content.splitlines()) if start]


def _start(line):
  """Returns the start of a line; None if it is damaged."""
  try:
    start = json.loads(line)
  except ValueError:
    return None
  is_start = isinstance(start, dict) and type(start.get('step')) is int
  return start if is_start else None
