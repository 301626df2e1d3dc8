"""The folder of a run: what it says of the run, and one writer at a time.

workdir/{config.json, data.json, run.json, checkpoints/, train/, eval/,
metrics.jsonl}. TensorBoard reads workdir. Whatever happens to one of the files,
the others stay usable: what can be found out again is written anew at the next
start, and the rest is one sentence.

  folder = open_for_training(workdir, config)
  folder.describe(config, data, {'replicas': ...})
"""
from collections.abc import Mapping
import dataclasses
import fnmatch
import json
import os
import pathlib
import platform
import sys
from typing import Any, IO

from configs import schema
from configs.process import (
  atomic_file,
  command_line,
  json_file,
)
from configs.process.errors import LASTING, TryAgain, UserError, writing
from launch.cluster import contract
from resnet.distribution import heartbeats
from resnet.run import (
  checkpoint,
  data_record,
  description,
  extension,
  folder_lock,
  run_config,
  shared_folder,
  software,
)

CHECKPOINTS = 'checkpoints'
_CONFIG = run_config.FILE

read_config = run_config.read


@dataclasses.dataclass
class RunFolder:
  """An open run folder, locked until `lock` is closed or the process ends."""
  path: pathlib.Path
  lock: IO[str] | None = None  # None: for reading.
  # What is known of the run, see description.read.
  description: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  # What it trained until now, if it is to train on with another config.
  before: schema.Config | None = None

  def __enter__(self) -> 'RunFolder':
    return self

  def __exit__(self, *_) -> None:
    """Lets other processes train in it."""
    if self.lock:
      self.lock.close()

  @property
  def checkpoints(self) -> pathlib.Path:
    """The folder of the checkpoints."""
    return self.path / CHECKPOINTS

  @property
  def finished(self) -> dict[str, Any] | None:
    """The summary of the run; None if it is not finished."""
    return self.description.get('summary')

  def describe(self, config: schema.Config, data: Mapping[str, Any],
               run: Mapping[str, Any]) -> None:
    """Writes what this run is. Called before its first step, on each start.

    Args:
      config: what is trained.
      data: what it is trained on, see pipelines.identity.record.
      run: what else is known, see description.read.
    """
    write_json(self.path / _CONFIG, schema.to_dict(config))
    self.record_data(data)
    self._write_run({'command': sys.argv, 'host': platform.node(), **run,
                     'versions': software.versions()})

  def record_data(self, data: Mapping[str, Any]) -> None:
    """Writes data.json: what the run is trained on."""
    write_json(self.path / data_record.FILE, data)

  def finish(self, summary: Mapping[str, Any]) -> None:
    """Marks the run as finished and stores its summary in run.json."""
    self._write_run({**self.description, 'summary': summary})

  def _write_run(self, values):
    write_json(self.path / description.FILE, values)
    self.description = values


