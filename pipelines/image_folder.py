"""A tree of a user's own pictures, a folder for each class, as a TFDS data set.

Trees: DIR/<class>/**/picture, of one split, train; or DIR/<split>/<class>/**/
picture, where <split> is train, test, or val, valid or validation. A label is
the place of a class among the sorted ones of train. Files are stored byte by
byte as they are, each decoded once, so that one that TensorFlow cannot decode
is found now and not in the middle of training. TFDS shuffles them by a hash of
their names: any slice of a split is a random mixture.

  tree = image_folder.scan('Pets')
  builder = image_folder.prepare(tree, 'pets', data_dir, skip_bad_images=False)
"""
import collections
import concurrent.futures
import contextlib
import hashlib
import io
import itertools
import os
import pathlib
import re
import struct
import tempfile
from typing import NamedTuple

import tensorflow as tf
import tqdm

from configs.process import command_line
from configs.process.errors import UserError

_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif')
_SPLITS = {'train': 'train', 'val': 'validation', 'valid': 'validation',
           'validation': 'validation', 'test': 'test'}
_VERSION = '1.0.0'
_AHEAD = 64  # Pictures read ahead of the one being written: bounds the memory.
_NAMED = 5  # Files that a message names; it counts the others.


class Tree(NamedTuple):
  folder: str
  classes: list  # Names, sorted.
  splits: dict  # {'train': [(file relative to folder, label), ...], ...}

  @property
  def description(self):
    """Equal for equal names of files, and so for equal splits and labels."""
    files = sorted(file for pairs in self.splits.values() for file, _ in pairs)
    digest = hashlib.sha256('\0'.join(files).encode()).hexdigest()
    return f'{len(files)} pictures by class; SHA-256 of their names: {digest}'


def scan(folder):
  """Finds splits, classes and pictures; warns of the files it leaves out.

  Hidden files and folders are ignored, links are followed, no file is opened.

  Args:
    folder: the DIR of the module's docstring.

  Returns:
    Tree.

  Raises:
    UserError: `folder` is missing, no folder, or no such tree.
  """
  if not os.path.isdir(folder):
    raise _refused(folder, 'is a file' if os.path.exists(folder)
                   else 'does not exist')
  folders, files = _walk(folder)
  odd = [name for name in files
         if os.fsencode(name).decode(errors='ignore') != name]
  if odd:
    raise _refused(folder, f'has names that are not UTF-8 ({_some(odd)})',
                   'rename them')
  pictures = [file for file in files if file.lower().endswith(_ENDINGS)]
  depth = _depth_of_classes(folder, folders, pictures)
  by_class = {name: [] for name in folders if name.count('/') == depth - 1}
  for file in pictures:
    name = '/'.join(file.split('/')[:depth])
    if name in by_class:
      by_class[name].append(file)
  tree = _tree(folder, by_class)
  left_out = sorted(set(files).difference(*by_class.values()))
  if left_out:
    command_line.warn(
        f'{len(left_out)} files are left out ({_some(left_out)}): only '
        f'{", ".join(_ENDINGS)} in folders of classes are read.')
  return tree


def find(tree, name, data_dir):
  """What recipes read under this name: a TFDS builder; None: nothing yet.

  Raises:
    UserError: what lies there was not prepared from these files, or the name
      cannot be that of a user's data set.
  """
  import tensorflow_datasets as tfds
  if not re.fullmatch('[a-z][a-z0-9_]*', name):
    raise UserError(
        f'--dataset={name} is no name for a data set: give one of lower-case '
        'letters, digits and _ that begins with a letter, such as '
        '--dataset=my_pictures.')
  if name in ('digits', *tfds.list_builders(with_community_datasets=False)):
    raise UserError(
        f'--dataset={name} is the name of a public data set: give one of your '
        f'own, such as --dataset=my_{name}.')
  there = os.path.join(data_dir, name, _VERSION)
  try:
    builder = tfds.builder(name, data_dir=data_dir)
    if builder.info.description == tree.description:
      return builder
    there = builder.data_dir
  except tfds.core.registered.DatasetNotFoundError:
    if not os.path.lexists(there):
      return None
  raise UserError(
      f'{there} is there already and was not prepared from the pictures that '
      f'--image_folder={tree.folder} has now: delete it, or give another name '
      f'than --dataset={name}.')


