"""What a run writes while it trains: TensorBoard events and metrics.jsonl.

Each log point and each evaluation adds one line to metrics.jsonl, a record
{'split', 'step', 'time' (Unix seconds), name: number, ...}, and one step to the
events. A resumed run first drops what comes after its checkpoint. Each step is
thus written once, as if the run had never stopped. Times never go back, even if
the clock of the machine does, or the run is resumed on one that is behind.
"""
from collections.abc import Callable, Mapping, Sequence
import json
import os
import pathlib
import time
from typing import Any, Protocol

from tensorboard.plugins.scalar import summary_v2 as scalar_summary
from tensorboard.plugins.text import summary_v2 as text_summary

from configs.process import atomic_file, command_line, errors, json_file
from resnet.run.events import hparams, tags
from resnet.run.events.forward_clock import ForwardClock
from resnet.run.events.writer import Writer

_SPLITS = ('train', 'eval')
_LAST_SECS = 10**10 - 10**9  # Of times that are not damaged: in 2255.


class Listener(Protocol):
  """What is given each record that the chief writes, see Summaries."""

  def follow(self, records: list[dict[str, Any]]) -> None:
    """Starts from the records so far, a list to which new ones are added."""

  def add(self, record: Mapping[str, Any]) -> None:
    """Takes a new record, the last of the list."""


