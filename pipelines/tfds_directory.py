"""Finds prepared TFDS data sets; an error says in one sentence what is wrong.

Never touches the network: `python -m pipelines.prepare` is the command that
does.
"""
import os
import pathlib
import re
from typing import Any, TYPE_CHECKING

import tensorflow as tf

from configs.process.errors import first_line, UserError
from pipelines import records

if TYPE_CHECKING:
  # Imported where it is used: the embedded digits do not need its start-up.
  import tensorflow_datasets as tfds


def builder(name: str, data_dir: str | None) -> 'tfds.core.DatasetBuilder':
  """Returns the builder of a prepared image-classification data set.

  Args:
    name: a TFDS name such as 'cifar10' or 'cifar10:3.0.2', or that of any
      prepared folder under data_dir.
    data_dir: the folder that holds data sets; None: TFDS's default.

  Raises:
    UserError: the data set is unknown, is not prepared, is prepared only in
      another version, or does not have 8-bit images with labels of at least
      two classes.
  """
  found = _builder(name, data_dir)
  _check_features(name, found.info.features)
  return found


def spans(found: 'tfds.core.DatasetBuilder', name: str,
          split: str) -> list[records.Span]:
  """Finds the records of a split.

  Args:
    found: what `builder` returned for `name`.
    name: of the data set.
    split: a split's name or a TFDS slice of one, such as 'train[:90%]'.

  Returns:
    Where the records are, in the order of the split; not empty.

  Raises:
    UserError: there is no such split, or it is empty or not in TFRecord files.
  """
  there = ', '.join(sorted(found.info.splits))
  try:
    info = found.info.splits[split]
    instructions = info.file_instructions if info.num_examples else []
  except (KeyError, ValueError, AssertionError) as error:
    raise UserError(
        f'Split {split!r} of {name} does not exist: choose one of {there}, or '
        "a slice such as 'train[:90%]'.") from error
  if not instructions:
    raise UserError(
        f'Split {split!r} of {name} is empty: choose one of {there}, or a '
        'slice with at least one example.')
  file_format = found.info.file_format
  if file_format is not None and file_format.value != 'tfrecord':
    raise UserError(
        f'{found.data_dir} holds {file_format.value} files, but only TFRecord '
        'files can be read: prepare the data set again in another --data_dir, '
        f'with {prepare_command(name, "DIR")}.')
  return [records.Span(os.fspath(i.filename), i.skip, i.take,
                       i.examples_in_shard) for i in instructions]


def remedy(found: 'tfds.core.DatasetBuilder', name: str) -> str:
  """Says what to do about a damaged file: the end of a sentence."""
  from tensorflow_datasets.core import read_only_builder
  folder = pathlib.Path(found.data_dir)
  if isinstance(found, read_only_builder.ReadOnlyBuilder):
    # A user's own data set: how it was prepared is not known here.
    return f'delete {folder} and prepare it again as before'
  return (f'delete {folder} and prepare it again with '
          f'{prepare_command(name, folder.parents[1])}')


def prepare_command(name: str, data_dir: str | os.PathLike) -> str:
  """Returns the command that prepares a data set, to be shown to the user."""
  return (f'`python -m pipelines.prepare --dataset={name} '
          f'--data_dir={data_dir}`')


def default_folder(data_dir: str | None) -> str:
  """Returns data_dir with ~ expanded; TFDS's default folder for None."""
  from tensorflow_datasets.core import constants
  return os.path.expanduser(data_dir or constants.DATA_DIR)


def _builder(name, data_dir) -> Any:
  """Returns the builder that TFDS or a prepared folder has under a name."""
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import registered
  data_dir = default_folder(data_dir)
  if '://' in data_dir:
    raise UserError(
        f'--data_dir={data_dir} is not a folder on this machine: mount the '
        'bucket as a folder, or copy the data set to a local disk.')
  name_alone, _, version = name.partition(':')
  there = pathlib.Path(data_dir, name_alone, version)
  if version and (there / 'dataset_info.json').exists():
    # Any version on disk can be read, but TFDS's code only knows its own.
    return tfds.builder_from_directory(there)
  try:
    found = tfds.builder(name, data_dir=data_dir)
  except registered.DatasetNotFoundError as error:
    guess = re.search(r'Did you mean: .*-> (\w+)', str(error))
    hint = f' (did you mean {guess[1]}?)' if guess else ''
    raise UserError(
        f'Data set {name!r} is unknown{hint}: choose digits, an image data set '
        'of TFDS such as cifar10, or one that is prepared under '
        f'--data_dir={data_dir}.') from error
  except (ValueError, AssertionError) as error:
    raise UserError(
        f'Data set {name!r} cannot be opened under --data_dir={data_dir} '
        f'({first_line(error)}; {_versions(name_alone, data_dir)}): choose '
        'another --config.data.name.') from error
  if not found.is_prepared():
    raise _not_prepared(found, name, data_dir)
  return found


def _not_prepared(found, name, data_dir):
  info = os.path.join(found.data_dir, 'dataset_info.json')
  return UserError(
      f'Data set {name} {found.version} is not prepared under '
      f'--data_dir={data_dir} (there is no {info}; '
      f'{_versions(name.partition(":")[0], data_dir)}): training never '
      f'downloads data, so run {prepare_command(name, data_dir)} on a machine '
      'with internet access, or use the embedded digits with '
      '--config=digits_resnet8.')


def _versions(name, data_dir):
  """Lists the prepared versions of a data set, as a part of a sentence."""
  found = sorted(path.parent.name for path in pathlib.Path(
      data_dir, name).glob('*/dataset_info.json'))
  if not found:
    return 'versions found: none'
  return (f'versions found: {", ".join(found)}, usable as '
          f'--config.data.name={name}:{found[-1]}')


def _check_features(name, features):
  import tensorflow_datasets as tfds
  kinds = {'image': tfds.features.Image, 'label': tfds.features.ClassLabel}
  if not all(key in features and isinstance(features[key], kind)
             for key, kind in kinds.items()):
    raise UserError(
        f'Data set {name} has the features {", ".join(features)}: choose an '
        'image-classification data set, which has an image and a label.')
  image, label = features['image'], features['label']
  if image.tf_dtype != tf.uint8:
    raise UserError(
        f'Data set {name} has {image.tf_dtype.name} images: choose a data set '
        'with uint8 images.')
  if label.num_classes < 2:
    raise UserError(
        f'Data set {name} has {label.num_classes} class, so there is nothing '
        'to learn: choose a data set with at least two classes.')
