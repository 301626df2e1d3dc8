"""Scans a folder of a user's own pictures for splits, classes and files.

The folder holds either classes, DIR/<class>/**/picture, which make up one split
called train, or splits, DIR/<split>/<class>/**/picture, where <split> is train,
test, or one of val, valid and validation. The label of a picture is the index
of its class among the sorted class names of train. No file is opened and
TensorFlow is not needed.

  tree = image_tree.scan('Pets')
"""
from collections.abc import Mapping, Sequence
import hashlib
import os
import pathlib
import re
from typing import NamedTuple

from configs.process import command_line
from configs.process.errors import UserError

_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif')
_SPLITS = {'train': 'train', 'val': 'validation', 'valid': 'validation',
           'validation': 'validation', 'test': 'test'}
_LISTED = 5  # Names that a message lists; it counts the others.
_REMEDY = ('give a folder that contains one folder of pictures for each class, '
           'with at least two classes')


class Tree(NamedTuple):
  """The pictures in a folder."""
  folder: str
  classes: Sequence[str]  # Sorted.
  # {'train': [(file relative to folder, label), ...], ...}; no empty split.
  splits: Mapping[str, Sequence[tuple[str, int]]]

  @property
  def size(self) -> int:
    """Number of pictures in all splits."""
    return sum(map(len, self.splits.values()))

  @property
  def description(self) -> str:
    """The same for the same file names, and so the same splits and labels."""
    files = sorted(file for pairs in self.splits.values() for file, _ in pairs)
    digest = hashlib.sha256('\0'.join(files).encode()).hexdigest()
    return f'{len(files)} pictures by class; SHA-256 of their names: {digest}'


def scan(folder: str | os.PathLike) -> Tree:
  """Finds the splits, classes and pictures; warns about files it leaves out.

  Hidden files and folders are ignored. Links are followed.

  Args:
    folder: the DIR of this module's docstring.

  Raises:
    UserError: `folder` does not exist or does not contain such a tree.
  """
  root = os.fspath(folder)
  if not os.path.isdir(root):
    raise refusal(root, 'is a file' if os.path.exists(root)
                  else 'does not exist')
  folders, files = _walk(root)
  odd = [name for name in files
         if os.fsencode(name).decode(errors='ignore') != name]
  if odd:
    raise refusal(root, f'has names that are not UTF-8 ({some(odd)})',
                  'rename them')
  pictures = [file for file in files if file.lower().endswith(_ENDINGS)]
  depth = _depth_of_classes(root, folders, pictures)
  by_class = {name: [] for name in folders if name.count('/') == depth - 1}
  for file in pictures:
    name = '/'.join(file.split('/')[:depth])
    if name in by_class:
      by_class[name].append(file)
  tree = _tree(root, by_class)
  left_out = sorted(set(files).difference(*by_class.values()))
  if left_out:
    command_line.warn(
        f'ignoring {len(left_out)} of {len(files)} files '
        f'({some(left_out)}): only {", ".join(_ENDINGS)} files in class '
        'folders are read.')
  return tree


def default_name(folder: str | os.PathLike) -> str:
  """Returns a folder's name in TFDS style: oxford_pets_2 for OxfordPets-2."""
  name = pathlib.Path(folder).resolve().name
  name = re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()
  name = re.sub('[^a-z0-9]+', '_', name).strip('_')
  return f'pictures_{name}' if name[:1].isdigit() else name


def refusal(folder: str, what: str, remedy: str = _REMEDY) -> UserError:
  """Returns the error for a folder that is not a tree of pictures."""
  return UserError(f'--image_folder={folder} {what}: {remedy}.')


def some(names: Sequence[str]) -> str:
  """Lists the first few names and counts the others."""
  first = ', '.join(names[:_LISTED])
  more = len(names) - _LISTED
  return f'{first} and {more} more' if more > 0 else first


def _walk(root):
  """Returns the names, relative to root and sorted, of folders and of files.

  Hidden ones are left out.
  """
  def fail(error):
    raise UserError(
        f'{error.filename} cannot be read ({error.strerror}): make it '
        'readable, or move it out of --image_folder.') from error

  all_folders, all_files = [], []
  for path, folders, files in os.walk(root, onerror=fail, followlinks=True):
    folders[:] = [name for name in folders if name[0] != '.']
    inside = pathlib.Path(path).relative_to(root)
    all_folders += [(inside / name).as_posix() for name in folders]
    all_files += [(inside / name).as_posix() for name in files
                  if name[0] != '.']
  return sorted(all_folders), sorted(all_files)


def _depth_of_classes(root, folders, pictures):
  """Returns 1 for root/<class>, 2 for root/<split>/<class>.

  The names of folders and pictures are relative to root.
  """
  tops = [name for name in folders if '/' not in name]
  splits = [name for name in tops if name.lower() in _SPLITS]
  others = [name for name in tops if name not in splits]
  if not tops:
    raise refusal(root, 'has no class folders' + (
        ', and its pictures are directly inside it' if pictures
        else ' and no pictures'))
  # A class may be called test, or train (the vehicle).
  if not splits or (
      others and set(splits).issubset(map(os.path.dirname, pictures))):
    return 1
  if others:
    raise refusal(root, f'has other folders ({some(others)}) next to its '
                  f'splits ({", ".join(splits)})', 'move them out of it')
  names = [_SPLITS[name.lower()] for name in splits]
  if 'train' not in names or len(set(names)) < len(names):
    raise refusal(root, f'has the splits {", ".join(splits)}',
                  'give it one train, and at most one val and one test')
  return 2


def _tree(root, by_class):
  """Makes a Tree of {'<class>' or '<split>/<class>': files}."""
  splits = {split: {} for split in dict.fromkeys(_SPLITS.values())}
  for name, files in by_class.items():
    if not files:
      raise refusal(root, f'has no pictures ({", ".join(_ENDINGS)}) in the '
                    f'folder {name}', 'add some or delete the folder')
    top, _, below = name.partition('/')
    splits[_SPLITS[top.lower()] if below else 'train'][below or top] = files
  classes = sorted(splits['train'])
  for split, found in splits.items():
    for name in sorted(found.keys() - set(classes)):
      raise refusal(root, f'has a class {name} in {split} but not in train',
                    'add it to train or delete it')
  if len(classes) < 2:
    raise refusal(root, f'has only one class folder, {classes[0]}' if classes
                  else 'has no class folders in train')
  return Tree(root, classes, {
      split: [(file, label) for label, name in enumerate(classes)
              for file in found.get(name, ())]
      for split, found in splits.items() if found})
