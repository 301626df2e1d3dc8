"""What a program says before it imports TensorFlow, which takes seconds."""
import os
import sys
from typing import TextIO

from configs.process import version
from resnet.run.screen import progress, terminal


def say(what: str, path: str | os.PathLike, stream: TextIO | None = None
        ) -> None:
  """Says that a run starts, with the time unless on a terminal.

  Args:
    what: the recipe.
    path: of the run folder.
    stream: where to write; None: stderr.
  """
  out = stream or sys.stderr
  stamp = '' if terminal.draws(out) else f'{progress.timestamp()} '
  print(f'{stamp}resnet-trainer {version.VERSION}: starting {what} in {path}',
        file=out, flush=True)
