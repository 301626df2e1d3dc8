"""Finds prepared TFDS data sets; says in a sentence what is wrong with them.

Never touches the network: `python -m pipelines.prepare` is the command that
does.
"""
import os
import pathlib
import re

import tensorflow as tf

from configs.process.errors import UserError
from pipelines import records


def builder(name, data_dir):
  """The TFDS builder of a prepared image-classification data set.

  Args:
    name: a TFDS name such as 'cifar10' or 'cifar10:3.0.2', or that of any
      prepared folder under data_dir.
    data_dir: where data sets are prepared; None: TFDS's own default.

  Raises:
    UserError: it is unknown, not prepared, in another version only, or has no
      images of 8 bits with labels of two classes at least.
  """
  found = _builder(name, data_dir)
  _check_features(name, found.info.features)
  return found


def spans(found, name, split):
  """Where the records of a split are.

  Args:
    found: what `builder` returned for `name`.
    split: a split's name or a TFDS slice of one, such as 'train[:90%]'.

  Returns:
    list of records.Span, in the order of the split; not empty.

  Raises:
    UserError: there is no such split, it is empty, or not in TFRecord files.
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
        f'Split {split!r} of {name} is empty: choose a split or slice with at '
        f'least one example, of {there}.')
  file_format = found.info.file_format
  if file_format is not None and file_format.value != 'tfrecord':
    raise UserError(
        f'{found.data_dir} holds {file_format.value} files: prepare it as '
        'TFRecord files in another --data_dir, with '
        f'{prepare_command(name, "DIR")}.')
  return [records.Span(os.fspath(i.filename), i.skip, i.take,
                       i.examples_in_shard) for i in instructions]


def remedy(found, name):
  """What to do about a damaged file of a data set: the end of a sentence."""
  import tensorflow_datasets as tfds
  folder = pathlib.Path(found.data_dir)
  if isinstance(found, tfds.core.read_only_builder.ReadOnlyBuilder):
    return f'delete {folder} and prepare it again as before'  # A user's own.
  return (f'delete {folder} and prepare it again with '
          f'{prepare_command(name, folder.parents[1])}')


def prepare_command(name, data_dir):
  """The command that prepares a data set, to be shown."""
  return (f'`python -m pipelines.prepare --dataset={name} '
          f'--data_dir={data_dir}`')


def _builder(name, data_dir):
  import tensorflow_datasets as tfds  # Late: digits need none of its start-up.
  data_dir = os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)
  if '://' in data_dir:
    raise UserError(
        f'--data_dir={data_dir} is no folder of this machine: mount the bucket '
        'as one, or copy the data set to a disk.')
  name_alone, _, version = name.partition(':')
  there = pathlib.Path(data_dir, name_alone, version)
  if version and (there / 'dataset_info.json').exists():
    # Whatever version lies there can be read; TFDS's code knows its own alone.
    return tfds.builder_from_directory(there)
  try:
    found = tfds.builder(name, data_dir=data_dir)
  except tfds.core.registered.DatasetNotFoundError as error:
    guess = re.search(r'Did you mean: .*-> (\w+)', str(error))
    hint = f' (did you mean {guess[1]}?)' if guess else ''
    raise UserError(
        f'Data set {name!r} is unknown{hint}: choose digits, or an image '
        'data set of TFDS such as cifar10, or one prepared under '
        f'--data_dir={data_dir}.') from error
  except (ValueError, AssertionError) as error:
    raise UserError(
        f'Data set {name!r} cannot be opened under --data_dir={data_dir} '
        f'({str(error).splitlines()[0]}; {_versions_sentence(name, data_dir)})'
        ': give another --config.data.name.') from error
  if not found.is_prepared():
    raise UserError(
        f'Data set {name} {found.version} is not prepared under '
        f'--data_dir={data_dir} (looked for '
        f'{os.path.join(found.data_dir, "dataset_info.json")}; '
        f'{_versions_sentence(name, data_dir)}): training never downloads; on '
        f'a machine with internet run {prepare_command(name, data_dir)}, or '
        'use the embedded one with --config=digits_resnet8.')
  return found


def _versions_sentence(name, data_dir):
  folder = pathlib.Path(data_dir) / name.partition(':')[0]
  found = sorted(p.parent.name for p in folder.glob('*/dataset_info.json'))
  if not found:
    return 'versions there: none'
  return (f'versions there: {", ".join(found)}, usable as '
          f'--config.data.name={name.partition(":")[0]}:{found[-1]}')


def _check_features(name, features):
  import tensorflow_datasets as tfds
  kinds = {'image': tfds.features.Image, 'label': tfds.features.ClassLabel}
  if not all(key in features and isinstance(features[key], kind)
             for key, kind in kinds.items()):
    raise UserError(
        f'Data set {name} has the features {", ".join(features)}: choose an '
        'image-classification data set, one with an image and a label.')
  image, label = features['image'], features['label']
  if image.tf_dtype != tf.uint8:
    raise UserError(
        f'Data set {name} has images of {image.tf_dtype.name}: choose one of '
        'uint8.')
  if label.num_classes < 2:
    raise UserError(
        f'Data set {name} has {label.num_classes} class: choose one with two '
        'at least, or there is nothing to tell apart.')
