"""What a run writes while it trains: TensorBoard events and metrics.jsonl.

One line of metrics.jsonl, and one step of events, for each log point and each
evaluation. A resumed run first drops what lies after its checkpoint, so that
each step stands there once, as if the run had never stopped.
"""
import json
import os
import pathlib
import platform
import time

from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.scalar import summary_v2 as scalar_summary
from tensorboard.plugins.text import summary_v2 as text_summary
from tensorboard.summary.writer import record_writer

from configs.process import atomic_file
from resnet.run import hparams


class Summaries:
  """Writers of one run folder, opened at the step the run goes on from."""

  def __init__(self, workdir, first_step, clock=time.time, chief=True):
    """Args: workdir path; first_step int; clock -> Unix seconds; chief: whether
    to write, or only keep the same records as the one who does."""
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
      # Readers of events drop, at this mark, all that has a later step.
      self._add(split, step=first_step + 1, session_log=event_pb2.SessionLog(
          status=event_pb2.SessionLog.START))

  def write(self, split, step, values):
    """Writes scalars so that they are on disk when this returns.

    Args:
      split: 'train' or 'eval'.
      step: int, updates done.
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

  def write_text(self, tag, text):
    """Shows a text in TensorBoard, at step 0."""
    self._add('train', step=0, summary=text_summary.text_pb(tag, text))
    self._events['train'].flush()

  def write_settings(self, settings):
    """Shows in TensorBoard's HParams what is trained; see hparams.start."""
    self._add('eval', step=0,
              summary=hparams.start(settings, self._clock()))
    self._events['eval'].flush()

  def write_success(self, step):
    """Shows there that the run has come to its last step."""
    if self._chief:
      self._add('eval', step=step, summary=hparams.success(self._clock()))

  def has(self, split, step):
    """Whether that split's values of that step are written."""
    return any(r['split'] == split and r['step'] == step
               for r in reversed(self.records))

  def last_step(self, split):
    """The newest step written for a split; 0 if there is none."""
    return max((r['step'] for r in self.of(split)), default=0)

  def of(self, split):
    """The records of a split, oldest first."""
    return [r for r in self.records if r['split'] == split]

  def close(self):
    if self._chief:
      self._file.close()
    for writer in self._events.values():
      writer.close()

  def _add(self, split, **fields):
    self._events[split].write(event_pb2.Event(
        wall_time=self._clock(), **fields).SerializeToString())


def read(path):
  """The records of a metrics.jsonl; a torn last line is left out."""
  records = []
  if path.exists():
    for line in path.read_text().splitlines():
      try:
        records.append(json.loads(line))
      except ValueError:
        break
  return records


def best(records, count):
  """The `count` evaluation records of highest accuracy, best first."""
  return sorted(records, key=lambda r: (-r['accuracy'], r['step']))[:count]


def _open_events(folder, clock):
  """A new file of events; readers take those of a folder in order of names.

  TensorBoard's own writer is a thread, whose errors would be shown as stacks.
  """
  folder.mkdir(exist_ok=True)
  name = f'events.out.tfevents.{clock():010.0f}.{platform.node()}.{os.getpid()}'
  return record_writer.RecordWriter((folder / name).open('ab'))


def _rewrite(path, records):
  atomic_file.write(path, ''.join(json.dumps(r) + '\n' for r in records))
