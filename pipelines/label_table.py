"""Reads a CSV file that says which class each picture of a folder belongs to.

  file,label,split
  photos/1.jpg,cat,train
  photos/2.jpg,dog,val

Files are relative to the folder. The split is optional: train, test, or one of
val, valid and validation. With a header, columns may be in any order, and there
may be others; without one, they are as above. The file is UTF-8, with or
without a byte order mark, and is separated by commas, semicolons or tabs. What
the folders are called does not matter, and pictures that are not listed are
left out.

  tree = label_table.scan('Pets', 'labels.csv')
"""
from collections.abc import Mapping, Sequence
import csv
import hashlib
import io
import os
from typing import NamedTuple
import unicodedata

from configs.process import command_line
from configs.process.errors import UserError
from pipelines import class_names, image_tree
from pipelines.class_folder import File
from pipelines.image_tree import some, SPLITS, Tree

_NAMES = {'file': ('file', 'filename', 'file_name', 'path', 'image'),
          'label': ('label', 'class'), 'split': ('split',)}
_LOOK_AT = 1000  # Rows, to find out what separates the columns.
_FORM = 'give lines of the form file,label or file,label,split'


class _Row(NamedTuple):
  line: int  # Its last one in the table, from 1.
  cells: Sequence[str]


class _Entry(NamedTuple):
  """A row that is understood."""
  line: int
  file: str
  label: str
  split: str  # A name of Tree.splits.


def scan(folder: str | os.PathLike, table: str | os.PathLike) -> Tree:
  """Finds the pictures that a table lists; warns about what it leaves out.

  Args:
    folder: of pictures, with or without folders in it.
    table: path of the CSV file.

  Raises:
    UserError: the folder does not exist, or the table cannot be read, names a
      file that is not a picture in the folder, or gives one two labels.
  """
  folders = image_tree.open_folder(folder)
  files = {_plain(file.name): file for file in folders.walk(folders.root)}
  rows = _rows(_text(table), table, files)
  entries = _once(_entries(rows, table, files, folders.path), table)
  _check_classes(entries, table)
  pictures = {
      split: {label: [] for label in sorted(
          {entry.label for entry in entries if entry.split == split})}
      for split in dict.fromkeys(SPLITS.values())
      if any(entry.split == split for entry in entries)}
  for entry in entries:
    pictures[entry.split][entry.label].append(files[entry.file])
  tree = image_tree.build(
      folders, {split: {label: folders.once(inside)
                        for label, inside in classes.items()}
                for split, classes in pictures.items()},
      note=f'; labels of a table, SHA-256: {_digest(entries)}')
  _warn_of_others(folders, tree, files.values())
  image_tree.warn_of_links(folders)
  image_tree.warn_of_classes(tree)
  return tree


def _plain(name):
  """Returns a name in one spelling, as file systems may have another."""
  return class_names.canonical(os.path.normpath(name))


def _text(table):
  """Reads the table.

  Raises:
    UserError: it cannot be read, or is not UTF-8.
  """
  if os.path.lexists(table) and not os.path.isfile(table):
    raise _refusal(table, 'is not a file', 'give a CSV file')
  try:
    with open(table, 'rb') as file:
      content = file.read()
  except OSError as error:
    raise _refusal(table, f'cannot be read ({error.strerror})',
                   'give a CSV file that you may read') from error
  try:
    return content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = content.count(b'\n', 0, error.start) + 1
    raise _refusal(table, f'is not UTF-8 (byte 0x{content[error.start]:02x} in '
                   f'line {line})', 'save it as CSV UTF-8') from error


def _rows(text, table, files: Mapping[str, File]) -> list[_Row]:
  """Returns the rows that are not empty, with the best of the separators."""
  best, most, failure = [], (-1, -1), None
  for separator in ',;\t':
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator,
                        strict=True)
    try:
      rows = [_Row(reader.line_num, [cell.strip() for cell in row])
              for row in reader if any(cell.strip(',;\t ') for cell in row)]
    except csv.Error as error:
      failure = failure or (reader.line_num, error)
      continue
    quality = (sum(any(_plain(cell) in files for cell in row.cells)
                   for row in rows[:_LOOK_AT]),
               len(rows[0].cells) if rows else 0)
    if quality > most:
      best, most = rows, quality
  if failure and most < (1, 2):
    raise _refusal(table, f'cannot be understood in line {failure[0]} '
                   f'({failure[1]})', 'repair it')
  if not best:
    raise _refusal(table, 'is empty', _FORM)
  return best


