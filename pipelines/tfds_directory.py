"""Finds prepared TFDS data sets; an error says in one sentence what is wrong.

Never touches the network: `python -m pipelines.prepare` is the command that
does.
"""
import difflib
import os
import pathlib
import re
import shlex
from typing import Any, TYPE_CHECKING

from google.protobuf import json_format
import tensorflow as tf

from configs.process import paths
from configs.process.errors import first_line, UserError
from pipelines import records, tfds_name

# What TFDS raises for names that it cannot use and files that are damaged. It
# does not check what it reads from JSON.
OPENING_FAILURES = (
    ValueError, AssertionError, OSError, ImportError, json_format.Error,
    TypeError, KeyError, AttributeError)
_INFO = 'dataset_info.json'
_LIKE_REMOTE = (('gs',), ('s3',), ('az',), ('hf',))
_MOST_NAMES = 10  # Data sets that an error lists.
FORMATS = ('tfrecord', 'array_record')

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
  _check_features(name, found)
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
    UserError: there is no such split, or it is empty or in files of another
      format.
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
  if file_format(found) not in FORMATS:
    raise UserError(
        f'{found.data_dir} holds {file_format(found)} files, but only '
        f'{" and ".join(FORMATS)} files can be read: prepare the data set '
        'again in another --data_dir, with '
        f'{prepare_command(name, "DIR")}.')
  return [records.Span(os.fspath(i.filename), i.skip, i.take,
                       i.examples_in_shard) for i in instructions]


def file_format(found: 'tfds.core.DatasetBuilder') -> str:
  """Returns the format of the files: one of FORMATS, if they can be read."""
  given = found.info.file_format
  return 'tfrecord' if given is None else given.value


def remedy(found: 'tfds.core.DatasetBuilder', name: str) -> str:
  """Says what to do about a damaged file: the end of a sentence."""
  from tensorflow_datasets.core import read_only_builder
  folder = pathlib.Path(found.data_dir)
  if isinstance(found, read_only_builder.ReadOnlyBuilder):
    # A user's own data set: how it was prepared is not known here.
    return f'delete {folder} and prepare it again as before'
  # data_dir/name/version, or data_dir/name/configuration/version.
  data_dir = folder.parents[2 if found.builder_config else 1]
  return (f'delete {folder} and prepare it again with '
          f'{prepare_command(name, data_dir)}')


def prepare_command(name: str, data_dir: str | os.PathLike) -> str:
  """Returns the command that prepares a data set, to be shown to the user."""
  words = shlex.join(['python', '-m', 'pipelines.prepare', f'--dataset={name}',
                      f'--data_dir={os.fspath(data_dir)}'])
  return f'`{words}`'


def default_folder(data_dir: str | None) -> str:
  """Returns data_dir with ~ expanded; TFDS's default folder for None.

  TFDS would take /s3/data, where a bucket may be mounted, for s3://data. It
  leaves //s3/data alone, which is the same folder.

  Raises:
    UserError: it is not a local path, or there is no home folder for its ~.
  """
  if data_dir is not None:
    folder = paths.local(data_dir, '--data_dir')
  elif 'TFDS_DATA_DIR' in os.environ:
    folder = paths.local(os.environ['TFDS_DATA_DIR'], 'TFDS_DATA_DIR')
  else:
    folder = paths.local('~/tensorflow_datasets', '--data_dir')
  remote = folder.parts[0] == '/' and folder.parts[1:2] in _LIKE_REMOTE
  return f'/{folder}' if remote else f'{folder}'


def is_prepared(found: 'tfds.core.DatasetBuilder') -> bool:
  """Returns whether a data set is on disk.

  TFDS's own function takes a [ or * in the folder's name for a pattern.
  """
  return os.path.isfile(os.path.join(found.data_dir, _INFO))


