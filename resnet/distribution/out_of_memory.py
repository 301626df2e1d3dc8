"""What to do when a step needs more memory than its device has.

  with out_of_memory.explained('config.global_batch', 1024, replica_batch=128):
    run_steps()
"""
from collections.abc import Iterator
import contextlib
import re

import tensorflow as tf

from configs.process.errors import UserError

# What TensorFlow's and XLA's allocators say, up to the end of the line, unless
# it tells of another worker's error. The same type of error is also raised for
# full disks and too many open files.
_OF_MEMORY = re.compile(
    '^(?!.*Collective ops is aborted by).*?((?:OOM when allocating|'
    'Out of memory|out of memory|Failed to allocate|failed to allocate).*)',
    re.MULTILINE)
# Of an error that another one of this process, or of another worker, caused.
_DERIVED = b'type.googleapis.com/tensorflow.DerivedStatus'
_DEVICE = re.compile('device:([A-Z]+:[0-9]+)')
_LONGEST_CAUSE = 150  # Characters of TensorFlow's message that are shown.


@contextlib.contextmanager
def explained(field: str, value: int, replica_batch: int) -> Iterator[None]:
  """Turns TensorFlow's error about too little memory into a sentence.

  Args:
    field: name of the field of the config that sets the size of batches.
    value: its value.
    replica_batch: images of a step on each replica.

  Raises:
    UserError: the block ran out of memory.
  """
  try:
    yield
  except tf.errors.ResourceExhaustedError as error:
    short = _OF_MEMORY.search(error.message)
    if not short or _DERIVED in error.experimental_payloads:
      raise
    raise UserError(
        _sentence(field, value, replica_batch, short[1])) from error


def _sentence(field, value, replica_batch, cause):
  device = _DEVICE.search(cause)
  where = device[1] if device else 'its device'
  smaller = f'lower {field}, ' if replica_batch > 1 else ''
  return (
      f'A step of {replica_batch} images on each replica ({field}={value}) '
      f'needs more memory than is free on {where} '
      f'({cause[:_LONGEST_CAUSE].rstrip(". ")}): {smaller}use more '
      'devices, set config.precision=bfloat16 if it is float32, or end other '
      'processes that use the memory.')
