"""The folder of an export: replaced as a whole, or left as it was.

  folder/{saved_model/, model.keras, model.onnx, model.tflite, export.json}

Everything is written and checked in <folder>.<8 hex digits>.partial first. A
process that is killed leaves such a folder, which nobody reads.
"""
from collections.abc import Iterator, Mapping
import contextlib
import ctypes
import hashlib
import os
import pathlib
import secrets
import shutil
from typing import Any

from configs.process import atomic_file, json_file
from configs.process.errors import UserError, writing
from resnet.run import run_folder

RECORD = 'export.json'
LAYOUT = 1  # Of the folder and of the record; another one is not read.
_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE


def check(path: pathlib.Path) -> dict[str, Any] | None:
  """Checks that a folder is free, or holds an export.

  Returns:
    The record of the export; None if there is none.

  Raises:
    UserError: it is a file, or holds something else.
    TryAgain: it cannot be read now.
  """
  if not os.path.lexists(path):
    return None
  try:
    entries = os.listdir(path)
  except OSError as error:
    raise UserError(
        f'--output={path} cannot be read as a folder ({error.strerror}): give '
        'another one.') from error
  if not entries:
    return None
  record = read_record(path)
  if record is None:
    raise UserError(
        f'--output={path} holds something else than an export (there is no '
        f'{RECORD}): give a folder that is empty, or does not exist.')
  return record


def read_record(path: pathlib.Path) -> dict[str, Any] | None:
  """Returns what export.json in a folder says; None if there is none.

  Raises:
    UserError: it is damaged, or another version wrote it.
    TryAgain: it cannot be read now.
  """
  file = path / RECORD
  try:
    record = json_file.read(file)
  except json_file.Damaged as damage:
    raise UserError(
        f'{file} is damaged ({damage.reason}): export again, into another '
        'folder.') from damage
  if record is not None and record.get('layout') != LAYOUT:
    raise UserError(
        f'{path} is an export of another version (its layout is '
        f'{record.get("layout")!r}, that of this version {LAYOUT}): export '
        'again, into another folder.')
  return record


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a new folder; it replaces `path` when the block is complete.

  Raises:
    UserError, TryAgain: it cannot be written.
  """
  partial = path.with_name(f'{path.name}.{secrets.token_hex(4)}.partial')
  with writing(path):
    partial.mkdir(parents=True)
  try:
    with writing(path):
      yield partial
      _fsync_all(partial)
      _exchange(partial, path)
      atomic_file.fsync_folder(path.parent)
  finally:  # What is new, if it failed; else what was there before.
    shutil.rmtree(partial, ignore_errors=True)


def keep(old: pathlib.Path, new: pathlib.Path, names: list[str]) -> None:
  """Takes files and folders of an export over into another one."""
  for name in names:
    source, target = old / name, new / name
    if source.is_dir():
      shutil.copytree(source, target, copy_function=_link)
    else:
      _link(source, target)


def write_record(path: pathlib.Path, record: Mapping[str, Any]) -> None:
  """Writes export.json."""
  run_folder.write_json(path / RECORD, {'layout': LAYOUT, **record})


def digests(path: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Returns {file: {'bytes', 'sha256'}} of a file or of those in a folder."""
  files = sorted(path.rglob('*')) if path.is_dir() else [path]
  return {os.fspath(file.relative_to(path.parent)): {
      'bytes': file.stat().st_size, 'sha256': _sha256(file)}
          for file in files if file.is_file()}


def _sha256(path):
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _link(source, target):
  """Links a file; copies it where the file system has no links."""
  try:
    os.link(source, target)
  except OSError:
    shutil.copy2(source, target)


def _fsync_all(folder):
  for path in folder.rglob('*'):
    if path.is_dir():
      atomic_file.fsync_folder(path)
    else:
      with path.open('rb') as file:
        atomic_file.fsync(file.fileno())
  atomic_file.fsync_folder(folder)


def _exchange(new, path):
  """Gives `new` the name `path`, and what was there, if anything, its own."""
  if not os.path.lexists(path):
    os.rename(new, path)
    return
  rename = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)
  if rename and not rename(
      _HERE, os.fsencode(new), _HERE, os.fsencode(path), _EXCHANGE):
    return
  # This file system cannot: for a moment, there is no export.
  old = path.with_name(f'{new.name}.old')
  os.rename(path, old)
  os.rename(new, path)
  os.rename(old, new)