def _builder(name, data_dir) -> Any:
  """Returns the builder that TFDS or a prepared folder has under a name."""
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import registered
  tfds_name.check(name, '--config.data.name')
  is_given, data_dir = data_dir is not None, default_folder(data_dir)
  name_alone, _, version = name.partition(':')
  there = os.path.join(data_dir, name_alone, version)
  try:
    if version and os.path.exists(os.path.join(there, _INFO)):
      # Any version on disk can be read, but TFDS's code only knows its own.
      return tfds.builder_from_directory(there)
    found = tfds.builder(name, data_dir=data_dir)
  except registered.DatasetNotFoundError as error:
    guess = re.search(r'Did you mean: .*-> (\w+)', str(error))
    raise _unknown(name, data_dir, is_given, guess and guess[1]) from error
  except OPENING_FAILURES as error:
    raise UserError(
        f'Data set {name!r} cannot be opened under --data_dir={data_dir} '
        f'({first_line(error)}; {_versions(name_alone, data_dir)}): choose '
        'another --config.data.name, or prepare it again if its files are '
        'damaged.') from error
  if not is_prepared(found):
    raise _not_prepared(found, name, data_dir, is_given)
  return found


def _unknown(name, data_dir, is_given, guess):
  """Returns the error for a name that neither TFDS nor data_dir knows."""
  folder = os.path.join(data_dir, name.partition(':')[0])
  if os.path.isdir(folder):
    there = sorted(path.name for path in pathlib.Path(folder).glob('*'))
    holds = ', '.join(there[:_MOST_NAMES]) or 'nothing that can be read'
    return UserError(
        f'Data set {name!r} cannot be opened: {folder} holds {holds}, but no '
        'folder of a version with dataset_info.json and features.json: give '
        'its configuration as well, in the form NAME/CONFIG, or prepare it '
        'again.')
  there = _prepared(data_dir)
  near = difflib.get_close_matches(
      name.partition(':')[0], [*there, *([guess] if guess else [])], n=1,
      cutoff=0.75)
  hint = f' (did you mean {near[0]}?)' if near else ''
  if there:
    holds = f'holds {", ".join(there[:_MOST_NAMES])}'
    holds += ', ...' * (len(there) > _MOST_NAMES)
  elif os.path.isdir(data_dir):
    holds = 'holds no prepared data set'
  else:
    holds = 'does not exist'
  where = (f'--data_dir={data_dir} {holds}' if is_given else
           f'--data_dir was not given (its default, {data_dir}, {holds})')
  return UserError(
      f'Data set {name!r} is unknown{hint}: TFDS has none of that name, and '
      f'{where}; choose digits, an image data set of TFDS such as cifar10, or '
      'give the --data_dir that holds it.')


def _prepared(data_dir):
  """Returns the names of all data sets that are prepared under a folder."""
  return sorted({
      path.relative_to(data_dir).parts[0]
      for levels in ('*/*', '*/*/*')  # name/version, name/config/version.
      for path in pathlib.Path(data_dir).glob(f'{levels}/dataset_info.json')})


def _not_prepared(found, name, data_dir, is_given):
  info = os.path.join(found.data_dir, 'dataset_info.json')
  return UserError(
      f'Data set {name} {found.version} is not prepared under '
      f'--data_dir={data_dir}{"" if is_given else ", the default,"} (there is '
      f'no {info}; '
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


def _check_features(name, found):
  import tensorflow_datasets as tfds
  features = found.info.features
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
  if len(set(label.names)) != label.num_classes:
    # TFDS keeps the names in a file, one a line and without spaces around them,
    # and overlooks that they are too few, too many or not distinct.
    raise UserError(
        f'Data set {name} has {label.num_classes} classes, but '
        f'{found.data_dir} has the class names {", ".join(label.names)}: '
        f'{remedy(found, name)}, under names that fit on one line each.')
  if label.num_classes < 2:
    raise UserError(
        f'Data set {name} has {label.num_classes} class, so there is nothing '
        'to learn: choose a data set with at least two classes.')
