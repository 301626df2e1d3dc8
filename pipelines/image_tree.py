"""Scans a folder of a user's own pictures for splits, classes and files.

The folder holds either classes, DIR/<class>/**/picture, which make up one split
called train, or splits, DIR/<split>/<class>/**/picture, where <split> is train,
test, or one of val, valid and validation. The label of a picture is the index
of its class among the sorted class names of train. No file is opened and
TensorFlow is not needed. See pipelines/class_names.py for the names that
classes can have, and pipelines/class_folder.py for links.

A link must not give another label to a picture that a class has: that is an
error. Links from two classes to one picture outside of them give it both
labels, with a warning, as do links from two splits.

  tree = image_tree.scan('Pets')
"""
from collections.abc import Iterator, Mapping, Sequence
import hashlib
import os
import pathlib
import re
from typing import NamedTuple

from configs.process import command_line
from configs.process.errors import UserError
from pipelines import class_names
from pipelines.class_folder import File, Folders

ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.webp')
SPLITS = {'train': 'train', 'val': 'validation', 'valid': 'validation',
          'validation': 'validation', 'test': 'test'}
_LISTED = 5  # Names that a message lists; it counts the others.
_REMEDY = ('give a folder that contains one folder of pictures for each class, '
           'with at least two classes')

# {'train': {class: its pictures}, ...}
BySplit = Mapping[str, Mapping[str, Sequence[File]]]


class Tree(NamedTuple):
  """The pictures in a folder."""
  folder: str
  classes: Sequence[str]  # Sorted.
  # {'train': [(file relative to folder, label), ...], ...}; no empty split.
  splits: Mapping[str, Sequence[tuple[str, int]]]
  # Where labels and splits come from, if not from the names of the files.
  note: str = ''

  @property
  def size(self) -> int:
    """Number of pictures in all splits."""
    return sum(map(len, self.splits.values()))

  @property
  def description(self) -> str:
    """The same for the same file names, splits and labels."""
    files = sorted(file for pairs in self.splits.values() for file, _ in pairs)
    digest = hashlib.sha256('\0'.join(files).encode()).hexdigest()
    return (f'{len(files)} pictures by class; SHA-256 of their names: {digest}'
            f'{self.note}')


def scan(folder: str | os.PathLike) -> Tree:
  """Finds the splits, classes and pictures; warns about what it leaves out.

  Hidden files and folders are ignored.

  Args:
    folder: the DIR of this module's docstring.

  Raises:
    UserError: `folder` does not exist or does not contain such a tree.
  """
  folders = open_folder(folder)
  root = folders.path
  top = folders.listing(folders.root)
  splits = {inner.name: folders.listing(inner) for inner in top.folders
            if inner.name.lower() in SPLITS}
  by_split, stray = {'train': top.folders}, list(top.files)
  if _has_splits(root, top, splits):
    by_split = {split: splits[name].folders
                for split in dict.fromkeys(SPLITS.values())
                for name in splits if SPLITS[name.lower()] == split}
    stray += [file for listing in splits.values() for file in listing.files]
  found = {split: {os.path.basename(inner.name): folders.walk(inner)
                   for inner in classes}
           for split, classes in by_split.items()}
  files = stray + [file for _, _, file in _all(found)]
  _check_utf8(root, [file.name for file in files])
  pictures = {split: {name: folders.once(list(filter(is_picture, inside)))
                      for name, inside in classes.items()}
              for split, classes in found.items()}
  _check_classes(root, pictures)
  tree = build(folders, pictures)
  _warn_of_others(folders, tree, [file.name for file in files])
  warn_of_classes(tree)
  return tree


def open_folder(folder: str | os.PathLike) -> Folders:
  """Returns what lists a folder of pictures.

  Raises:
    UserError: it does not exist.
  """
  root = os.fspath(folder)
  if not os.path.isdir(root):
    raise refusal(root, 'is a file' if os.path.exists(root)
                  else 'does not exist')
  return Folders(root)


def default_name(folder: str | os.PathLike) -> str:
  """Returns a folder's name in TFDS style: oxford_pets_2 for OxfordPets-2."""
  name = pathlib.Path(folder).resolve().name
  name = re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()
  name = re.sub('[^a-z0-9]+', '_', name).strip('_')
  return f'pictures_{name}' if name[:1].isdigit() else name


def refusal(folder: str, what: str, remedy: str = _REMEDY) -> UserError:
  """Returns the error for a folder that is not a tree of pictures."""
  return UserError(f'--image_folder={folder} {what}: {remedy}.')


def some(names: Sequence[str], separator: str = ', ') -> str:
  """Lists the first few names and counts the others."""
  first = separator.join(names[:_LISTED])
  more = len(names) - _LISTED
  return f'{first} and {more} more' if more > 0 else first


def is_picture(file: File) -> bool:
  """Returns whether a file has the name of a picture."""
  return file.name.lower().endswith(ENDINGS)


def _all(by_split: BySplit) -> Iterator[tuple[str, str, File]]:
  """Yields (split, class, file) of all files."""
  for split, classes in by_split.items():
    for name, files in classes.items():
      for file in files:
        yield split, name, file


def _check_utf8(root, names):
  odd = [name for name in names
         if os.fsencode(name).decode(errors='ignore') != name]
  if odd:
    raise refusal(root, f'has names that are not UTF-8 ({some(odd)})',
                  'rename them')


