"""Turns a folder of a user's own pictures into a TFDS data set.

Files are stored byte by byte as they are, with few exceptions; see
pipelines/picture_file.py. Each one is decoded once, so that a file that
TensorFlow cannot decode is found now and not in the middle of training. TFDS
shuffles the pictures by a hash of their names: any slice of a split is a random
sample.

  tree = image_tree.scan('Pets')
  builder = image_folder.prepare(tree, 'pets', data_dir, skip_bad_images=False)
"""
import collections
from collections.abc import Iterable, Iterator
import concurrent.futures
import contextlib
import dataclasses
import io
import itertools
import os
import re
import tempfile

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered
import tqdm

from configs.process import command_line
from configs.process.errors import first_line, UserError
from pipelines import image_tree, picture_file, tfds_directory, tfds_writing
from pipelines.image_tree import Tree
from pipelines.picture_file import Picture, Reduction, Unusable

_VERSION = '1.0.0'
_AHEAD = 64  # Pictures read ahead of the one being written: bounds the memory.


def find(tree: Tree, name: str, data_dir: str | os.PathLike, *,
         keep_orientation: bool = False, reduction: Reduction | None = None
         ) -> tfds.core.DatasetBuilder | None:
  """Looks for a data set that was prepared from these files before.

  Args:
    tree: the pictures.
    name: of the data set.
    data_dir: the folder that holds data sets.
    keep_orientation, reduction: see `prepare`.

  Returns:
    Its builder; None if there is nothing under this name yet.

  Raises:
    UserError: there is another data set under this name, or it is not a name
      that a user's data set can have.
  """
  if not re.fullmatch('[a-z][a-z0-9_]{,99}', name):
    raise UserError(
        f'--dataset={name} is not a valid name: use at most 100 lowercase '
        'letters, digits and _, starting with a letter, such as '
        '--dataset=my_pictures.')
  if name in ('digits', *tfds.list_builders(with_community_datasets=False)):
    raise UserError(
        f'--dataset={name} is the name of a public data set: choose a name of '
        f'your own, such as --dataset=my_{name}.')
  there = os.path.join(data_dir, name, _VERSION)
  what = ('was not prepared from the pictures that are in '
          f'--image_folder={tree.folder} now, in the same way')
  try:
    builder = tfds.builder(name, data_dir=data_dir)
    if builder.info.description == _description(
        tree, keep_orientation, reduction):
      return builder
    there = builder.data_dir
  except registered.DatasetNotFoundError:
    if not os.path.lexists(there):
      return None
  except tfds_directory.OPENING_FAILURES as error:
    what = f'cannot be opened ({first_line(error)})'
  raise UserError(
      f'{there} already exists and {what}: delete it, or choose a name other '
      f'than --dataset={name}.')


def prepare(tree: Tree, name: str, data_dir: str | os.PathLike, *,
            skip_bad_images: bool, keep_orientation: bool = False,
            reduction: Reduction | None = None) -> tfds.core.DatasetBuilder:
  """Writes data_dir/name/1.0.0, completely or not at all; call `find` before.

  The features are image, uint8 [h, w, 3] once decoded; label; and file_name,
  relative to the tree. To read a GIF, decode its first frame, with
  expand_animations=False as in pipelines/decoding.py: TFDS's own decoding
  fails because it decodes all frames. Holds up to 1 GB of pictures in memory;
  beyond that, TFDS sorts on disk.

  Args:
    tree: the pictures.
    name: a name that `find` accepts.
    data_dir: the folder that holds data sets; created if it does not exist.
    skip_bad_images: whether pictures that cannot be used are left out, with a
      warning, instead of raising an error.
    keep_orientation: whether pictures that are not upright according to their
      EXIF are left as they are, instead of being turned.
    reduction: of large pictures; None: they keep their size.

  Returns:
    A builder. Reading the data set needs none of this code.

  Raises:
    UserError: pictures cannot be used, or data_dir is not writable.
    TryAgain: data_dir cannot be written now.
  """
  features = tfds.features.FeaturesDict({
      'image': tfds.features.Image(shape=(None, None, 3)),
      'label': tfds.features.ClassLabel(names=list(tree.classes)),
      'file_name': tfds.features.Text()})
  seen, changes = _Seen(), (keep_orientation, reduction)
  streams = {split: _read_all(tree.folder, pairs, *changes)
             for split, pairs in tree.splits.items()}
  builder = tfds.dataset_builders.AdhocBuilder(
      name=name, version=_VERSION, data_dir=data_dir, features=features,
      description=_description(tree, *changes), split_datasets={
          split: _examples(tree, split, streams, seen, skip_bad_images)
          for split in streams})
  _write(builder, name, data_dir)
  seen.tell(tree, *changes)
  found = find(tree, name, data_dir, keep_orientation=keep_orientation,
               reduction=reduction)
  assert found is not None
  return found


