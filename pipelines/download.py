"""Downloads and prepares public TFDS data sets."""
import re
import urllib.parse

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered
from tensorflow_datasets.core.download import (
  download_manager,
  downloader,
  extractor,
)
from tensorflow_datasets.core.download import util as download_util

from configs.process.errors import first_line, UserError
from pipelines import tfds_directory, tfds_name, tfds_writing

# TFDS tries 10 times, which takes 205 s without a network. There is no option
# for it, only a constant in its downloader.
_RETRIES = 2
_PATTERNS = '*?[\\'  # What TensorFlow and Python expand in a file's name.


def prepare(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
  """Prepares a data set, unless it is prepared already.

  Args:
    name: TFDS name, with or without a configuration and a version.
    data_dir: the folder that holds data sets; created if it does not exist.

  Returns:
    Its builder.

  Raises:
    UserError: the name is unknown, the network cannot be reached, some files
      must be downloaded by hand, or the folder is not writable.
    TryAgain: the files cannot be written now.
  """
  builder = _find(name, data_dir)
  if tfds_directory.is_prepared(builder):
    return builder
  if any(c in data_dir for c in _PATTERNS):
    # Builders look for the files that they have unpacked by patterns, and would
    # find none, or those of another folder.
    raise UserError(
        f'--data_dir={data_dir} has one of {" ".join(_PATTERNS)} in its name, '
        'which TFDS would take for a pattern while it prepares a data set: '
        'give another folder; the prepared data set may then be moved here.')
  downloader.MAX_RETRIES = _RETRIES
  tfds_writing.begin()
  try:
    builder.download_and_prepare()
  except Exception as error:
    # Another process may just have prepared it.
    if not (isinstance(error, OSError) and tfds_directory.is_prepared(builder)):
      failure = _failure(name, data_dir, error)
      if failure is None:
        raise
      raise failure from error
  if not tfds_directory.is_prepared(builder):  # TFDS takes any folder for it.
    raise UserError(
        f'{builder.data_dir} exists, but it is not a prepared data set: delete '
        'it and rerun the same command.')
  return builder


def _find(name, data_dir):
  """Returns the builder of a name, whether prepared or not."""
  tfds_name.check(name, '--dataset')
  try:
    return tfds.builder(name, data_dir=data_dir)
  except registered.DatasetNotFoundError as error:
    raise UserError(
        f'--dataset={name} is unknown to TFDS: choose one from '
        'https://www.tensorflow.org/datasets/catalog.') from error
  except ImportError as error:
    raise _needs_package(name, error) from error
  except tfds_directory.OPENING_FAILURES as error:
    raise UserError(
        f'--dataset={name} cannot be opened ({_first_sentence(error)}): choose '
        'a configuration and version from '
        'https://www.tensorflow.org/datasets/catalog, or delete what is '
        f'damaged in {data_dir}.') from error


def _failure(name, data_dir, error):
  """Returns the error for what TFDS raised; None if it is unforeseen."""
  if isinstance(error, requests.exceptions.RequestException):
    return UserError(
        f'--dataset={name} could not be downloaded (no answer from '
        f'{_host(error)} in {_RETRIES + 1} attempts: {_cause(error)}): retry '
        'on a network that can reach it, or copy a prepared '
        f'{name} folder into {data_dir}.')
  if isinstance(error, (download_util.DownloadError, extractor.ExtractError,
                        download_manager.NonMatchingChecksumError)):
    return UserError(
        f'--dataset={name} could not be downloaded ({first_line(error)}): '
        f'retry later, or copy a prepared {name} folder into {data_dir}.')
  if isinstance(error, ImportError):
    return _needs_package(name, error)
  if isinstance(error, AssertionError):
    what = ('needs files that you must download yourself'
            if 'manual' in str(error).lower() else 'cannot be prepared by TFDS')
    return UserError(f'--dataset={name} {what}: {_first_sentence(error)}.')
  if isinstance(error, ValueError) and 'cannot be generated' in str(error):
    return UserError(f'--dataset={name} has a version that TFDS can no longer '
                     f'prepare: give {name.partition(":")[0]} alone.')
  cause = tfds_writing.cause(error)
  return tfds_writing.failure(data_dir, cause) if cause else None


def _needs_package(name, error):
  package = error.name or 'that cannot be imported'
  return UserError(
      f'--dataset={name} needs a Python package, {package} '
      f'({first_line(error)}): install it and rerun the same command.')


def _host(error):
  """Returns the host of the request that failed."""
  url = error.request.url if error.request is not None else ''
  return urllib.parse.urlparse(url).hostname or 'the host of the data set'


def _cause(error):
  """Returns why a request failed, without the layers around the reason."""
  reason = getattr(error.args[0] if error.args else error, 'reason', error)
  return re.sub(r'^\w+\(.*?\): ', '', first_line(reason))


def _first_sentence(error):
  text = ' '.join(str(error).split()).partition('. ')[0].rstrip('.')
  # TFDS puts the arguments of the call in front.
  return re.sub('^Failed to construct dataset .*?}": ', '', text)