def _has_splits(root, top, splits):
  """Returns whether root holds splits that hold classes, not classes.

  Args:
    root: its path.
    top: its listing.
    splits: {name: listing} of those of its folders that are named like one.
  """
  others = [inner.name for inner in top.folders if inner.name not in splits]
  if not top.folders:
    raise refusal(root, 'has no class folders' + (
        ', and its pictures are directly inside it'
        if any(map(is_picture, top.files)) else ' and no pictures'))
  # A class may be called test, or train (the vehicle).
  if not splits or others and all(any(map(is_picture, listing.files))
                                  for listing in splits.values()):
    return False
  if others:
    raise refusal(root, f'has other folders ({some(others)}) next to its '
                  f'splits ({", ".join(splits)})', 'move them out of it')
  names = [SPLITS[name.lower()] for name in splits]
  if 'train' not in names or len(set(names)) < len(names):
    raise refusal(root, f'has the splits {", ".join(splits)}',
                  'give it one train, and at most one val and one test')
  return True


def _check_classes(root, pictures: BySplit):
  """Raises UserError unless the class folders make a Tree."""
  for split, classes in pictures.items():
    wrong = class_names.why_not(classes)
    if wrong:
      raise refusal(root, wrong[0] + (f' in {split}' if len(pictures) > 1
                                      else ''), wrong[1])
    for name, files in classes.items():
      if not files:
        raise refusal(root, f'has no pictures ({", ".join(ENDINGS)}) in the '
                      f'folder {name}' + (f' of {split}' if len(pictures) > 1
                                          else ''),
                      'add some or delete the folder')
  train = set(map(class_names.canonical, pictures['train']))
  for split, found in pictures.items():
    for name in sorted(found):
      if class_names.canonical(name) not in train:
        raise refusal(root, f'has a class {name} in {split} but not in train',
                      'add it to train or delete it')
  if len(train) < 2:
    raise refusal(root, f'has only one class folder, {", ".join(train)}'
                  if train else 'has no class folders in train')


def build(folders: Folders, pictures: BySplit, note: str = '') -> Tree:
  """Makes a Tree of the pictures of each class of each split.

  Args:
    folders: what they were listed with.
    pictures: of classes that are all in train.
    note: of the Tree.

  Raises:
    UserError: a link gives a picture of a class another label.
  """
  classes = sorted(pictures['train'])
  label = {class_names.canonical(name): i for i, name in enumerate(classes)}
  pairs = {split: sorted(
      (label[class_names.canonical(name)], file.name)
      for name, files in found.items() for file in files)
           for split, found in pictures.items()}
  _check_links(folders, pictures)
  return Tree(folders.path, classes, {
      split: [(file, label) for label, file in found]
      for split, found in pairs.items() if found}, note)


def _check_links(folders, pictures: BySplit):
  """Checks that no link gives a picture of a class another label."""
  if not any(file.target for _, _, file in _all(pictures)):
    return
  relabeled, twice, shared, owners = [], [], [], {}
  # Those without links first: they are all different.
  for split, name, file in sorted(
      _all(pictures), key=lambda item: item[2].target is not None):
    here = split, class_names.canonical(name), file
    owner = owners.setdefault(folders.real(file), here)
    both = f'{owner[2].name} = {file.name}'
    if owner[1] != here[1]:
      (twice if owner[2].target else relabeled).append(both)
    elif owner[0] != split:
      shared.append(both)
  if relabeled:
    raise refusal(folders.path, 'has links that give pictures of one class the '
                  f'label of another ({some(relabeled)})',
                  'delete the links')
  if twice:
    command_line.warn(
        'some pictures have two classes, because links from both lead to the '
        f'same file ({some(twice)}).')
  if shared:
    command_line.warn(
        'some pictures are in two splits, because links lead to the same file '
        f'({some(shared)}): the network is evaluated on pictures that it was '
        'trained on.')


def _warn_of_others(folders, tree, files):
  """Warns about all files that are left out."""
  kept = {file for pairs in tree.splits.values() for file, _ in pairs}
  ignored = set(files) - kept - folders.again
  if ignored:
    command_line.warn(
        f'ignoring {len(ignored)} of {len(files)} files '
        f'({some(sorted(ignored))}): only {", ".join(ENDINGS)} files in class '
        'folders are read.')
  warn_of_links(folders)


def warn_of_links(folders: Folders) -> None:
  """Warns about what listing the folders left out."""
  for names, what in (
      (folders.special, 'pipes, sockets and devices'),
      (folders.above, 'links to a folder above them'),
      (folders.again, 'links to what their class has already')):
    if names:
      command_line.warn(f'ignoring {what} ({some(sorted(names))}).')


def warn_of_classes(tree: Tree) -> None:
  """Warns about classes that a split lacks, or that look like one class."""
  for split, pairs in tree.splits.items():
    missing = sorted(set(range(len(tree.classes))) - {i for _, i in pairs})
    if missing:
      names = some([tree.classes[label] for label in missing])
      command_line.warn(f'{split} has no pictures of {len(missing)} of the '
                        f'{len(tree.classes)} classes ({names}).')
  alike = class_names.alike(tree.classes)
  if alike:
    command_line.warn(
        f'some classes have names that differ only in case ({some(alike)}), '
        'but count as different classes.')
