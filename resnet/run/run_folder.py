"""The folder of a run: what it says of the run, and one writer at a time.

workdir/{config.json, run.json, checkpoints/, train/, eval/, metrics.jsonl}.
TensorBoard reads workdir.

  folder = open_for_training(workdir, config)
  folder.describe(config, replicas)
"""
from collections.abc import Mapping
import fcntl
import fnmatch
import hashlib
import json
import os
import pathlib
import platform
import secrets
import sys
import time
from typing import Any, IO, NamedTuple

import keras
import tensorflow as tf

from configs import schema
from configs.process import atomic_file
from configs.process.errors import UserError
from launch.cluster import contract
from resnet.distribution import heartbeats
from resnet.distribution.group import Disagreement, Group

CHECKPOINTS = 'checkpoints'
_SHARED_MARK = '.shared'
_SEEN_WITHIN_SECS = 10.0  # Network file systems show new files late.


class RunFolder(NamedTuple):
  """An open run folder, locked until `lock` is closed or the process ends."""
  path: pathlib.Path
  lock: IO[str] | None  # None: for reading.

  @property
  def checkpoints(self) -> pathlib.Path:
    """The folder of the checkpoints."""
    return self.path / CHECKPOINTS

  @property
  def finished(self) -> dict[str, Any] | None:
    """The summary of the run; None if it is not finished."""
    return self._run_json().get('summary')

  @property
  def replicas(self) -> dict[str, Any] | None:
    """What the run was last trained on, see `describe`; None if it is new."""
    return self._run_json().get('replicas')

  def describe(self, config: schema.Config,
               replicas: Mapping[str, Any] | None) -> None:
    """Writes what this run is. Called before its first step, on each start.

    Args:
      config: what is trained.
      replicas: what it is trained on; see report.replicas.
    """
    write_json(self.path / 'config.json', schema.to_dict(config))
    write_json(self.path / 'run.json', {
        'command': sys.argv, 'host': platform.node(), 'replicas': replicas,
        'versions': versions()})

  def finish(self, summary: Mapping[str, Any]) -> None:
    """Marks the run as finished and stores its summary in run.json."""
    path = self.path / 'run.json'
    write_json(path, {**read_json(path), 'summary': summary})

  def _run_json(self):
    path = self.path / 'run.json'
    return read_json(path) if path.exists() else {}