def _entries(rows, table, files, folder) -> list[_Entry]:
  """Understands the rows.

  Raises:
    UserError: a row has too many or too few columns, an empty one, or the name
      of something else than a picture in the folder.
  """
  columns, rows = _columns(rows, table, files)
  unknown, entries = [], []
  for line, cells in rows:
    if len(cells) != columns['width']:
      raise _refusal(
          table, f'has {len(cells)} columns in line {line}, not '
          f'{columns["width"]} as before',
          'add what is missing, and put names that contain the separator in '
          'double quotes')
    file, label = cells[columns['file']], cells[columns['label']]
    split = cells[columns['split']].lower() if 'split' in columns else 'train'
    if split not in SPLITS:
      raise _refusal(table, f'has the split {split!r} in line {line}',
                     f'choose one of {", ".join(SPLITS)}')
    _check_label(label, line, table)
    found = _find(file, files, folder)
    if not found:
      unknown.append(f'{file} in line {line}')
    entries.append(_Entry(line, found, class_names.canonical(label),
                          SPLITS[split]))
  if unknown:
    raise _refusal(
        table, f'names {len(unknown)} files ({some(unknown)}) that are not '
        f'pictures ({", ".join(image_tree.ENDINGS)}) in --image_folder='
        f'{folder}', 'give their names relative to that folder')
  return entries


def _columns(rows, table, files):
  """Returns ({'width': of all rows, name: index}, rows without the header)."""
  first = rows[0].cells
  lower = [cell.lower() for cell in first]
  named = {column: lower.index(name) for column, names in _NAMES.items()
           for name in reversed(names) if name in lower}
  if 'file' in named and 'label' in named:
    if not rows[1:]:
      raise _refusal(table, 'has a header and no more', _FORM)
    return {'width': len(first), **named}, rows[1:]
  if _plain(first[0]) not in files and any(
      _plain(cell) in files for row in rows[1:] for cell in row.cells):
    raise _refusal(table, f'begins with {",".join(first)}, which is neither a '
                   'picture nor a header that names the columns file and label',
                   'rename the columns')
  if len(first) not in (2, 3):
    raise _refusal(table, f'has {len(first)} columns and no header that names '
                   'the columns file and label', _FORM)
  return {'width': len(first),
          **dict(zip(('file', 'label', 'split'), range(len(first))))}, rows


def _find(name, files, folder):
  """Returns the key of a picture in `files`; '' if it is not there."""
  if os.path.isabs(name):
    name = os.path.relpath(name, os.path.abspath(folder))
  for key in (_plain(name), _plain(name.replace('\\', '/'))):
    if key in files and image_tree.is_picture(files[key]):
      return key
  return ''


def _check_label(label, line, table):
  if not label:
    raise _refusal(table, f'has no label in line {line}',
                   'add it, or delete the line')
  if any(unicodedata.category(c) in ('Cc', 'Zl', 'Zp') for c in label):
    raise _refusal(table, f'has a label with a line break or another control '
                   f'character in line {line}, {label!r}', 'rename it')


def _once(entries, table):
  """Returns entries without repetitions.

  Raises:
    UserError: a file has two labels, or is in two splits.
  """
  kept: dict[str, _Entry] = {}
  clashes = []
  for entry in entries:
    first = kept.setdefault(entry.file, entry)
    if first[1:] != entry[1:]:
      both = ' and '.join(
          f'{one.label}{"" if one.split == other.split else " of " + one.split}'
          f' in line {one.line}' for one, other in
          ((first, entry), (entry, first)))
      clashes.append(f'{entry.file}: {both}')
  if clashes:
    raise _refusal(table, f'lists {len(clashes)} files a second time with '
                   f'another label or split ({some(clashes, "; ")})',
                   'keep one line of each')
  return list(kept.values())


def _check_classes(entries, table):
  train = {entry.label for entry in entries if entry.split == 'train'}
  other = sorted({entry.label for entry in entries} - train)
  if other and train:
    raise _refusal(table, f'has {len(other)} classes that have no pictures in '
                   f'train ({some(other)})', 'add some to train')
  if len(train) < 2:
    raise _refusal(table, f'has only one class, {", ".join(train)}' if train
                   else 'has no pictures in train',
                   'give pictures of at least two classes')


def _digest(entries):
  lines = sorted('\0'.join(entry[1:]) for entry in entries)
  return hashlib.sha256('\n'.join(lines).encode()).hexdigest()


def _warn_of_others(folders, tree, files):
  """Warns about pictures that the table does not list."""
  kept = {file for pairs in tree.splits.values() for file, _ in pairs}
  kept |= folders.again
  others = sorted(file.name for file in files
                  if image_tree.is_picture(file) and file.name not in kept)
  if others:
    command_line.warn(f'ignoring {len(others)} pictures that --labels does not '
                      f'list ({some(others)}).')


def _refusal(table, what, remedy):
  return UserError(f'--labels={os.fspath(table)} {what}: {remedy}.')