def prepare(tree, name, data_dir, *, skip_bad_images):
  """Writes data_dir/name/1.0.0, whole or not at all; ask `find` before.

  Features: image, uint8 [h, w, 3] once decoded; label; file_name, relative to
  the tree. Of a GIF, decode the first frame with expand_animations=False, as
  pipelines/decoding.py does: TFDS's own decoding fails on all frames at once.
  Holds up to 1 GB of pictures, which is when TFDS begins to sort on disk.

  Args:
    tree: Tree.
    name: what `find` accepts.
    data_dir: folder, made if it does not exist.
    skip_bad_images: leaves pictures that cannot be decoded out, and warns.

  Returns:
    A TFDS builder that needs none of this code to read.

  Raises:
    UserError: pictures cannot be decoded, or data_dir cannot be written.
  """
  import tensorflow_datasets as tfds
  features = tfds.features.FeaturesDict({
      'image': tfds.features.Image(shape=(None, None, 3)),
      'label': tfds.features.ClassLabel(names=tree.classes),
      'file_name': tfds.features.Text()})
  bad, streams = [], {split: _read_all(tree.folder, pairs)
                      for split, pairs in tree.splits.items()}
  builder = tfds.dataset_builders.AdhocBuilder(
      name=name, version=_VERSION, data_dir=data_dir, features=features,
      description=tree.description, split_datasets={
          split: _examples(tree, split, streams, bad, skip_bad_images)
          for split in streams})
  try:
    os.makedirs(data_dir, exist_ok=True)
    with (tempfile.TemporaryDirectory(dir=data_dir) as downloads,
          contextlib.redirect_stdout(io.StringIO())):  # Speaks of downloads.
      builder.download_and_prepare(download_dir=downloads)
  except (OSError, tf.errors.OpError) as error:
    # Unless another process was faster; `find` tells whether with the same.
    if not os.path.exists(builder.data_dir):
      raise UserError(
          f'--data_dir={data_dir} cannot be written '
          f'({getattr(error, "strerror", None) or error}): give a folder that '
          'you may write to and that has room.') from error
  finally:
    with contextlib.suppress(OSError):  # Only what is empty is removed.
      os.rmdir(os.path.join(data_dir, name))
  if bad:
    command_line.warn(f'{_cannot_be_decoded(tree, bad)}: left out.')
  return find(tree, name, data_dir)


def default_name(folder):
  """The folder's name as TFDS likes them: OxfordPets-2 -> oxford_pets_2."""
  name = pathlib.Path(folder).resolve().name
  name = re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()
  name = re.sub('[^a-z0-9]+', '_', name).strip('_')
  return f'pictures_{name}' if name[:1].isdigit() else name


def _walk(root):
  """Sorted names, relative to root, of folders and of files; no hidden ones."""
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
  """1 for root/<class>, 2 for root/<split>/<class>; all names are relative."""
  tops = [name for name in folders if '/' not in name]
  splits = [name for name in tops if name.lower() in _SPLITS]
  others = [name for name in tops if name not in splits]
  if not tops:
    raise _refused(root, 'has no class folders, ' + (
        'its pictures lie directly in it' if pictures else 'nor pictures'))
  # A class may be called test, or train, as the vehicle.
  if not splits or (
      others and set(splits).issubset(map(os.path.dirname, pictures))):
    return 1
  if others:
    raise _refused(root, f'has folders ({_some(others)}) beside those of '
                   f'splits ({", ".join(splits)})', 'move them out of it')
  names = [_SPLITS[name.lower()] for name in splits]
  if 'train' not in names or len(set(names)) < len(names):
    raise _refused(root, f'has the splits {", ".join(splits)}',
                   'give it one train, and at most one val and one test')
  return 2


