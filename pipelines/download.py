"""Downloads and prepares public TFDS data sets."""
import urllib.parse

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered
from tensorflow_datasets.core.download import downloader

from configs.process.errors import UserError

# TFDS tries 10 times, which takes 205 s without a network. There is no option
# for it, only a constant in its downloader.
_RETRIES = 2


def prepare(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
  """Prepares a data set, unless it is prepared already.

  Args:
    name: TFDS name, with or without a version.
    data_dir: the folder that holds data sets; created if it does not exist.

  Returns:
    Its builder.

  Raises:
    UserError: the name is unknown, the network cannot be reached, some files
      must be downloaded by hand, or the folder is not writable.
  """
  downloader.MAX_RETRIES = _RETRIES
  try:
    builder = tfds.builder(name, data_dir=data_dir)
    builder.download_and_prepare()
  except registered.DatasetNotFoundError as error:
    raise UserError(
        f'--dataset={name} is unknown to TFDS: choose one from '
        'https://www.tensorflow.org/datasets/catalog.') from error
  except requests.exceptions.RequestException as error:
    raise UserError(
        f'--dataset={name} could not be downloaded (no answer from '
        f'{_host(error)} in {_RETRIES + 1} attempts): retry on a network that '
        f'can reach it, or copy a prepared {name} folder into '
        f'{data_dir}.') from error
  except FileExistsError:  # Another process has just prepared it.
    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
      raise
  except AssertionError as error:  # Files that TFDS may not download itself.
    raise UserError(
        f'--dataset={name} needs files that you must download yourself: '
        f'{_first_sentence(error)}.') from error
  except OSError as error:
    raise UserError(
        f'--data_dir={data_dir} cannot be written ({error.strerror or error}): '
        'give a writable folder.') from error
  return builder


def _host(error):
  """Returns the host of the request that failed."""
  url = error.request.url if error.request is not None else ''
  return urllib.parse.urlparse(url).hostname or 'the host of the data set'


def _first_sentence(error):
  return ' '.join(str(error).split()).partition('. ')[0].rstrip('.')
