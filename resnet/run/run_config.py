"""Reads config.json of a run folder: what the run trains. No TensorFlow."""
import os
import pathlib

from configs import schema
from configs.process import json_file, typed_fields
from configs.process.errors import UserError

FILE = 'config.json'


def read(workdir: str | os.PathLike) -> schema.Config:
  """Reads the config of the run in `workdir`.

  Raises:
    json_file.Damaged: it is not the config of a run.
    UserError: there is no run, or it was written by another version.
    TryAgain: it cannot be read now.
  """
  path = pathlib.Path(workdir).expanduser() / FILE
  values = json_file.read(path)
  if values is None:
    raise UserError(
        f'--workdir={workdir} is not a run folder (there is no {path}): give '
        'the folder that `python -m resnet.train` wrote.')
  try:
    config = schema.from_dict(values)
  except typed_fields.WrongType as error:
    raise json_file.Damaged(path, str(error).rstrip('.')) from error
  try:
    typed_fields.check_types(config)
    typed_fields.check_limits(config)
  except UserError as error:
    raise json_file.Damaged(path, str(error).rstrip('.')) from error
  return config