def open_for_training(workdir: str | os.PathLike, config: schema.Config,
                      chief: bool = True) -> RunFolder:
  """Makes or reopens the folder of a run and locks it for this process.

  Only the chief does so; the other workers read the folder.

  Args:
    workdir: path; created if it does not exist.
    config: what is trained.
    chief: whether this process is the one that writes.

  Raises:
    UserError: the folder cannot be written, holds something else, holds a run
      with a different configuration, or another process is training in it.
  """
  path = pathlib.Path(workdir).expanduser()
  if not chief:
    return RunFolder(path, None)
  try:
    _check_ours(path, workdir)
    (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    lock = _lock(path, workdir)
    _check_same(path, workdir, config)
  except OSError as error:
    raise UserError(
        f'--workdir={workdir} cannot be written ({error.strerror}): give a '
        'folder that you may write to.') from error
  return RunFolder(path, lock)


def finished(workdir: str | os.PathLike,
             config: schema.Config) -> dict[str, Any] | None:
  """Returns the summary of the run in workdir if it is finished.

  Returns:
    The summary; None if there is no finished run, or one of another config.

  Raises:
    UserError: a file in the folder is damaged.
  """
  folder = RunFolder(pathlib.Path(workdir).expanduser(), None)
  if (not (folder.path / 'config.json').is_file()
      or schema.differences(read_config(workdir), config)):
    return None
  return folder.finished


def check_usable(workdir: str | os.PathLike, config: schema.Config) -> None:
  """Checks that a run could be started or continued in a folder.

  Writes nothing, so it does not check whether the folder can be written.

  Args:
    workdir: path; need not exist.
    config: what is to be trained.

  Raises:
    UserError: the run could not be started or continued.
  """
  path = pathlib.Path(workdir).expanduser()
  try:
    _check_ours(path, workdir)
    _check_same(path, workdir, config)
  except OSError as error:
    raise UserError(
        f'--workdir={workdir} cannot be read ({error.strerror}): give a folder '
        'that you may read and write.') from error


def check_shared(folder: RunFolder, group: Group) -> None:
  """Checks that all workers see the same folder. All of them must call it.

  Raises:
    Disagreement: some workers do not; names them.
  """
  if group.is_alone:
    return
  mark, number = folder.path / _SHARED_MARK, secrets.randbits(48)
  if group.is_chief:
    mark.write_text(str(number))
  number = group.of_chief(number)
  end = time.monotonic() + _SEEN_WITHIN_SECS
  while not (seen := _reads(mark, number)) and time.monotonic() < end:
    time.sleep(0.1)
  blind = [rank for rank, sees in enumerate(group.exchange([seen]))
           if not sees]
  if group.is_chief:
    mark.unlink()
  if blind:
    raise Disagreement(
        f'--workdir={folder.path} is not the same folder on worker '
        f'{", ".join(map(str, blind))} as on worker 0: give a folder that all '
        'workers share.')


def identity(config: schema.Config) -> dict[str, list[bytes]]:
  """Returns what must be the same in all processes of a run.

  Returns:
    {what: [content]}, as Group.check_same takes it.
  """
  return {
      'config fields': [json.dumps(schema.to_dict(config)).encode()],
      'versions of Python, TensorFlow or Keras': [
          json.dumps(versions()).encode()],
      'source files': [code_digest().encode()]}


def read_config(workdir: str | os.PathLike) -> schema.Config:
  """Reads the config of the run in `workdir`.

  Raises:
    UserError: there is no run, or its config cannot be read.
  """
  path = pathlib.Path(workdir).expanduser() / 'config.json'
  if not path.is_file():
    raise UserError(
        f'--workdir={workdir} is not a run folder (there is no {path}): give '
        'the folder that `python -m resnet.train` wrote.')
  return schema.from_dict(read_json(path))


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Reads a JSON object.

  Raises:
    UserError: the file holds anything else.
  """
  try:
    values = json.loads(path.read_text())
    if not isinstance(values, dict):
      raise ValueError('it is not a JSON object')
  except ValueError as error:
    raise UserError(
        f'{path} is damaged ({error}): restore it from a backup, or start over '
        'in another --workdir.') from error
  return values


def write_json(path: str | os.PathLike, values: Mapping[str, Any]) -> None:
  """Replaces a file atomically with a JSON object."""
  atomic_file.write(path, json.dumps(values, indent=2) + '\n')


def versions() -> dict[str, str]:
  """Returns the versions in use: {'python', 'tensorflow', 'keras'}."""
  return {'python': platform.python_version(), 'tensorflow': tf.__version__,
          'keras': keras.__version__}


def code_digest() -> str:
  """Returns a digest of all source files that can change what is trained."""
  root = pathlib.Path(__file__).parents[2]
  code = hashlib.sha256()
  for package in ('configs', 'launch/cluster', 'pipelines', 'resnet'):
    for path in sorted((root / package).rglob('*.py')):
      code.update(f'{path.relative_to(root)}\0'.encode())
      code.update(path.read_bytes())
  return code.hexdigest()


def _reads(path, number):
  """Returns whether a file holds a number."""
  try:
    return path.read_text() == str(number)
  except OSError:
    return False


def _check_ours(path, workdir):
  """Raises UserError if a path is neither a run folder nor free for one."""
  foreign = path.exists() and (
      not path.is_dir() or (any(path.iterdir())
                            and not (path / 'config.json').exists()
                            and not _only_ours(path)))
  if foreign:
    raise UserError(
        f'--workdir={workdir} exists and is not a run folder (it has no '
        'config.json): give a run folder, or a new or empty one.')


def _only_ours(path):
  """Returns whether a folder holds only what comes before a config.json.

  A run that is killed early leaves such a folder.
  """
  names = (CHECKPOINTS, '.lock', _SHARED_MARK, heartbeats.FOLDER)
  patterns = ('config.json*.partial', f'{contract.DOCTOR_MARK}*')
  return all(
      entry.name in names
      or any(fnmatch.fnmatch(entry.name, pattern) for pattern in patterns)
      for entry in path.iterdir())


def _lock(path, workdir):
  """Locks a run folder for this process; returns the open lock file."""
  lock = (path / '.lock').open('a+')
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    lock.seek(0)
    raise UserError(
        f'--workdir={workdir} is in use by process {lock.read().strip()}: wait '
        'for it, stop it, or give another folder.') from error
  lock.truncate(0)
  lock.write(str(os.getpid()))
  lock.flush()
  return lock


def _check_same(path, workdir, config):
  """Raises UserError if a folder holds a run with a different config."""
  if not (path / 'config.json').exists():
    return
  differences = schema.differences(read_config(path), config)
  if differences:
    raise UserError(
        f'--workdir={workdir} holds a run with a different configuration '
        f'({"; ".join(differences)}): give these fields their old values to '
        'continue it, or give another --workdir.')
