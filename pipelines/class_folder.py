"""Lists the files of a folder of pictures, each once, whatever the links.

Links are followed, but a class has a file only once, however many links lead to
it: copies count, links do not. Left out, and noted, are

- links to a folder above (the folder that a link is in, or one that contains
  it): they would go round in circles, or give other classes' pictures a label;
- further names of a file or folder that the class has already;
- what is neither a file nor a folder: opening a pipe waits for its other end.

  folders = Folders('Pets')
  for folder in folders.listing(folders.root).folders:
    pictures = folders.once(folders.walk(folder))
"""
import collections
from collections.abc import Sequence
import os
import stat
from typing import NamedTuple

from configs.process.errors import UserError


class Folder(NamedTuple):
  """A folder, and how it was reached."""
  name: str  # Relative to the root; '' is the root itself.
  # Its path without links. The others are those of the folders that contain the
  # links on the way to it, outermost first.
  real: Sequence[str]


class File(NamedTuple):
  """A file, which may be a link that leads nowhere."""
  name: str  # Relative to the root.
  target: str | None  # Its path without links, if links lead to it; else None.


class Listing(NamedTuple):
  """What is in one folder; sorted."""
  folders: Sequence[Folder]
  files: Sequence[File]


class Folders:
  """A root folder, and all that was left out under it so far."""

  def __init__(self, path: str):
    """Notes the path of the root; reads nothing."""
    self.path = path
    self.root = Folder('', (os.path.realpath(path),))
    self.above: set[str] = set()  # Links to a folder above.
    self.again: set[str] = set()  # Files and folders that were there already.
    self.special: set[str] = set()  # Pipes, sockets and devices.

  def real(self, file: File) -> str:
    """Returns the path of a file without links."""
    return file.target or os.path.join(self.root.real[0], file.name)

  def listing(self, folder: Folder) -> Listing:
    """Lists a folder, without what is hidden or left out.

    Raises:
      UserError: it cannot be read.
    """
    path = os.path.join(self.path, folder.name)
    try:
      with os.scandir(path) as entries:
        visible = sorted((entry for entry in entries if entry.name[0] != '.'),
                         key=lambda entry: entry.name)
    except OSError as error:
      raise UserError(
          f'{path} cannot be read ({error.strerror}): make it readable, or '
          'move it out of --image_folder.') from error
    folders, files = [], []
    for entry in visible:
      name = f'{folder.name}/{entry.name}' if folder.name else entry.name
      kind, exists = _kind(entry)
      linked = entry.is_symlink() or len(folder.real) > 1
      real = (f'{folder.real[-1].rstrip("/")}/{entry.name}'
              if not entry.is_symlink() else os.path.realpath(entry.path))
      if kind == stat.S_IFREG:
        files.append(File(name, real if linked and exists else None))
      elif kind != stat.S_IFDIR:
        self.special.add(name)
      elif not entry.is_symlink():
        folders.append(Folder(name, (*folder.real[:-1], real)))
      elif any(_contains(real, path) for path in folder.real):
        self.above.add(name)
      else:
        folders.append(Folder(name, (*folder.real, real)))
    return Listing(folders, files)

  def walk(self, folder: Folder) -> list[File]:
    """Returns the files in a folder and below it; visits each folder once.

    Raises:
      UserError: a folder cannot be read.
    """
    files, seen = [], set()
    todo = collections.deque([folder])
    while todo:
      current = todo.popleft()
      if current.real[-1] in seen:
        self.again.add(current.name)
        continue
      seen.add(current.real[-1])
      listing = self.listing(current)
      files += listing.files
      # Links come last, so that names without links are preferred.
      for inner in listing.folders:
        if len(inner.real) > len(folder.real):
          todo.append(inner)
        else:
          todo.appendleft(inner)
    return files

  def once(self, files: Sequence[File]) -> Sequence[File]:
    """Returns files, sorted, without links to others of them."""
    linked = sorted(file for file in files if file.target)
    if not linked:
      return sorted(files)
    kept = {self.real(file): file for file in files if not file.target}
    for file in linked:
      if kept.setdefault(self.real(file), file) is not file:
        self.again.add(file.name)
    return sorted(kept.values())


def _kind(entry):
  """Returns (S_IFREG, S_IFDIR or another kind, whether it exists).

  A link that leads nowhere, or cannot be followed, is a file: reading it says
  why.
  """
  if not entry.is_symlink():
    if entry.is_dir(follow_symlinks=False):
      return stat.S_IFDIR, True
    if entry.is_file(follow_symlinks=False):
      return stat.S_IFREG, True
  try:
    return stat.S_IFMT(os.stat(entry.path).st_mode), True
  except OSError:
    return stat.S_IFREG, False


def _contains(folder, path):
  return path == folder or path.startswith(f'{folder.rstrip("/")}/')
