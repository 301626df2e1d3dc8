"""Which programs train: the versions of libraries, and the project's own code.
"""
import hashlib
import json
import pathlib
import platform

import keras
import tensorflow as tf

from configs import schema


def identity(config: schema.Config) -> dict[str, list[bytes]]:
  """Returns what must be the same in all processes of a run.

  Returns:
    {what: [content]}, as Group.check_same takes it.
  """
  return {
      'config fields': [json.dumps(schema.to_dict(config)).encode()],
      'versions of Python, TensorFlow or Keras': [
          json.dumps(versions()).encode()],
      'source files': [code_digest().encode()]}


def versions() -> dict[str, str]:
  """Returns the versions in use: {'python', 'tensorflow', 'keras'}."""
  return {'python': platform.python_version(), 'tensorflow': tf.__version__,
          'keras': keras.__version__}


def code_digest() -> str:
  """Returns a digest of all source files that can change what is trained."""
  root = pathlib.Path(__file__).parents[2]
  code = hashlib.sha256()
  for package in ('configs', 'launch/cluster', 'pipelines', 'resnet'):
    for path in sorted((root / package).rglob('*.py')):
      code.update(f'{path.relative_to(root)}\0'.encode())
      code.update(path.read_bytes())
  return code.hexdigest()