def _description(tree, keep_orientation, reduction):
  """Tells from the description of a data set what it was prepared from."""
  text = (f'{tree.description}; orientation: '
          f'{"as stored" if keep_orientation else "upright"}')
  return f'{text}; {_reduction_text(reduction)}' if reduction else text


def _reduction_text(reduction):
  return (f'longer side at most {reduction.max_side} pixels, as JPEGs of '
          f'quality {reduction.jpeg_quality}')


def _write(builder, name, data_dir):
  """Writes the files of a builder, whole or not at all."""
  tfds_writing.begin()
  try:
    os.makedirs(data_dir, exist_ok=True)
    # TFDS prints that it downloads, which it does not.
    with (tempfile.TemporaryDirectory(dir=data_dir) as downloads,
          contextlib.redirect_stdout(io.StringIO())):
      builder.download_and_prepare(download_dir=downloads)
  except (OSError, tf.errors.OpError, RuntimeError) as error:
    cause = tfds_writing.cause(error)
    if not cause:
      raise
    # If another process was faster, `find` checks that it wrote the same.
    if not os.path.exists(builder.data_dir):
      raise tfds_writing.failure(data_dir, cause) from error
  finally:
    with contextlib.suppress(OSError):  # Removes the folder only if empty.
      os.rmdir(os.path.join(data_dir, name))


def _read_all(folder: str, pairs: Iterable[tuple[str, int]],
              keep_orientation: bool, reduction: Reduction | None
              ) -> Iterator[tuple[tuple[str, int], Picture | Unusable]]:
  """Yields ((file, label), what was read) in the order of pairs."""
  with concurrent.futures.ThreadPoolExecutor() as pool:
    ahead = collections.deque()
    for pair in pairs:
      path = os.path.join(folder, pair[0])
      ahead.append((pair, pool.submit(
          picture_file.read, path, keep_orientation=keep_orientation,
          reduction=reduction)))
      if len(ahead) > _AHEAD:
        first, future = ahead.popleft()
        yield first, future.result()
    for pair, future in ahead:
      yield pair, future.result()


def _examples(tree, split, streams, seen, skip_bad_images):
  """Yields (key, example) of a split; counts in `seen` what was read."""
  kept = set()
  for (file, label), picture in streams[split]:
    if seen.add(file, picture):
      kept.add(label)
      yield file, {'image': picture.encoded, 'label': label, 'file_name': file}
    elif not skip_bad_images:
      # Nothing will be written, but the message is to name all bad pictures.
      for (other, _), picture in tqdm.tqdm(
          itertools.chain.from_iterable(streams.values()),
          'Looking for more...', leave=False, disable=None):
        seen.add(other, picture)
      raise UserError(
          f'{seen.bad_text(tree)}: repair or delete them, or give '
          '--skip_bad_images to leave them out.')
  for label in sorted({label for _, label in tree.splits[split]} - kept):
    raise image_tree.refusal(
        tree.folder, f'has no pictures of class {tree.classes[label]} in '
        f'{split} that can be used ({image_tree.some(seen.bad)})',
        'add some or delete the class')


@dataclasses.dataclass
class _Seen:
  """What was read so far."""
  bad: list[str] = dataclasses.field(default_factory=list)  # file: reason
  tilted: int = 0
  converted: int = 0
  deep: int = 0
  reduced: int = 0

  def add(self, file: str, picture: Picture | Unusable) -> bool:
    """Counts a picture; returns whether it can be used."""
    if isinstance(picture, Unusable):
      self.bad.append(f'{file}: {picture.reason}')
      return False
    self.tilted += picture.is_tilted
    self.converted += picture.is_converted
    self.deep += picture.is_deep
    self.reduced += picture.is_reduced
    return True

  def bad_text(self, tree: Tree) -> str:
    """Returns which pictures cannot be used, and why."""
    return (f'{len(self.bad)} of {tree.size} pictures in {tree.folder} cannot '
            f'be used ({image_tree.some(self.bad, "; ")})')

  def tell(self, tree: Tree, keep_orientation: bool,
           reduction: Reduction | None) -> None:
    """Prints what was changed or left out."""
    if reduction:
      print(f'Reduced {self.reduced} of {tree.size} pictures '
            f'({_reduction_text(reduction)}); the others are stored as they '
            'are.')
    if self.tilted and keep_orientation:
      print(f'Left {self.tilted} of {tree.size} pictures as they are, although '
            'their EXIF orientation says that they are not upright.')
    elif self.tilted:
      print(f'Turned {self.tilted} of {tree.size} pictures upright, as their '
            'EXIF orientation says; --keep_orientation leaves them as they '
            'are.')
    if self.converted:
      print(f'Stored {self.converted} of {tree.size} pictures as PNG: WebP '
            'with an alpha channel or animation, of which the colors of the '
            'first frame are kept.')
    if self.deep:
      print(f'{self.deep} of {tree.size} pictures have 16 bits per channel, of '
            'which TensorFlow reads the higher 8.')
    if self.bad:
      command_line.warn(f'some pictures are left out: {self.bad_text(tree)}.')