class Summaries:
  """The summaries of one run folder, continued from a step of the run.

  Attributes:
    records: all records so far, oldest first.
  """

  def __init__(self, workdir: str | os.PathLike, first_step: int,
               clock: Callable[[], float] = time.time, chief: bool = True,
               listeners: Sequence[Listener] = ()):
    """Reads what is there, and drops what comes after `first_step`.

    Args:
      workdir: path of the run folder.
      first_step: updates done before this process.
      clock: returns the Unix time in seconds.
      chief: whether to write. The other workers only keep the same records.
      listeners: of the chief; each is given the records.
    """
    workdir = pathlib.Path(workdir)
    self._chief, self._workdir = chief, workdir
    path = workdir / 'metrics.jsonl'
    found = read(path) if chief else load(path)[0]
    self.records = [r for r in found if r['step'] <= first_step]
    self._now = ForwardClock(
        clock, max((r.get('time', 0) for r in found), default=0))
    self._events, self._listeners = {}, listeners if chief else ()
    if chief:
      with errors.writing(workdir):
        self._open(path, first_step)
    for listener in self._listeners:
      listener.follow(self.records)

  def _open(self, path, first_step):
    """Opens the files, and marks in the events where the run continues."""
    _rewrite(path, self.records)
    self._file = path.open('a', encoding='utf-8')
    for split in _SPLITS:
      self._events[split] = Writer(
          self._workdir / split, first_step, self._now)

  def write(self, split: str, step: int, values: Mapping[str, float]) -> None:
    """Writes scalars. They are on disk when it returns.

    Args:
      split: 'train' or 'eval'.
      step: updates done.
      values: {name: number}. TensorBoard shows a name as tags.tag(name).
    """
    now = self._now()
    record = {'split': split, 'step': step, 'time': now, **values}
    self.records.append(record)
    if not self._chief:
      return
    with errors.writing(self._workdir / 'metrics.jsonl'):
      self._file.write(json.dumps(record) + '\n')
      self._file.flush()
    self._events[split].write(step, *(
        scalar_summary.scalar_pb(tags.tag(name), value)
        for name, value in values.items()
        # Of an evaluation it would be the first metric of the HParams tab.
        if (split, name) != ('eval', 'epoch')), secs=now)
    for listener in self._listeners:
      listener.add(record)

  def write_summary(self, split: str, step: int, summary: Any) -> None:
    """Writes a summary_pb2.Summary for TensorBoard: pictures, histograms.

    It is on disk when this returns. Workers other than the chief do nothing.
    """
    if self._chief:
      self._events[split].write(step, summary)

  def write_text(self, tag: str, text: str, step: int = 0) -> None:
    """Writes a text for TensorBoard. Only the chief may call it."""
    self.write_summary('train', step, text_summary.text_pb(tag, text))

  def write_graph(self, graph: Any) -> None:
    """Writes a graph_pb2.GraphDef for TensorBoard. Only the chief may call it.
    """
    self._events['train'].write_graph(graph)

  def write_best(self, step: int, metric: str) -> None:
    """Writes to the events the figures of the best evaluation so far.

    The HParams tab shows them beside the last ones.

    Args:
      step: of the last evaluation.
      metric: see schema.Monitor.
    """
    if self._chief:
      record, = best(self.of('eval'), 1, metric)
      self._events['eval'].write(step, *(
          scalar_summary.scalar_pb(tags.tag(f'best_{name}'), record[name])
          for name in dict.fromkeys(('accuracy', 'loss', metric))))

  def write_settings(self, settings: Mapping[str, Any]) -> None:
    """Writes for TensorBoard's HParams tab what is trained; see hparams.start.

    Only the chief may call it.
    """
    self._events['eval'].write(0, hparams.start(
        settings, self._now(), self._workdir.resolve().name))

  def write_success(self, step: int) -> None:
    """Writes for TensorBoard's HParams tab that all steps are done."""
    if self._chief:
      self._events['eval'].write(step, hparams.success(self._now()))

  def has(self, split: str, step: int) -> bool:
    """Returns whether there is a record of a split at a step."""
    return any(r['split'] == split and r['step'] == step
               for r in reversed(self.records))

  def last_step(self, split: str) -> int:
    """Returns the newest step of a split that has a record; 0 without any."""
    return max((r['step'] for r in self.of(split)), default=0)

  def of(self, split: str) -> list[dict[str, Any]]:
    """Returns the records of a split, oldest first."""
    return [r for r in self.records if r['split'] == split]

  def close(self) -> None:
    """Closes the files."""
    with errors.writing(self._workdir):
      if self._chief:
        self._file.close()
      for writer in self._events.values():
        writer.close()


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the records of a metrics.jsonl, by their steps.

  Lines that are damaged are left out, with a warning. A last line without an
  end is what a killed process leaves: it is left out too.

  Raises:
    UserError, TryAgain: the file cannot be read.
  """
  records, damaged = load(path)
  if damaged:
    command_line.warn(
        f'{path} has {damaged} damaged line{"s" * (damaged > 1)}, left out: '
        'the figures of those steps are lost, the others are kept.')
  return records


def load(path: pathlib.Path) -> tuple[list[dict[str, Any]], int]:
  """Returns (records, number of damaged lines); otherwise as `read`."""
  records, damaged = [], 0
  *lines, last = (json_file.content_of(path) or b'').split(b'\n')
  for line in [*lines, last]:
    try:
      record = json.loads(line.decode())
    except (ValueError, RecursionError):  # Not UTF-8, or not JSON.
      record = None
    if _is_record(record):
      records.append(record)
    elif line and (line is not last or b'\0' in line):
      damaged += 1
  records.sort(key=lambda record: record['step'])
  return records, damaged


def _is_record(value):
  """Returns whether what was read is a record, as Summaries.write writes it."""
  if not (isinstance(value, dict) and value.get('split') in _SPLITS
          and json_file.is_whole(value.get('step'))):
    return False
  numbers = {name: v for name, v in value.items() if name != 'split'}
  loss = numbers.pop('loss', 0.0)  # May be infinite, of an evaluation.
  return (isinstance(loss, float) or json_file.is_number(loss)) and (
      all(map(json_file.is_number, numbers.values()))
      and 0 <= numbers.get('time', 0) < _LAST_SECS
      and (value['split'] == 'train'
           or 'accuracy' in numbers and 'examples' in numbers))


def best(records: Sequence[dict[str, Any]], count: int, metric: str
         ) -> list[dict[str, Any]]:
  """Returns the `count` best evaluation records, best first.

  Of two that are equally good, the earlier one comes first.

  Args:
    records: of the evaluations.
    count: how many to return.
    metric: see schema.Monitor; the smallest loss is the best.
  """
  sign = 1 if metric == 'loss' else -1
  return sorted(records, key=lambda r: (sign * r[metric], r['step']))[:count]


def _rewrite(path, records):
  atomic_file.write(path, ''.join(json.dumps(r) + '\n' for r in records))
