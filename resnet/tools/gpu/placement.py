"""Operations of the training call that TensorFlow places on the CPU.

What XLA compiles is one operation. Some belong on the host: the counter of the
loop, the clock, and the iterator over batches.
"""
import collections
from collections.abc import Iterator
import contextlib
import os
import re
import tempfile

import tensorflow as tf

from configs.process import streams
from resnet.tools.gpu import target
from resnet.tools.gpu.job import Job

_LINE = re.compile(r'placer\.cc:\d+\] (.*): \((\w+)\): \S*/device:(\w+):(\d+)')
# They are made for the host, or compute nothing.
_EXPECTED = re.compile(
    '_?Arg|_?Retval|Const|NoOp|Identity|Placeholder|Timestamp|While|'
    'StatelessWhile|Iterator.*|.*Iterator|.*Dataset.*|OptionalGetValue|'
    'MultiDeviceIterator.*|.*Summary.*|DeleteIterator|Pack|Less|AddV2|Sub')
_SHOWN = 12  # Types of operations.


def measure(job: Job) -> None:
  """Trains a few steps and reads where TensorFlow says that it puts them."""
  tf.debugging.set_log_device_placement(True)  # Before devices are touched.
  target.prepare(job)
  count = min(job.count, 2)
  images = target.shape_of(job)
  config, source = target.constant(
      target.with_batch(job.config, job.batches[0], count), images)
  train = target.trained(
      config, target.strategy(job, count), source, job.jit)
  lines = []
  with _stderr(lines):
    train(0, 1, False)
  placed = list(placements(''.join(lines)))
  if not placed:
    raise RuntimeError('TensorFlow logged no placement')
  totals = collections.Counter(kind for _, _, kind in placed)
  for kind, number in sorted(totals.items()):
    job.found.add(f'operations on {kind}', number, measure='placed',
                  kind=kind, note=f'{count} replicas')
  if job.kind == 'CPU':
    job.found.add('on the CPU although there is a GPU', None,
                  note='there are no GPUs')
    return
  surprising = surprises(placed)
  job.found.add('on the CPU although there is a GPU',
                sum(surprising.values()), measure='surprising')
  for kind, number in surprising.most_common(_SHOWN):
    job.found.add(f'  {kind}', number)


def placements(text: str) -> Iterator[tuple[str, str, str]]:
  """Yields (name, type, 'CPU' or 'GPU') of the operations in a log."""
  for name, kind, device, _ in _LINE.findall(text):
    yield name, kind, device


def surprises(placed: list[tuple[str, str, str]]) -> collections.Counter:
  """Counts, by type, the operations on the CPU that do not belong there."""
  return collections.Counter(
      kind for _, kind, device in placed
      if device == 'CPU' and not _EXPECTED.fullmatch(kind))


@contextlib.contextmanager
def _stderr(lines: list[str]) -> Iterator[None]:
  """Puts what is written to file descriptor 2 in the block into a list."""
  streams.flush()
  before = os.dup(2)
  with tempfile.TemporaryFile('w+', encoding='utf-8',
                              errors='replace') as file:
    os.dup2(file.fileno(), 2)
    try:
      yield
    finally:
      os.dup2(before, 2)
      os.close(before)
    file.seek(0)
    lines += file
