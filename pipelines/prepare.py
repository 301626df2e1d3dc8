"""Prepares a data set for training: a public one, or your own pictures.

  python -m pipelines.prepare --dataset=cifar10 --data_dir=DIR
  python -m pipelines.prepare --image_folder=PICTURES --data_dir=DIR

The first command downloads the data set. The second reads
PICTURES/<class>/*.jpg, or PICTURES/{train,val,test}/<class>/*.jpg; see
pipelines/image_tree.py. Each is needed only once.
"""
from collections.abc import Mapping
import os
import shlex
import warnings

from absl import flags

from configs.process import command_line, paths, streams, tensorflow_process
from configs.process.errors import UserError
from pipelines import image_tree, tfds_name

_JPEG_QUALITY = 90
_ONLY_FOR_PICTURES = ('skip_bad_images', 'keep_orientation', 'max_side',
                      'jpeg_quality')


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
    prepare_pictures(
        os.fspath(paths.local(values.image_folder, '--image_folder')),
        values.dataset, values.data_dir,
        skip_bad_images=values.skip_bad_images,
        keep_orientation=values.keep_orientation, max_side=values.max_side,
        jpeg_quality=values.jpeg_quality or _JPEG_QUALITY)
    return command_line.DONE
  for name in _ONLY_FOR_PICTURES:
    if values[name].value:
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


def prepare_pictures(folder: str, name: str | None, data_dir: str | None, *,
                     skip_bad_images: bool, keep_orientation: bool,
                     max_side: int | None = None,
                     jpeg_quality: int = _JPEG_QUALITY) -> None:
  """Prepares a user's own pictures and prints the command that comes next.

  Args:
    folder: see pipelines/image_tree.py.
    name: of the data set; None: that of the folder.
    data_dir: as the flag.
    skip_bad_images: as the flag.
    keep_orientation: as the flag.
    max_side: as the flag.
    jpeg_quality: as the flag.

  Raises:
    UserError, TryAgain: see pipelines/image_tree.py and
      pipelines/image_folder.py.
  """
  tree = image_tree.scan(folder)
  with tensorflow_process.starting():
    import tensorflow as tf

    from pipelines import image_folder, picture_file, tfds_directory

  # Pillow warns, without a name, of damaged EXIF.
  warnings.filterwarnings('ignore', module='PIL')
  # Decoding runs on the CPU: a GPU that is training keeps its memory.
  tf.config.set_visible_devices([], 'GPU')
  data_dir = tfds_directory.default_folder(data_dir)
  name = name or image_tree.default_name(folder)
  reduction = max_side and picture_file.Reduction(max_side, jpeg_quality)
  changes = {'keep_orientation': keep_orientation,
             'reduction': reduction or None}
  builder = image_folder.find(tree, name, data_dir, **changes)
  if builder:
    print('Nothing to do: files with these names were prepared before. If '
          f'their contents have changed, delete {builder.data_dir} and rerun '
          'the same command.')
  else:
    builder = image_folder.prepare(
        tree, name, data_dir, skip_bad_images=skip_bad_images, **changes)
  print(f'{_sentence(builder)}. To train on it, run')
  print(' ', next_command(
      name, {split: info.num_examples
             for split, info in builder.info.splits.items()}, data_dir))


def next_command(name: str, splits: Mapping[str, int], data_dir: str) -> str:
  """Returns the command that trains on pictures of different sizes.

  Args:
    name: of the data set.
    splits: {name: examples}; the training split has two at least.
    data_dir: the folder that holds data sets.
  """
  evaluated = [split for split in ('validation', 'test') if split in splits]
  if evaluated:
    train, evaluate = 'train', evaluated[0]
  elif splits['train'] < 10:  # A tenth would round to nothing.
    train, evaluate = 'train[:-1]', 'train[-1:]'
  else:
    train, evaluate = 'train[:90%]', 'train[90%:]'
  return shlex.join([
      'python', '-m', 'resnet.train', '--config=imagenet_resnet50',
      f'--config.data.name={name}', f'--config.data.train_split={train}',
      f'--config.data.eval_split={evaluate}', f'--data_dir={data_dir}'])


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
