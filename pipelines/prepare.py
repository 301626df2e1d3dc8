"""Prepares a data set for training: a public one, or your own pictures.

  python -m pipelines.prepare --dataset=cifar10 --data_dir=DIR
  python -m pipelines.prepare --image_folder=PICTURES --data_dir=DIR

The first command downloads the data set. The second reads
PICTURES/<class>/*.jpg, or PICTURES/{train,val,test}/<class>/*.jpg; see
pipelines/image_tree.py. --labels=FILE.csv gives the classes of pictures in any
folders, see pipelines/label_table.py, and --split=80,10,10 divides them. Each
command is needed only once; the second prints the command that trains.
"""
from collections.abc import Sequence
import os
import warnings

from absl import flags

from configs.process import command_line, paths, streams, tensorflow_process
from configs.process.errors import UserError
from pipelines import (
  image_tree,
  label_table,
  next_command,
  picture_sizes,
  splitting,
  tfds_name,
)

_JPEG_QUALITY = 90
_ONLY_FOR_PICTURES = ('labels', 'split', 'split_seed', 'skip_bad_images',
                      'keep_orientation', 'max_side', 'jpeg_quality')


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the other arguments."""
  flags.DEFINE_string(
      'dataset', None, 'A TFDS name such as cifar10; with --image_folder, the '
      "name to give to the data set. Default: the folder's name.")
  flags.DEFINE_string(
      'data_dir', None, 'The folder to prepare the data set in. Default: '
      "TFDS's own, ~/tensorflow_datasets.")
  flags.DEFINE_string(
      'image_folder', None, 'Your own pictures: one folder for each class, '
      'optionally inside folders train, val and test.')
  flags.DEFINE_string(
      'labels', None, 'A CSV file with the columns file, label and, optionally,'
      ' split, which gives the class of each picture in --image_folder. '
      'Default: the folder that a picture is in is its class.')
  flags.DEFINE_string(
      'split', None, 'Divides the pictures of each class at random: the '
      'percentages of training, validation and test pictures, such as '
      '80,10,10, or of training and validation pictures, such as 90,10. '
      'Default: the folders or --labels decide.')
  flags.DEFINE_integer(
      'split_seed', None, 'Another --split of the same pictures for each. '
      'Default: 0.', lower_bound=0)
  flags.DEFINE_bool(
      'skip_bad_images', False, 'Leaves out pictures of --image_folder that '
      'cannot be read or decoded, and counts them, instead of stopping.')
  flags.DEFINE_bool(
      'keep_orientation', False, 'Leaves pictures of --image_folder as they '
      'are stored, instead of turning those upright whose EXIF says how.')
  flags.DEFINE_integer(
      'max_side', None, 'Reduces pictures of --image_folder whose longer side '
      'has more pixels than this, and stores them as JPEGs: training reads and '
      'decodes them faster. Default: pictures keep their size.',
      lower_bound=32, upper_bound=65500)  # The most that JPEG can hold.
  flags.DEFINE_integer(
      'jpeg_quality', None, 'The quality of the pictures that --max_side '
      f'reduces. Default: {_JPEG_QUALITY}.', lower_bound=1, upper_bound=100)
  return command_line.parse_flags(argv)


def main(others: list[str]) -> int:
  """Prepares the data set; returns the exit code."""
  command_line.refuse(others)
  streams.may_be_lost()  # What counts is in the data set.
  values = flags.FLAGS
  if values.data_dir is not None:
    paths.local(values.data_dir, '--data_dir')
  if values.jpeg_quality and not values.max_side:
    raise UserError('--jpeg_quality only applies to pictures that --max_side '
                    'reduces: add --max_side=512, say, or leave it out.')
  if values.image_folder is not None:
    _prepare_pictures(values)
    return command_line.DONE
  for name in _ONLY_FOR_PICTURES:
    if values[name].value != values[name].default:
      raise UserError(f'--{name} only applies to your own pictures: add '
                      '--image_folder, or leave it out.')
  if not values.dataset:
    raise UserError(
        '--dataset is missing: give a TFDS name such as --dataset=cifar10, or '
        'your own pictures with --image_folder.')
  if values.dataset == 'digits':
    print('The digits come with the package: there is nothing to prepare.')
    return command_line.DONE
  prepare_public(values.dataset, values.data_dir)
  return command_line.DONE


def prepare_public(name: str, data_dir: str | None) -> None:
  """Prepares a public data set and prints what there is now.

  Args:
    name: TFDS name, with or without a configuration and a version.
    data_dir: as the flag.

  Raises:
    UserError, TryAgain: see pipelines/download.py.
  """
  tfds_name.check(name, '--dataset')
  with tensorflow_process.starting():
    from pipelines import download, tfds_directory

  builder = download.prepare(name, tfds_directory.default_folder(data_dir))
  print(f'{_sentence(builder)}.')


def _prepare_pictures(values):
  """Checks the flags for pictures, and prepares them."""
  if values.split_seed is not None and values.split is None:
    raise UserError('--split_seed only applies to --split: add '
                    '--split=80,10,10, say, or leave it out.')
  prepare_pictures(
      os.fspath(paths.local(values.image_folder, '--image_folder')),
      values.dataset, values.data_dir,
      labels=(None if values.labels is None
              else os.fspath(paths.local(values.labels, '--labels'))),
      percentages=None if values.split is None else splitting.parse(
          values.split),
      split_seed=values.split_seed or 0,
      skip_bad_images=values.skip_bad_images,
      keep_orientation=values.keep_orientation, max_side=values.max_side,
      jpeg_quality=values.jpeg_quality or _JPEG_QUALITY)


def prepare_pictures(folder: str, name: str | None, data_dir: str | None, *,
                     labels: str | None = None,
                     percentages: Sequence[int] | None = None,
                     split_seed: int = 0, skip_bad_images: bool = False,
                     keep_orientation: bool = False,
                     max_side: int | None = None,
                     jpeg_quality: int = _JPEG_QUALITY) -> None:
  """Prepares a user's own pictures and prints the commands that come next.

  Args:
    folder: see pipelines/image_tree.py.
    name: of the data set; None: that of the folder.
    data_dir: as the flag.
    labels: see pipelines/label_table.py; None: the folders are the classes.
    percentages: see pipelines/splitting.py; None: the splits that are there.
    split_seed: as the flag.
    skip_bad_images: as the flag.
    keep_orientation: as the flag.
    max_side: as the flag.
    jpeg_quality: as the flag.

  Raises:
    UserError, TryAgain: see the modules above and pipelines/image_folder.py.
  """
  tree = (image_tree.scan(folder) if labels is None
          else label_table.scan(folder, labels))
  if percentages:
    tree = splitting.split(tree, percentages, split_seed)
  name = name or image_tree.default_name(folder)
  builder, data_dir = _write(
      tree, name, data_dir, skip_bad_images, keep_orientation,
      (max_side, jpeg_quality) if max_side else None)
  print(f'{_sentence(builder)}. To train on it, run')
  prepared = next_command.Prepared(
      name, data_dir,
      {split: info.num_examples for split, info in builder.info.splits.items()},
      picture_sizes.shorter_sides(tree, max_side))
  print(' ', next_command.from_scratch(prepared))
  print('or, to fine-tune a network from weights that you have,')
  print(' ', next_command.fine_tuning(prepared))


def _write(tree, name, data_dir, skip_bad_images, keep_orientation, reduction):
  """Prepares a tree, unless it is prepared; returns (builder, data_dir)."""
  with tensorflow_process.starting():
    import tensorflow as tf

    from pipelines import image_folder, picture_file, tfds_directory

  # Pillow warns, without a name, of damaged EXIF.
  warnings.filterwarnings('ignore', module='PIL')
  # Decoding runs on the CPU: a GPU that is training keeps its memory.
  tf.config.set_visible_devices([], 'GPU')
  data_dir = tfds_directory.default_folder(data_dir)
  changes = {'keep_orientation': keep_orientation,
             'reduction': picture_file.Reduction(*reduction) if reduction
             else None}
  builder = image_folder.find(tree, name, data_dir, **changes)
  if not builder:
    return image_folder.prepare(
        tree, name, data_dir, skip_bad_images=skip_bad_images,
        **changes), data_dir
  print('Nothing to do: files with these names were prepared before. If their '
        f'contents have changed, delete {builder.data_dir} and rerun the same '
        'command.')
  return builder, data_dir


def _sentence(builder):
  """Says what was prepared, where, and the size of each split."""
  splits = ', '.join(f'{split} {info.num_examples}'
                     for split, info in sorted(builder.info.splits.items()))
  return (f'{builder.info.full_name} is prepared in {builder.data_dir} '
          f'(examples: {splits})')


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
