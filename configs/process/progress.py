"""Whether a run makes progress: whether it has saved a new checkpoint.

Exit code 143 asks for a restart that does not count as a failure. A run that
asks again and again without getting further must not be restarted for ever, so
a 143 without a new checkpoint counts as a failure. Launchers that see the run
folder compare `saved` before and after. Where only exit codes count (as in
Kubernetes), the launcher sets VARIABLE in the trainer's environment, and the
trainer exits with 1 instead:

  progress.watch(workdir)   # When it starts.
  if progress.is_missing():   # When it would exit with 143.
"""
import os
import re

VARIABLE = 'RESNET_FAIL_WITHOUT_PROGRESS'
# A checkpoint is complete once it has this file in this folder of the run.
FOLDER = 'checkpoints'
_INDEX = re.compile(r'ckpt-\d+\.index')

_watched: list[tuple[str, frozenset[str]]] = []


def saved(workdir: str | os.PathLike) -> frozenset[str]:
  """Returns the names of the complete checkpoints in a run folder, if any."""
  try:
    names = os.listdir(os.path.join(workdir, FOLDER))
  except (OSError, ValueError):  # ValueError: no path at all.
    return frozenset()
  return frozenset(filter(_INDEX.fullmatch, names))


def watch(workdir: str | os.PathLike) -> None:
  """Notes which checkpoints the run of this process starts from."""
  _watched[:] = [(os.fspath(workdir), saved(workdir))]


def is_missing() -> bool:
  """Returns whether this process must not ask for an uncounted restart.

  Never, unless VARIABLE is set and `watch` was called.
  """
  return bool(os.environ.get(VARIABLE)) and any(
      saved(workdir) <= before for workdir, before in _watched)
