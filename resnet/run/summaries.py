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
import platform
import re
import time
from typing import Any

from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.scalar import summary_v2 as scalar_summary
from tensorboard.plugins.text import summary_v2 as text_summary
from tensorboard.summary.writer import record_writer

from configs.process import atomic_file, command_line, errors, json_file
from resnet.run.events import hparams

_SPLITS = ('train', 'eval')
_LAST_SECS = 10**10 - 10**9  # Of times that are not damaged: in 2255.
# TensorBoard reads files in the order of their names. '~' comes after digits.
_PREFIX = 'events.out.tfevents.'
_EVENTS = re.compile(re.escape(_PREFIX) + r'(~?)(\d{10})\..*')

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
    self._chief, self._workdir = chief, workdir
    path = workdir / 'metrics.jsonl'
    found = read(path) if chief else load(path)[0]
    self.records = [r for r in found if r['step'] <= first_step]
    self._now = _Forward(clock, max((r.get('time', 0) for r in found),
                                    default=0))
    self._events = {}
    if chief:
      with errors.writing(workdir):
        self._open(path, first_step)

  def _open(self, path, first_step):
    """Opens the files, and marks in the events where the run continues."""
    _rewrite(path, self.records)
    self._file = path.open('a', encoding='utf-8')
    for split in _SPLITS:
      self._events[split] = _open_events(self._workdir / split, self._now)
      self._add(split, self._now(), file_version='brain.Event:2')
      # At this mark, readers drop earlier events that have a later step.
      self._add(split, self._now(), step=first_step + 1,
                session_log=_SessionLog(status=_SessionLog.START))

  def write(self, split: str, step: int, values: Mapping[str, float]) -> None:
    """Writes scalars. They are on disk when it returns.

    Args:
      split: 'train' or 'eval'.
      step: updates done.
      values: {tag: number}.
    """
    now = self._now()
    record = {'split': split, 'step': step, 'time': now, **values}
    self.records.append(record)
    if not self._chief:
      return
    with errors.writing(self._workdir / 'metrics.jsonl'):
      self._file.write(json.dumps(record) + '\n')
      self._file.flush()
    for tag, value in values.items():
      self._add(split, now, step=step,
                summary=scalar_summary.scalar_pb(tag, value))
    self._flush(split)

  def write_text(self, tag: str, text: str, step: int = 0) -> None:
    """Writes a text for TensorBoard. Only the chief may call it."""
    self._add('train', self._now(), step=step,
              summary=text_summary.text_pb(tag, text))
    self._flush('train')

  def write_settings(self, settings: Mapping[str, Any]) -> None:
    """Writes for TensorBoard's HParams tab what is trained; see hparams.start.

    Only the chief may call it.
    """
    now = self._now()
    self._add('eval', now, step=0, summary=hparams.start(settings, now))
    self._flush('eval')

  def write_success(self, step: int) -> None:
    """Writes for TensorBoard's HParams tab that all steps are done."""
    if self._chief:
      now = self._now()
      self._add('eval', now, step=step, summary=hparams.success(now))

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

  def _add(self, split, wall_time, **fields):
    with errors.writing(self._workdir / split):
      self._events[split].write(_Event(
          wall_time=wall_time, **fields).SerializeToString())

  def _flush(self, split):
    with errors.writing(self._workdir / split):
      self._events[split].flush()


class _Forward:
  """A clock that never goes back: where it would, it counts on from before."""

  def __init__(self, clock: Callable[[], float], last: float):
    self._clock, self.last, self._read_at = clock, last, time.monotonic()

  def __call__(self) -> float:
    now, passed = self._clock(), time.monotonic() - self._read_at
    self.last = now if now >= self.last else self.last + passed
    self._read_at += passed
    return self.last

  def start_from(self, last: float) -> None:
    """Makes it go on from `last`, if it would go on from earlier."""
    self.last = max(self.last, last)


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


def _open_events(folder, now):
  """Opens a new file of events, which readers put after those that are there.

  TensorBoard's own writer is not used: it is a thread, and prints a stack for
  each error.

  Args:
    folder: its folder, which need not exist.
    now: a _Forward.
  """
  folder.mkdir(exist_ok=True)
  there = sorted(
      match.groups() for match in map(_EVENTS.fullmatch, os.listdir(folder))
      if match)
  mark, secs = '', int(now())
  if there:
    mark, last = there[-1][0], int(there[-1][1])
    if last < _LAST_SECS:
      now.start_from(last)
      secs = max(int(now()), last + 1)
    else:  # Not a time: another program's.
      mark = '~'
  name = f'{_PREFIX}{mark}{secs:010d}.{platform.node()}.{os.getpid()}'
  return record_writer.RecordWriter((folder / name).open('ab'))


def _rewrite(path, records):
  atomic_file.write(path, ''.join(json.dumps(r) + '\n' for r in records))
