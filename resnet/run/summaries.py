"""What a run writes while it trains: TensorBoard events and metrics.jsonl.

Each log point and each evaluation adds one line to metrics.jsonl, a record
{'split', 'step', 'time' (Unix seconds), name: number, ...}, and one step to the
events. A resumed run first drops what comes after its checkpoint. Each step is
thus written once, as if the run had never stopped.
"""
from collections.abc import Callable, Mapping, Sequence
import json
import os
import pathlib
import platform
import time
from typing import Any

from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.scalar import summary_v2 as scalar_summary
from tensorboard.plugins.text import summary_v2 as text_summary
from tensorboard.summary.writer import record_writer

from configs.process import atomic_file
from resnet.run import hparams

# Pyright does not see the names that protocol buffers define at run time.
_Event = event_pb2.Event  # pyright: ignore[reportAttributeAccessIssue]
_SessionLog = event_pb2.SessionLog  # pyright: ignore[reportAttributeAccessIssue]


class Summaries:
  """The summaries of one run folder, continued from a step of the run.

  Attributes:
    records: all records so far, oldest first.
  """

  def __init__(self, workdir: str | os.PathLike, first_step: int,
               clock: Callable[[], float] = time.time, chief: bool = True):
    """Reads what is there, and drops what comes after `first_step`.

    Args:
      workdir: path of the run folder.
      first_step: updates done before this process.
      clock: returns the Unix time in seconds.
      chief: whether to write. The other workers only keep the same records.
    """
    workdir = pathlib.Path(workdir)
    self._clock, self._chief = clock, chief
    path = workdir / 'metrics.jsonl'
    self.records = [r for r in read(path) if r['step'] <= first_step]
    self._events = {}
    if not chief:
      return
    _rewrite(path, self.records)
    self._file = path.open('a')
    for split in ('train', 'eval'):
      self._events[split] = _open_events(workdir / split, clock)
      self._add(split, file_version='brain.Event:2')
      # At this mark, readers drop earlier events that have a later step.
      self._add(split, step=first_step + 1,
                session_log=_SessionLog(status=_SessionLog.START))

  def write(self, split: str, step: int, values: Mapping[str, float]) -> None:
    """Writes scalars. They are on disk when it returns.

    Args:
      split: 'train' or 'eval'.
      step: updates done.
      values: {tag: number}.
    """
    record = {'split': split, 'step': step, 'time': self._clock(), **values}
    self.records.append(record)
    if not self._chief:
      return
    self._file.write(json.dumps(record) + '\n')
    self._file.flush()
    for tag, value in values.items():
      self._add(split, step=step,
                summary=scalar_summary.scalar_pb(tag, value))
    self._events[split].flush()

  def write_text(self, tag: str, text: str) -> None:
    """Writes a text for TensorBoard, at step 0. Only the chief may call it."""
    self._add('train', step=0, summary=text_summary.text_pb(tag, text))
    self._events['train'].flush()

  def write_settings(self, settings: Mapping[str, Any]) -> None:
    """Writes for TensorBoard's HParams tab what is trained; see hparams.start.

    Only the chief may call it.
    """
    self._add('eval', step=0,
              summary=hparams.start(settings, self._clock()))
    self._events['eval'].flush()

  def write_success(self, step: int) -> None:
    """Writes for TensorBoard's HParams tab that all steps are done."""
    if self._chief:
      self._add('eval', step=step, summary=hparams.success(self._clock()))

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
    if self._chief:
      self._file.close()
    for writer in self._events.values():
      writer.close()

  def _add(self, split, **fields):
    self._events[split].write(_Event(
        wall_time=self._clock(), **fields).SerializeToString())


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the records of a metrics.jsonl, without a torn last line."""
  records = []
  if path.exists():
    for line in path.read_text().splitlines():
      try:
        records.append(json.loads(line))
      except ValueError:
        break
  return records


def best(records: Sequence[dict[str, Any]], count: int
         ) -> list[dict[str, Any]]:
  """Returns the `count` evaluation records of highest accuracy, best first.

  Of two that are equally good, the earlier one comes first.
  """
  return sorted(records, key=lambda r: (-r['accuracy'], r['step']))[:count]


def _open_events(folder, clock):
  """Opens a new file of events. Readers sort the files of a folder by name.

  TensorBoard's own writer is not used: it is a thread, and prints a stack for
  each error.
  """
  folder.mkdir(exist_ok=True)
  name = f'events.out.tfevents.{clock():010.0f}.{platform.node()}.{os.getpid()}'
  return record_writer.RecordWriter((folder / name).open('ab'))


def _rewrite(path, records):
  atomic_file.write(path, ''.join(json.dumps(r) + '\n' for r in records))
