"""Times the operations of a span of a program, with TensorFlow's profiler.

  with trace.recorded() as operations:
    ...
  operations[0].secs

The profiler writes an XSpace, whose protocol buffer ships with TensorFlow: a
plane for the host and one for each GPU, with a line of nested events for each
thread or stream.
"""
from collections.abc import Iterable, Iterator, Sequence
import contextlib
import itertools
import os
import pathlib
import re
import tempfile
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

_PROTOS: Any = xplane_pb2  # Its classes are made when it is imported.
_HOST, _GPU = '/host:CPU', '/device:GPU:'
# They wait for operations of other threads, which have events of their own.
_CALLS = re.compile(
    '__inference_.*|__forward_.*|__backward_.*|.*PartitionedCall|'
    '(Stateless)?(While|If|Case)|_XlaRun|_XlaCompile|XlaLaunch')


class Operation(NamedTuple):
  """One operation, over all of its runs."""
  name: str  # In the graph, or in the program that XLA compiled.
  kind: str  # 'Conv2D', or 'xla convolution'.
  count: int
  secs: float  # Without the operations that it ran itself.


@contextlib.contextmanager
def recorded() -> Iterator[list[Operation]]:
  """Records what runs in the block; the list is filled when the block ends."""
  operations = []
  with tempfile.TemporaryDirectory() as folder:
    start(folder)
    try:
      yield operations
    finally:
      tf.profiler.experimental.stop()
    operations += parse(file_in(folder).read_bytes())


def start(folder: str | os.PathLike) -> None:
  """Begins to record what this process runs.

  `tf.profiler.experimental.stop` ends it, and writes into the folder.

  Raises:
    tf.errors.OpError: it cannot; another session is active, say.
  """
  tf.profiler.experimental.start(
      os.fspath(folder), tf.profiler.experimental.ProfilerOptions(
          host_tracer_level=2, python_tracer_level=0, device_tracer_level=1))


def file_in(folder: str | os.PathLike) -> pathlib.Path:
  """Returns the newest trace in a folder, an XSpace.

  Raises:
    FileNotFoundError: there is none.
  """
  found = sorted(pathlib.Path(folder).rglob('*.xplane.pb'),
                 key=lambda path: path.stat().st_mtime)
  if not found:
    raise FileNotFoundError('the profiler has written no trace')
  return found[-1]


def merged(parts: Iterable[Sequence[Operation]]) -> list[Operation]:
  """Returns the operations of several traces together, the longest first."""
  totals = {}
  for name, kind, count, secs in itertools.chain.from_iterable(parts):
    before, spent = totals.get((name, kind), (0, 0.0))
    totals[name, kind] = before + count, spent + secs
  return _sorted(totals)


def has_gpus(data: bytes) -> bool:
  """Returns whether a serialized XSpace has what GPUs did."""
  return any(plane.name.startswith(_GPU)
             for plane in _PROTOS.XSpace.FromString(data).planes)


def parse(data: bytes) -> list[Operation]:
  """Returns the operations of a serialized XSpace, the longest first.

  Those of the GPUs, if there are any; else those of the host.
  """
  space = _PROTOS.XSpace.FromString(data)
  planes = [plane for plane in space.planes if plane.name.startswith(_GPU)]
  totals = {}
  for plane in planes or [p for p in space.planes if p.name == _HOST]:
    known = {number: _identify(plane, metadata.name, metadata.display_name)
             for number, metadata in plane.event_metadata.items()}
    for line in plane.lines:
      found = [(event.offset_ps, event.duration_ps, who)
               for event in line.events
               if (who := _of_event(plane, event, known))]
      for who, picoseconds in _own_times(found):
        count, total = totals.get(who, (0, 0))
        totals[who] = count + 1, total + picoseconds
  return _sorted({who: (count, total / 1e12)
                  for who, (count, total) in totals.items()})


def _sorted(totals):
  """Returns the operations of {(name, kind): (count, seconds)}."""
  return sorted(itertools.starmap(
      lambda who, sums: Operation(*who, *sums), totals.items()),
                key=lambda operation: -operation.secs)


def _identify(plane, name, kind):
  """Returns (name, kind) of an event that is an operation; None of others."""
  node, colon, last = name.rpartition(':')
  if colon and last == kind and not _CALLS.fullmatch(kind):
    return node, kind
  return (name, name) if plane.name.startswith(_GPU) else None


def _of_event(plane, event, known):
  """Returns (name, kind) of an event, or None; XLA's are known by a stat."""
  for stat in event.stats:
    name = plane.stat_metadata[stat.metadata_id].name
    if name in ('hlo_op', 'tf_op'):
      value = (plane.stat_metadata[stat.ref_value].name
               if stat.WhichOneof('value') == 'ref_value' else stat.str_value)
      if name == 'hlo_op':
        return value, f'xla {re.sub("[.][0-9.]+$", "", value)}'
      node, colon, kind = value.rpartition(':')
      return (node, kind) if colon else (value, value)
  return known[event.metadata_id]


def _own_times(events: Iterable[tuple]) -> Iterator[tuple[tuple, int]]:
  """Yields (who, picoseconds without those of nested events) of each event.

  Args:
    events: (offset, duration, who) of one thread: any two are apart, or one is
      nested in the other.
  """
  opened = []  # [end, who, own picoseconds]
  for offset, duration, who in sorted(
      events, key=lambda event: (event[0], -event[1])):
    while opened and opened[-1][0] <= offset:
      yield tuple(opened.pop()[1:])
    if opened:
      opened[-1][2] -= duration
    opened.append([offset + duration, who, duration])
  while opened:
    yield tuple(opened.pop()[1:])
