"""What is written can be read back, and each step is written once."""
import errno
import io
import json
import os
import platform

import pytest
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.summary.writer import record_writer
from tensorboard.util import tensor_util

from configs.process.errors import TryAgain, UserError
from resnet.run import summaries
from resnet.run.events import writer
from tests.configs.json_file_test import DAMAGES, shown


def _open(workdir, clock, first_step=0):
  clock.now += 100
  return summaries.Summaries(workdir, first_step, clock)


def _tensors(folder):
  """Returns {tag: events} as TensorBoard shows them."""
  reader = plugin_event_accumulator.EventAccumulator(
      str(folder),
      size_guidance={plugin_event_accumulator.TENSORS: 0})  # 0: all of them.
  reader.Reload()
  return {tag: reader.Tensors(tag) for tag in reader.Tags()['tensors']}


def _scalars(folder):
  """Returns {tag: [(step, value)]} as TensorBoard shows them."""
  return {
      tag: [(e.step, float(tensor_util.make_ndarray(e.tensor_proto)))
            for e in events]
      for tag, events in _tensors(folder).items()}


def _lines(workdir):
  return [json.loads(line)
          for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def test_values_are_on_disk_when_write_returns(tmp_path, clock):
  written = _open(tmp_path, clock)
  clock.now = 1200.5
  written.write('train', 10, {'loss': 0.5, 'epoch': 2})
  clock.now = 1201.5
  written.write('eval', 10, {'loss': 0.75, 'epoch': 2})

  assert _scalars(tmp_path / 'train') == {
      'quality/loss': [(10, 0.5)], 'optimizer/epoch': [(10, 2.0)]}
  assert _scalars(tmp_path / 'eval') == {'quality/loss': [(10, 0.75)]}
  assert _tensors(tmp_path / 'eval')['quality/loss'][0].wall_time == 1201.5
  assert _lines(tmp_path) == [
      {'split': 'train', 'step': 10, 'time': 1200.5, 'loss': 0.5, 'epoch': 2},
      {'split': 'eval', 'step': 10, 'time': 1201.5, 'loss': 0.75, 'epoch': 2}]
  written.close()


@pytest.mark.parametrize('size', [0, 1, 1000])
def test_records_are_those_of_tensorboards_own_writer(size):
  content, expected = os.urandom(size), io.BytesIO()
  record_writer.RecordWriter(expected).write(content)
  assert writer._record(content) == expected.getvalue()


def test_a_text_is_an_event_at_step_0(tmp_path, clock):
  written = _open(tmp_path, clock)
  written.write_text('config', 'seed 7')
  written.close()
  (event,) = _tensors(tmp_path / 'train')['config']
  assert event.step == 0
  assert tensor_util.make_ndarray(event.tensor_proto).item() == b'seed 7'
  assert not (tmp_path / 'metrics.jsonl').read_text()


def test_resuming_drops_what_comes_after_the_step(tmp_path, clock):
  written = _open(tmp_path, clock)
  for step in (10, 20, 30):
    written.write('train', step, {'loss': step / 8})
  written.write('eval', 20, {'accuracy': 0.5, 'examples': 9})
  written.write('eval', 30, {'accuracy': 0.75, 'examples': 9})
  written.close()

  written = _open(tmp_path, clock, first_step=20)
  assert [r['step'] for r in written.records] == [10, 20, 20]
  written.write('train', 30, {'loss': 100})
  written.close()

  assert _scalars(tmp_path / 'train') == {
      'quality/loss': [(10, 1.25), (20, 2.5), (30, 100)]}
  assert _scalars(tmp_path / 'eval') == {
      'quality/accuracy': [(20, 0.5)], 'quality/examples': [(20, 9)]}
  assert [(r['split'], r['step']) for r in _lines(tmp_path)] == [
      ('train', 10), ('train', 20), ('eval', 20), ('train', 30)]
  assert _lines(tmp_path)[-1]['loss'] == 100


def test_resuming_without_a_checkpoint_starts_over(tmp_path, clock):
  written = _open(tmp_path, clock)
  written.write_text('config', 'seed 7')
  written.write('train', 10, {'loss': 0.5})
  written.close()

  _open(tmp_path, clock).close()

  shown = _tensors(tmp_path / 'train')
  # What is written at step 0 is written again by the run, and not shown twice.
  assert {tag: [e.step for e in events] for tag, events in shown.items()} == {
      'config': [], 'quality/loss': []}
  assert not _lines(tmp_path)


@pytest.mark.parametrize('torn', [
    '{"split": "train", "st', '{"split": "train", "step": 15', '\0\0\0'])
def test_torn_last_line_is_dropped(tmp_path, clock, torn):
  path = tmp_path / 'metrics.jsonl'
  whole = '{"split": "train", "step": 10}\n'
  path.write_text(whole + torn)
  assert summaries.read(path) == [{'split': 'train', 'step': 10}]

  written = _open(tmp_path, clock, first_step=20)
  written.write('train', 30, {'loss': 0.5})
  written.close()
  assert [r['step'] for r in _lines(tmp_path)] == [10, 30]
  assert path.read_text().startswith(whole)
  assert sorted(entry.name for entry in tmp_path.iterdir()) == [
      'eval', 'metrics.jsonl', 'train']


@pytest.mark.parametrize('content', [None, b'', b'\n', b'\n\n'])
def test_a_missing_or_empty_file_has_no_records(tmp_path, capsys, content):
  if content is not None:
    (tmp_path / 'metrics.jsonl').write_bytes(content)
  assert summaries.read(tmp_path / 'metrics.jsonl') == []
  assert capsys.readouterr().err == ''


_GOOD = {'split': 'eval', 'step': 10, 'time': 5.0, 'accuracy': 0.5,
         'examples': 9, 'loss': 0.5}


@pytest.mark.parametrize('line', [
    *(content for content in DAMAGES if content and b'\n' not in content),
    *(json.dumps(value).encode() for value in (
        *({**_GOOD, name: wrong} for name in _GOOD
          for wrong in ('a', None, True, [], {}, [1])),
        *({key: value for key, value in _GOOD.items() if key != name}
          for name in ('split', 'step', 'accuracy', 'examples')),
        {**_GOOD, 'split': 'test'}, {**_GOOD, 'step': -1},
        {**_GOOD, 'step': 1.5}, {**_GOOD, 'step': 2**63},
        {**_GOOD, 'time': -1}, {**_GOOD, 'time': 1e12},
        {**_GOOD, 'accuracy': float('nan')}, {**_GOOD, 'epoch': 10**400},
        {'split': 'train', 'step': 7, 'images_per_second': 'fast'})),
    b'{"split": "train", "step": 1e400}',
    b'{"split": "train", "step": 7, "images_per_second": 1e400}'], ids=shown)
def test_a_damaged_line_is_the_only_one_lost(tmp_path, clock, capsys, line):
  path = tmp_path / 'metrics.jsonl'
  before, after = ({'split': 'train', 'step': step, 'loss': 0.5}
                   for step in (5, 15))
  good = [json.dumps(record).encode() for record in (before, _GOOD, after)]
  path.write_bytes(b'\n'.join([good[0], line, *good[1:], b'']))
  assert summaries.read(path) == [before, _GOOD, after]
  assert capsys.readouterr().err == (
      f'warning: {path} has 1 damaged line, left out: the figures of those '
      'steps are lost, the others are kept.\n')
  written = _open(tmp_path, clock, first_step=15)
  assert written.records == [before, _GOOD, after]
  written.close()
  assert path.read_bytes() == b'\n'.join([*good, b''])


def test_damaged_lines_are_counted_once(tmp_path, capsys):
  path = tmp_path / 'metrics.jsonl'
  good = json.dumps(_GOOD).encode()
  # The last one is not merely torn: a power cut left zeros.
  path.write_bytes(b'\n'.join([b'5', good, b'\xff', b'{}', good, b'\0\0']))
  assert summaries.read(path) == [_GOOD, _GOOD]
  assert 'has 4 damaged lines' in capsys.readouterr().err
  summaries.Summaries(tmp_path, 10, chief=False)
  assert capsys.readouterr().err == ''  # The chief has said it.


def test_lines_out_of_order_are_put_in_order(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  lines = [{**_GOOD, 'step': step} for step in (30, 10, 20)]
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  assert [r['step'] for r in summaries.read(path)] == [10, 20, 30]


def test_an_infinite_loss_is_a_result(tmp_path, clock):
  written = _open(tmp_path, clock)
  written.write('eval', 10, {
      'loss': float('inf'), 'accuracy': 0.1, 'examples': 9})
  written.close()
  assert summaries.read(tmp_path / 'metrics.jsonl') == written.records


_DAY = 86400.0


@pytest.mark.parametrize('later', [
    100.0, 1.0, 0.0, -0.5, -1.0, -100.0, -_DAY, -400 * _DAY, 400 * _DAY])
@pytest.mark.parametrize('host, pid', [('b', 999), ('a', 1000), ('c', 7)])
def test_all_steps_are_shown_whatever_the_clock_says(
    tmp_path, monkeypatch, later, host, pid):
  """The run is resumed on another host, and once more on the first."""
  now = 1.7e9
  for first, clock, name, number in (
      (0, now, 'b', 999), (20, now + later, host, pid),
      (40, now, 'b', 1001)):
    monkeypatch.setattr(platform, 'node', lambda name=name: name)
    monkeypatch.setattr(os, 'getpid', lambda number=number: number)
    written = summaries.Summaries(tmp_path, first, lambda clock=clock: clock)
    for step in (first + 10, first + 20, first + 30):
      written.write('train', step, {'loss': step / 8})
    written.close()
  assert _scalars(tmp_path / 'train')['quality/loss'] == [
      (step, step / 8) for step in range(10, 80, 10)]
  times = [event.wall_time
           for event in _tensors(tmp_path / 'train')['quality/loss']]
  assert times == sorted(times)
  records = summaries.read(tmp_path / 'metrics.jsonl')
  assert [record['time'] for record in records] == times
  # A clock that is right is believed.
  assert times[0] == now and (later < 0 or times[2] == now + later)


def test_a_reader_that_is_watching_sees_a_resumed_run(tmp_path):
  reader = plugin_event_accumulator.EventAccumulator(str(tmp_path / 'train'))
  (tmp_path / 'train').mkdir()
  for first, clock in ((0, 2000.0), (20, 1000.0), (40, 1000.0)):
    written = summaries.Summaries(tmp_path, first, lambda clock=clock: clock)
    for step in (first + 10, first + 20):
      written.write('train', step, {'loss': 0.5})
      reader.Reload()
      assert [e.step for e in reader.Tensors('quality/loss')] == [
          *range(10, step + 10, 10)]
    written.close()


def test_a_clock_that_goes_back_meanwhile_counts_on(tmp_path, clock):
  written = _open(tmp_path, clock)
  written.write('train', 10, {'loss': 0.5})
  clock.now -= _DAY
  written.write('train', 20, {'loss': 0.5})
  clock.now += 2 * _DAY
  written.write('train', 30, {'loss': 0.5})
  written.close()
  first, second, third = (r['time'] for r in written.records)
  assert first <= second < first + 60 and third == clock.now


def test_files_of_other_programs_do_not_matter(tmp_path, clock):
  (tmp_path / 'train').mkdir()
  for name in ('events.out.tfevents.9999999999.host.1', 'notes.txt',
               'events.out.tfevents.x', 'tfevents'):
    (tmp_path / 'train' / name).touch()
  for first in (0, 10):
    written = _open(tmp_path, clock, first)
    written.write('train', first + 10, {'loss': 0.5})
    written.close()
  shown = _scalars(tmp_path / 'train')['quality/loss']
  assert [step for step, _ in shown] == [10, 20]
  assert written.records[-1]['time'] == clock.now


def test_without_metrics_the_time_of_the_events_counts(tmp_path, clock):
  written = _open(tmp_path, clock)
  written.write('train', 10, {'loss': 0.5})
  written.close()
  (tmp_path / 'metrics.jsonl').unlink()
  clock.now -= _DAY
  written = _open(tmp_path, clock, first_step=10)
  written.write('train', 20, {'loss': 0.5})
  assert written.records[-1]['time'] >= 1100
  written.close()


def test_records_are_found_by_split_and_step(tmp_path, clock):
  written = _open(tmp_path, clock)
  written.write('train', 10, {'loss': 0.5})
  written.write('eval', 10, {'loss': 0.75})
  written.write('train', 20, {'loss': 0.25})
  written.close()
  assert [r['loss'] for r in written.of('train')] == [0.5, 0.25]
  assert [r['loss'] for r in written.of('eval')] == [0.75]
  assert written.has('eval', 10) and written.has('train', 20)
  assert not written.has('eval', 20) and not written.has('train', 15)


def test_best_is_the_most_accurate_and_the_earliest_of_equals():
  records = [{'step': step, 'accuracy': accuracy} for step, accuracy in [
      (10, 0.5), (40, 0.75), (20, 0.75), (30, 0.25)]]
  steps = [r['step'] for r in summaries.best(records, 3, 'accuracy')]
  assert steps == [20, 40, 10]
  assert summaries.best(records, 0, 'accuracy') == []
  assert len(summaries.best(records, 9, 'accuracy')) == 4


def test_the_smallest_loss_is_the_best():
  records = [{'step': step, 'loss': loss}
             for step, loss in ((1, 2.0), (2, 0.5), (3, 1.0), (4, 0.5))]
  assert [r['step'] for r in summaries.best(records, 3, 'loss')] == [2, 4, 3]


@pytest.mark.parametrize('error, kind', [
    (errno.ENOSPC, UserError), (errno.EIO, TryAgain)])
@pytest.mark.parametrize('name', ['metrics.jsonl', 'train'])
def test_what_cannot_be_written_is_named(tmp_path, error, kind, name):
  written = summaries.Summaries(tmp_path, 0)

  class Full:
    """A file or writer of events that fails."""

    def write(self, _):
      raise OSError(error, os.strerror(error))

  if name == 'train':
    written._events['train']._file = Full()
  else:
    written._file = Full()
  with pytest.raises(kind) as raised:
    written.write('train', 1, {'loss': 1.0})
  assert f'{tmp_path}/{name} cannot be written ({os.strerror(error)})' in str(
      raised.value)
