"""The folder of a run: what it was asked to do, and one process at a time.

workdir/{config.json, run.json, checkpoints/, train/, eval/, metrics.jsonl};
TensorBoard reads workdir.
"""
import fcntl
import hashlib
import json
import os
import pathlib
import platform
import secrets
import sys
import time
from typing import NamedTuple

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
  lock: object

  @property
  def checkpoints(self):
    return self.path / CHECKPOINTS

  @property
  def finished(self):
    """The summary of a finished run, a dict; None while it is not finished."""
    path = self.path / 'run.json'
    return read_json(path).get('summary') if path.exists() else None

  @property
  def replicas(self):
    """What the run was last on, as by `describe`; None if it is new."""
    path = self.path / 'run.json'
    return read_json(path).get('replicas') if path.exists() else None

  def describe(self, config, replicas):
    """Writes what this run is: before its first step, and at each restart.

    Args:
      config: the run's schema.Config.
      replicas: dict, what it is trained on; see report.replicas.
    """
    write_json(self.path / 'config.json', schema.to_dict(config))
    write_json(self.path / 'run.json', {
        'command': sys.argv, 'host': platform.node(), 'replicas': replicas,
        'versions': versions()})

  def finish(self, summary):
    """Marks the run as finished and keeps its summary in run.json."""
    path = self.path / 'run.json'
    write_json(path, {**read_json(path), 'summary': summary})


def open_for_training(workdir, config, chief=True):
  """Makes or reopens the folder of a run and locks it for this process.

  Only the chief does; to other workers the folder is for reading.

  Args:
    workdir: path; made if it does not exist.
    config: the run's schema.Config.
    chief: whether this process is the one that writes.

  Returns:
    RunFolder.

  Raises:
    UserError: the folder cannot be written, holds something else, belongs to
      another configuration, or another process is training in it.
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
        'folder you may write to.') from error
  return RunFolder(path, lock)


def finished(workdir, config):
  """The summary of a finished run of this Config in workdir; None without."""
  folder = RunFolder(pathlib.Path(workdir).expanduser(), None)
  if (not (folder.path / 'config.json').is_file()
      or schema.differences(read_config(workdir), config)):
    return None
  return folder.finished


def check_usable(workdir, config):
  """Raises UserError if a run could not be started, or go on, in a folder.

  Writes nothing, and so does not find out whether it could.

  Args:
    workdir: path; need not exist.
    config: the run's schema.Config.
  """
  path = pathlib.Path(workdir).expanduser()
  try:
    _check_ours(path, workdir)
    _check_same(path, workdir, config)
  except OSError as error:
    raise UserError(
        f'--workdir={workdir} cannot be read ({error.strerror}): give a folder '
        'you may read and write.') from error


def check_shared(folder: RunFolder, group: Group) -> None:
  """Checks that all workers see the same folder. All of them must call it.

  Raises:
    Disagreement: some workers do not.
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
        f'--workdir={folder.path} of worker 0 is not what worker '
        f'{", ".join(map(str, blind))} finds under that name: give a folder '
        'that all workers share.')


def identity(config):
  """What must be the same in all processes of a run: {what: [bytes]}."""
  return {
      'config fields': [json.dumps(schema.to_dict(config)).encode()],
      'versions of Python, TensorFlow or Keras': [
          json.dumps(versions()).encode()],
      'source files': [code_digest().encode()]}


def read_config(workdir):
  """The Config of the run in `workdir`; UserError if there is no run."""
  path = pathlib.Path(workdir).expanduser() / 'config.json'
  if not path.is_file():
    raise UserError(
        f'--workdir={workdir} is not the folder of a run (there is no '
        f'{path}): give the folder that `python -m resnet.train` wrote.')
  return schema.from_dict(read_json(path))


def read_json(path):
  """A dict; UserError if the file is not one."""
  try:
    values = json.loads(path.read_text())
    if not isinstance(values, dict):
      raise ValueError('it holds no fields')
  except ValueError as error:
    raise UserError(
        f'{path} is damaged ({error}): bring it back from a copy, or train '
        'anew in another --workdir.') from error
  return values


def write_json(path, values):
  """Replaces a file at once: a reader or a kill never meets half of it."""
  atomic_file.write(path, json.dumps(values, indent=2) + '\n')


def versions():
  """{'python', 'tensorflow', 'keras'}: what runs here."""
  return {'python': platform.python_version(), 'tensorflow': tf.__version__,
          'keras': keras.__version__}


def code_digest():
  """Hex digits that tell this code, as it trains, from any other."""
  root = pathlib.Path(__file__).parents[2]
  code = hashlib.sha256()
  for package in ('configs', 'launch/cluster', 'pipelines', 'resnet'):
    for path in sorted((root / package).rglob('*.py')):
      code.update(f'{path.relative_to(root)}\0'.encode())
      code.update(path.read_bytes())
  return code.hexdigest()


def _reads(path, number):
  try:
    return path.read_text() == str(number)
  except OSError:
    return False


def _check_ours(path, workdir):
  foreign = path.exists() and (
      not path.is_dir() or (any(path.iterdir())
                            and not (path / 'config.json').exists()
                            and not _only_ours(path)))
  if foreign:
    raise UserError(
        f'--workdir={workdir} exists and is not the folder of a run (it has '
        'no config.json): give a new or empty folder, or that of a run.')


def _only_ours(path):
  """True for what a run killed before its config.json was written has made."""
  ours = (CHECKPOINTS, '.lock', 'config.json.partial', _SHARED_MARK,
          heartbeats.FOLDER)
  return all(entry.name in ours or entry.name.startswith(contract.DOCTOR_MARK)
             for entry in path.iterdir())


def _lock(path, workdir):
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
  if not (path / 'config.json').exists():
    return
  differences = schema.differences(read_config(path), config)
  if differences:
    raise UserError(
        f'--workdir={workdir} holds a run of another configuration '
        f'({"; ".join(differences)}): give those fields their old values to go '
        'on, or another --workdir.')
