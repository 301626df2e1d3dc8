"""Downloads and prepares a TFDS data set, once, before training.

  python -m pipelines.prepare --dataset=cifar10 --data_dir=DIR
"""
import os
import urllib.parse

from absl import flags

from configs import command_line
from configs.errors import UserError

# TFDS tries 10 times and takes 205 s to give up without a network. No option
# of it sets that, only the constant in its downloader.
_RETRIES = 2


def parse(argv):
  """Defines and reads the flags; returns the other arguments."""
  flags.DEFINE_string('dataset', None, 'A TFDS name such as cifar10.')
  flags.DEFINE_string('data_dir', None, "Where to prepare it; none: TFDS's "
                      'default, ~/tensorflow_datasets.')
  return command_line.parse_flags(argv)


def main(others):
  """Prepares the data set; returns the exit code."""
  command_line.refuse(others)
  name, data_dir = flags.FLAGS.dataset, flags.FLAGS.data_dir
  if not name:
    raise UserError(
        '--dataset is missing: give a TFDS name such as --dataset=cifar10.')
  if name == 'digits':
    print('The digits come with the package: nothing to prepare.')
    return command_line.DONE
  builder = prepare(name, data_dir)
  splits = ', '.join(f'{split} {info.num_examples}'
                     for split, info in sorted(builder.info.splits.items()))
  print(f'{builder.info.full_name} is prepared in {builder.data_dir} '
        f'({splits} examples)')
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
  data_dir = os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)
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
