"""Prepares a data set, once, before training: a public one or your pictures.

  python -m pipelines.prepare --dataset=cifar10 --data_dir=DIR
  python -m pipelines.prepare --image_folder=PICTURES --data_dir=DIR

The first downloads it. The second reads PICTURES/<class>/*.jpg, or
PICTURES/{train,val,test}/<class>/*.jpg; see pipelines/image_folder.py.
"""
import os
import shlex
import urllib.parse

from absl import flags
import tensorflow as tf

from configs.process import command_line
from configs.process.errors import UserError
from pipelines import image_folder

# TFDS tries 10 times and takes 205 s to give up without a network. No option
# of it sets that, only the constant in its downloader.
_RETRIES = 2


def parse(argv):
  """Defines and reads the flags; returns the other arguments."""
  flags.DEFINE_string('dataset', None, 'A TFDS name such as cifar10; with '
                      "--image_folder: what to call it, none: the folder's "
                      'name.')
  flags.DEFINE_string('data_dir', None, "Where to prepare it; none: TFDS's "
                      'default, ~/tensorflow_datasets.')
  flags.DEFINE_string('image_folder', None, 'Your own pictures, a folder for '
                      'each class, perhaps in folders train, val and test.')
  flags.DEFINE_bool('skip_bad_images', False, 'Leave those of --image_folder '
                    'that cannot be decoded out.')
  return command_line.parse_flags(argv)


def main(others):
  """Prepares the data set; returns the exit code."""
  command_line.refuse(others)
  name, data_dir = flags.FLAGS.dataset, flags.FLAGS.data_dir
  if flags.FLAGS.image_folder is not None:
    prepare_pictures(flags.FLAGS.image_folder, name, data_dir,
                     flags.FLAGS.skip_bad_images)
    return command_line.DONE
  if flags.FLAGS.skip_bad_images:
    raise UserError(
        '--skip_bad_images is for your own pictures: add --image_folder.')
  if not name:
    raise UserError(
        '--dataset is missing: give a TFDS name such as --dataset=cifar10, or '
        'your own pictures with --image_folder.')
  if name == 'digits':
    print('The digits come with the package: nothing to prepare.')
    return command_line.DONE
  print(_sentence(prepare(name, data_dir)))
  return command_line.DONE


def prepare(name, data_dir):
  """Prepares a data set unless it is; returns its TFDS builder.

  Args:
    name: TFDS name, with or without a version.
    data_dir: folder, made if it does not exist; None: TFDS's default.

  Raises:
    UserError: unknown name, no network, files to be fetched by hand, or a
      folder that cannot be written.
  """
  import requests
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core.download import downloader
  downloader.MAX_RETRIES = _RETRIES
  data_dir = _data_dir(data_dir)
  try:
    builder = tfds.builder(name, data_dir=data_dir)
    builder.download_and_prepare()
  except tfds.core.registered.DatasetNotFoundError as error:
    raise UserError(
        f'--dataset={name} is unknown to TFDS: choose one of '
        'https://www.tensorflow.org/datasets/catalog.') from error
  except requests.exceptions.RequestException as error:
    raise UserError(
        f'--dataset={name} could not be downloaded: no answer from '
        f'{_host(error)} in {_RETRIES + 1} attempts; try again with a network '
        f'that reaches it, or copy a prepared {name} folder into '
        f'{data_dir}.') from error
  except FileExistsError:  # Another process has just prepared it.
    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
      raise
  except AssertionError as error:  # Files that TFDS may not download itself.
    raise UserError(
        f'--dataset={name} needs files that you fetch by hand: '
        f'{_first_sentence(error)}.') from error
  except OSError as error:
    raise UserError(
        f'--data_dir={data_dir} cannot be written ({error.strerror or error}):'
        ' give a folder you may write to.') from error
  return builder


def prepare_pictures(folder, name, data_dir, skip_bad_images):
  """Prepares a user's own pictures unless they are; prints what comes next.

  Args:
    folder: see pipelines/image_folder.py.
    name: what to call the data set; None: as the folder.
    data_dir, skip_bad_images: as the flags.

  Raises:
    UserError: see pipelines/image_folder.py.
  """
  # Decoding is for the CPU: a GPU that trains keeps its memory.
  tf.config.set_visible_devices([], 'GPU')
  folder, data_dir = os.path.expanduser(folder), _data_dir(data_dir)
  tree = image_folder.scan(folder)
  name = name or image_folder.default_name(folder)
  builder = image_folder.find(tree, name, data_dir)
  if builder:
    print('Nothing to do: files of these names were prepared before (should '
          f'their contents have changed, delete {builder.data_dir} first).')
  else:
    builder = image_folder.prepare(
        tree, name, data_dir, skip_bad_images=skip_bad_images)
  print(f'{_sentence(builder)}. Train with')
  print(' ', _next_command(name, list(builder.info.splits), data_dir))


def _next_command(name, splits, data_dir):
  """A command line that trains on pictures of differing sizes."""
  evaluated = [split for split in ('validation', 'test') if split in splits]
  train, evaluate = (
      ('train', evaluated[0]) if evaluated else ('train[:90%]', 'train[90%:]'))
  return shlex.join([
      'python', '-m', 'resnet.train', '--config=imagenet_resnet50',
      f'--config.data.name={name}', f'--config.data.train_split={train}',
      f'--config.data.eval_split={evaluate}', f'--data_dir={data_dir}'])


def _sentence(builder):
  """What was prepared, where, and how much of it."""
  splits = ', '.join(f'{split} {info.num_examples}'
                     for split, info in sorted(builder.info.splits.items()))
  return (f'{builder.info.full_name} is prepared in {builder.data_dir} '
          f'({splits} examples)')


def _data_dir(data_dir):
  import tensorflow_datasets as tfds
  return os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)


def _host(error):
  """The host of the request that failed."""
  url = error.request.url if error.request is not None else ''
  return urllib.parse.urlparse(url).hostname or 'the host of the data set'


def _first_sentence(error):
  return ' '.join(str(error).split()).partition('. ')[0].rstrip('.')


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
