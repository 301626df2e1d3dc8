"""What is written can be read back, and each step is written once."""
import json

import pytest
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util

from resnet.run import summaries


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
  written.write('eval', 10, {'loss': 0.75})

  assert _scalars(tmp_path / 'train') == {
      'loss': [(10, 0.5)], 'epoch': [(10, 2.0)]}
  assert _scalars(tmp_path / 'eval') == {'loss': [(10, 0.75)]}
  assert _tensors(tmp_path / 'eval')['loss'][0].wall_time == 1201.5
  assert _lines(tmp_path) == [
      {'split': 'train', 'step': 10, 'time': 1200.5, 'loss': 0.5, 'epoch': 2},
      {'split': 'eval', 'step': 10, 'time': 1201.5, 'loss': 0.75}]
  written.close()


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
      'loss': [(10, 1.25), (20, 2.5), (30, 100)]}
  assert _scalars(tmp_path / 'eval') == {
      'accuracy': [(20, 0.5)], 'examples': [(20, 9)]}
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
  assert {tag: [e.step for e in events] for tag, events in shown.items()} == {
      'config': [0], 'loss': []}
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


def test_a_missing_file_has_no_records(tmp_path):
  assert summaries.read(tmp_path / 'metrics.jsonl') == []


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
  steps = [r['step'] for r in summaries.best(records, 3)]
  assert steps == [20, 40, 10]
  assert summaries.best(records, 0) == []
  assert len(summaries.best(records, 9)) == 4