def open_for_training(workdir: str | os.PathLike, config: schema.Config,
                      chief: bool = True, extend: bool = False) -> RunFolder:
  """Makes or reopens the folder of a run and locks it for this process.

  Only the chief does so; the other workers read the folder.

  Args:
    workdir: path; created if it does not exist.
    config: what is trained.
    chief: whether this process is the one that writes.
    extend: whether a run with another config is to train on with this one.

  Raises:
    UserError: the folder cannot be written, holds something else, holds a run
      with a different configuration, or another process is training in it.
    TryAgain: it cannot be written now.
  """
  path = pathlib.Path(workdir).expanduser()
  if not chief:
    return RunFolder(path, before=_before(path, workdir, config, extend))
  try:
    _check_ours(path, workdir)
    before = _before(path, workdir, config, extend)
    (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    lock = _lock(path, workdir)
    damage = None if extend else _check_same(path, workdir, config)
  except OSError as error:
    raise _cannot('written', workdir, error) from error
  known = description.read(path)
  if damage:
    command_line.warn(
        f'{damage.path} is damaged ({damage.reason}): it is written anew, if '
        'the checkpoints are of the same configuration.')
  if damage or before:  # Whether this run is finished is not known.
    known.pop('summary', None)
  return RunFolder(path, lock, known, before)


def finished(workdir: str | os.PathLike,
             config: schema.Config) -> dict[str, Any] | None:
  """Returns the summary of the run in workdir if it is finished.

  Returns:
    The summary; None if there is no finished run, or one of another config, or
    if that is not known.

  Raises:
    UserError, TryAgain: the folder cannot be read.
  """
  path = pathlib.Path(workdir).expanduser()
  try:
    if not (path / _CONFIG).exists() or schema.differences(
        read_config(workdir), config):
      return None
  except json_file.Damaged:
    return None
  return description.read(path).get('summary')


def check_usable(workdir: str | os.PathLike, config: schema.Config,
                 extend: bool = False) -> None:
  """Checks that a run could be started or continued in a folder.

  Writes nothing, so it does not check whether the folder can be written.

  Args:
    workdir: path; need not exist.
    config: what is to be trained.
    extend: see open_for_training.

  Raises:
    UserError: the run could not be started or continued.
  """
  path = pathlib.Path(workdir).expanduser()
  try:
    _check_ours(path, workdir)
    if extend:
      _before(path, workdir, config, extend)
    else:
      _check_same(path, workdir, config)
  except OSError as error:
    raise UserError(
        f'--workdir={workdir} cannot be read ({error.strerror}): give a folder '
        'that you may read and write.') from error


def write_json(path: str | os.PathLike, values: Mapping[str, Any]) -> None:
  """Replaces a file atomically with a JSON object.

  Raises:
    UserError, TryAgain: it cannot be written.
  """
  with writing(path):
    atomic_file.write(path, json.dumps(values, indent=2) + '\n')


def _cannot(be_what, workdir, error):
  """Returns the error to raise for an OSError of a run folder."""
  if error.errno in LASTING:
    return UserError(f'--workdir={workdir} cannot be {be_what} '
                     f'({error.strerror}): give a folder that you may write '
                     'to.')
  return TryAgain(f'--workdir={workdir} cannot be {be_what} now '
                  f'({error.strerror}): rerun the same command once it can.')


def _check_ours(path, workdir):
  """Raises UserError if a path is neither a run folder nor free for one."""
  foreign = path.exists() and (
      not path.is_dir() or (any(path.iterdir())
                            and not (path / _CONFIG).exists()
                            and not _only_ours(path)
                            and not _can_tell(path)))
  if foreign:
    raise UserError(
        f'--workdir={workdir} exists and is not a run folder (it has no '
        'config.json): give a run folder, or a new or empty one.')


def _only_ours(path):
  """Returns whether a folder holds only what comes before a config.json.

  A run that is killed early leaves such a folder.
  """
  names = (CHECKPOINTS, folder_lock.FILE, shared_folder.MARK, heartbeats.FOLDER)
  patterns = (f'{_CONFIG}*.partial', f'{contract.DOCTOR_MARK}*')
  return all(
      entry.name in names
      or any(fnmatch.fnmatch(entry.name, pattern) for pattern in patterns)
      for entry in path.iterdir())


def _can_tell(path):
  """Returns whether checkpoints of a run can tell what it trains."""
  return bool(checkpoint.steps_in(path / CHECKPOINTS)
              and (path / 'metrics.jsonl').exists())


def _lock(path, workdir):
  try:
    return folder_lock.take(path, workdir)
  except OSError as error:
    raise _cannot('locked', workdir, error) from error


def _check_same(path, workdir, config) -> json_file.Damaged | None:
  """Checks that a folder holds no run with a different config.

  Returns:
    None; or what is wrong with config.json, if the checkpoints can tell instead
    what the run trains.

  Raises:
    UserError: it holds a run with a different config.
  """
  if not (path / _CONFIG).exists():
    return json_file.Damaged(
        path / _CONFIG, 'it is missing') if _can_tell(path) else None
  try:
    differences = schema.differences(read_config(path), config)
  except json_file.Damaged as damage:
    if _can_tell(path):
      return damage
    raise
  if differences:
    extend = (', or add --extend to train it on with the new ones'
              if extension.can_change(read_config(path), config) else '')
    raise UserError(
        f'--workdir={workdir} holds a run with a different configuration '
        f'({"; ".join(differences)}): give these fields their old values to '
        f'continue it{extend}, or give another --workdir.')
  return None


def _before(path, workdir, config, extend) -> schema.Config | None:
  """Returns the config of a run that --extend changes; None if none changes.

  Raises:
    UserError: there is no run, its config.json is damaged, or --extend cannot
      change what differs.
  """
  if not extend:
    return None
  if not (path / _CONFIG).exists():
    raise UserError(
        f'--extend trains a run on, but --workdir={workdir} holds none: leave '
        'it out to start one.')
  before = read_config(path)
  extension.check(workdir, before, config)
  return before if schema.differences(before, config) else None
