"""Turns a folder of a user's own pictures into a TFDS data set.

Files are stored byte by byte as they are. Each one is decoded once, so that a
file that TensorFlow cannot decode is found now and not in the middle of
training. TFDS shuffles the pictures by a hash of their names: any slice of a
split is a random sample.

  tree = image_tree.scan('Pets')
  builder = image_folder.prepare(tree, 'pets', data_dir, skip_bad_images=False)
"""
import collections
from collections.abc import Iterable, Iterator
import concurrent.futures
import contextlib
import io
import itertools
import os
import pathlib
import re
import struct
import tempfile

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered
import tqdm

from configs.process import command_line
from configs.process.errors import UserError
from pipelines import image_tree
from pipelines.image_tree import Tree

_VERSION = '1.0.0'
_AHEAD = 64  # Pictures read ahead of the one being written: bounds the memory.


def find(tree: Tree, name: str,
         data_dir: str | os.PathLike) -> tfds.core.DatasetBuilder | None:
  """Looks for a data set that was prepared from these files before.

  Args:
    tree: the pictures.
    name: of the data set.
    data_dir: the folder that holds data sets.

  Returns:
    Its builder; None if there is nothing under this name yet.

  Raises:
    UserError: the data set was not prepared from these files, or the name is
      not one that a user's data set can have.
  """
  if not re.fullmatch('[a-z][a-z0-9_]*', name):
    raise UserError(
        f'--dataset={name} is not a valid name: use lowercase letters, digits '
        'and _, starting with a letter, such as --dataset=my_pictures.')
  if name in ('digits', *tfds.list_builders(with_community_datasets=False)):
    raise UserError(
        f'--dataset={name} is the name of a public data set: choose a name of '
        f'your own, such as --dataset=my_{name}.')
  there = os.path.join(data_dir, name, _VERSION)
  try:
    builder = tfds.builder(name, data_dir=data_dir)
    if builder.info.description == tree.description:
      return builder
    there = builder.data_dir
  except registered.DatasetNotFoundError:
    if not os.path.lexists(there):
      return None
  raise UserError(
      f'{there} already exists and was not prepared from the pictures that are '
      f'in --image_folder={tree.folder} now: delete it, or choose a name other '
      f'than --dataset={name}.')


def prepare(tree: Tree, name: str, data_dir: str | os.PathLike, *,
            skip_bad_images: bool) -> tfds.core.DatasetBuilder:
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
    skip_bad_images: whether pictures that cannot be decoded are left out, with
      a warning, instead of raising an error.

  Returns:
    A builder. Reading the data set needs none of this code.

  Raises:
    UserError: pictures cannot be decoded, or data_dir is not writable.
  """
  features = tfds.features.FeaturesDict({
      'image': tfds.features.Image(shape=(None, None, 3)),
      'label': tfds.features.ClassLabel(names=list(tree.classes)),
      'file_name': tfds.features.Text()})
  bad, streams = [], {split: _read_all(tree.folder, pairs)
                      for split, pairs in tree.splits.items()}
  builder = tfds.dataset_builders.AdhocBuilder(
      name=name, version=_VERSION, data_dir=data_dir, features=features,
      description=tree.description, split_datasets={
          split: _examples(tree, split, streams, bad, skip_bad_images)
          for split in streams})
  _write(builder, name, data_dir)
  if bad:
    command_line.warn('some pictures are left out: '
                      f'{_cannot_be_decoded(tree, bad)}.')
  found = find(tree, name, data_dir)
  assert found is not None
  return found


def _write(builder, name, data_dir):
  """Writes the files of a builder, whole or not at all."""
  try:
    os.makedirs(data_dir, exist_ok=True)
    # TFDS prints that it downloads, which it does not.
    with (tempfile.TemporaryDirectory(dir=data_dir) as downloads,
          contextlib.redirect_stdout(io.StringIO())):
      builder.download_and_prepare(download_dir=downloads)
  except (OSError, tf.errors.OpError) as error:
    # If another process was faster, `find` checks that it wrote the same.
    if not os.path.exists(builder.data_dir):
      raise UserError(
          f'--data_dir={data_dir} cannot be written '
          f'({getattr(error, "strerror", None) or error}): give a writable '
          'folder with enough free space.') from error
  finally:
    with contextlib.suppress(OSError):  # Removes the folder only if empty.
      os.rmdir(os.path.join(data_dir, name))


def _read_all(folder: str, pairs: Iterable[tuple[str, int]]
              ) -> Iterator[tuple[tuple[str, int], bytes | None]]:
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


def _read(path: str) -> bytes | None:
  """Returns the bytes of a picture; None if it cannot be read or decoded."""
  try:
    encoded = pathlib.Path(path).read_bytes()
    tf.io.decode_image(encoded, channels=3, expand_animations=False)
  except (OSError, tf.errors.OpError):
    return None
  return None if _is_misread(encoded) else encoded


def _is_misread(encoded: bytes) -> bool:
  """Returns whether TensorFlow (2.21) would decode a BMP to wrong colors.

  It takes the 8-bit values of a BMP for grays, even if they are indices into a
  palette of colors, or compressed.
  """
  if encoded[:2] != b'BM' or encoded[28] != 8:
    return False
  pixels, header = struct.unpack_from('<II', encoded, 10)
  palette, grays = encoded[14 + header:pixels], bytes(range(256))
  return encoded[30] != 0 or not all(
      grays.startswith(palette[color::4]) for color in range(3))


def _examples(tree, split, streams, bad, skip_bad_images):
  """Yields (key, example) of a split; adds to `bad` what is left out."""
  kept = set()
  for (file, label), encoded in streams[split]:
    if encoded is not None:
      kept.add(label)
      yield file, {'image': encoded, 'label': label, 'file_name': file}
      continue
    bad.append(file)
    if not skip_bad_images:
      # Nothing will be written, but the message is to name all bad pictures.
      rest = tqdm.tqdm(itertools.chain.from_iterable(streams.values()),
                       'Looking for more...', leave=False)
      bad += [file for (file, _), encoded in rest if encoded is None]
      raise UserError(
          f'{_cannot_be_decoded(tree, bad)}: delete them, save them as PNG, or '
          'give --skip_bad_images to leave them out.')
  for label in sorted({label for _, label in tree.splits[split]} - kept):
    raise image_tree.refusal(
        tree.folder, f'has no pictures of class {tree.classes[label]} in '
        f'{split} that can be decoded', 'add some or delete the class')


def _cannot_be_decoded(tree, bad):
  return (f'{len(bad)} of {tree.size} pictures in {tree.folder} cannot be '
          f'decoded ({image_tree.some(bad)})')