def _tree(root, by_class):
  """Tree of {'<class>' or '<split>/<class>': files}."""
  splits = {split: {} for split in dict.fromkeys(_SPLITS.values())}
  for name, files in by_class.items():
    if not files:
      raise _refused(root, f'has no picture ({", ".join(_ENDINGS)}) in the '
                     f'folder {name}', 'add some or delete it')
    top, _, below = name.partition('/')
    splits[_SPLITS[top.lower()] if below else 'train'][below or top] = files
  classes = sorted(splits['train'])
  for split, found in splits.items():
    for name in sorted(found.keys() - set(classes)):
      raise _refused(root, f'has a class {name} in {split} that train has not',
                     'add it to train or delete it')
  if len(classes) < 2:
    raise _refused(root, f'has a single class folder, {classes[0]}' if classes
                   else 'has no class folders in train')
  return Tree(root, classes, {
      split: [(file, label) for label, name in enumerate(classes)
              for file in found.get(name, ())]
      for split, found in splits.items() if found})


def _read_all(folder, pairs):
  """Yields ((file, label), bytes or None if bad) in the order of pairs."""
  with concurrent.futures.ThreadPoolExecutor() as pool:
    ahead = collections.deque()
    for pair in pairs:
      path = os.path.join(folder, pair[0])
      ahead.append((pair, pool.submit(_read, path)))
      if len(ahead) > _AHEAD:
        first, future = ahead.popleft()
        yield first, future.result()
    for pair, future in ahead:
      yield pair, future.result()


def _read(path):
  """The bytes of a picture; None if it cannot be read or decoded."""
  try:
    encoded = pathlib.Path(path).read_bytes()
    tf.io.decode_image(encoded, channels=3, expand_animations=False)
  except (OSError, tf.errors.OpError):
    return None
  return None if _has_palette(encoded) else encoded


def _has_palette(encoded):
  """Whether it is a BMP of 8 bits whose values are not greys, or compressed.

  TensorFlow (2.21) would take indices into the palette for greys.
  """
  if encoded[:2] != b'BM' or encoded[28] != 8:
    return False
  pixels, header = struct.unpack_from('<II', encoded, 10)
  palette, greys = encoded[14 + header:pixels], bytes(range(256))
  return encoded[30] != 0 or not all(
      greys.startswith(palette[color::4]) for color in range(3))


def _examples(tree, split, streams, bad, skip_bad_images):
  """Yields (key, example) of a split; adds to `bad` what is left out."""
  kept = set()
  for (file, label), encoded in streams[split]:
    if encoded is not None:
      kept.add(label)
      yield file, {'image': encoded, 'label': label, 'file_name': file}
      continue
    bad.append(file)
    if not skip_bad_images:  # Nothing will be written: finds all the others.
      rest = tqdm.tqdm(itertools.chain.from_iterable(streams.values()),
                       'Looking for more...', leave=False)
      bad += [file for (file, _), encoded in rest if encoded is None]
      raise UserError(f'{_cannot_be_decoded(tree, bad)}: delete them, save '
                      'them as PNG, or give --skip_bad_images.')
  for label in sorted({label for _, label in tree.splits[split]} - kept):
    raise _refused(
        tree.folder, f'has no picture of class {tree.classes[label]} in '
        f'{split} that can be decoded', 'add some or delete the class')


def _refused(folder, what, remedy='give a folder that holds a folder of '
             'pictures for each of at least two classes'):
  return UserError(f'--image_folder={folder} {what}: {remedy}.')


def _cannot_be_decoded(tree, bad):
  count = sum(map(len, tree.splits.values()))
  return (f'{len(bad)} of {count} pictures in {tree.folder} cannot be decoded '
          f'({_some(bad)})')


def _some(names):
  """The first few of them, and how many others."""
  first = ', '.join(names[:_NAMED])
  more = len(names) - _NAMED
  return f'{first} and {more} more' if more > 0 else first
