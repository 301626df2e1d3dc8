"""When a run was started, and how far it had come: starts.jsonl.

One line for each start: {'time': Unix seconds, 'step': updates done before it,
'host': its name}. All but the first followed an interruption. The program
never reads it to continue.
"""
import json
import os
import pathlib
import platform
import time

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
