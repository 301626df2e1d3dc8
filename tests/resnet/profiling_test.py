"""--profile_steps records exactly the updates of its span, once."""
import errno
import functools
import json
import math
import os
import pathlib
import re
import signal
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from configs import schema
from configs.process.errors import UserError
from resnet import plan
from resnet.execution.options import Options
from resnet.run.events import tags
from resnet.run.measures.stopwatch import Stopwatch
from resnet.run.profiling import recording, trace
from resnet.run.profiling.span import Span
from tests import processes


@pytest.mark.parametrize('span, total, match', [
    ((40, 60), 50, r'--profile_steps=40:60 goes beyond the run, which ends '
     r'after step 50: give at most 40:50\.'),
    ((0, 3), 1, 'leave it out'),
    ((0, 1), 50, 'the first update alone, which compiles .*: give 1:2')])
def test_a_span_must_be_within_the_run(span, total, match):
  with pytest.raises(UserError, match=match):
    Span(*span).check(total)
  Span(40, 50).check(50)


def _calls(span, compiles, start=0, most=4, end=20):
  """Returns [(first, last, recorded)] of calls that make `most` updates."""
  calls, step = [], start
  while step < end:
    after = min(end, step + most, span.after(step, compiles))
    calls.append((step, after, span.records(step, compiles)))
    step = after
  return calls


def test_calls_end_at_the_span_and_one_that_compiles_is_not_recorded():
  first = lambda step: step == 0
  assert _calls(Span(6, 11), first) == [
      (0, 4, False), (4, 6, False), (6, 10, True), (10, 11, True),
      (11, 15, False), (15, 19, False), (19, 20, False)]
  assert _calls(Span(0, 3), first)[:3] == [
      (0, 1, False), (1, 3, True), (3, 7, False)]
  # A process that begins within the span, and a new image size at step 10.
  assert _calls(Span(6, 13), lambda step: step in (8, 10), 8)[:4] == [
      (8, 9, False), (9, 13, True), (13, 17, False), (17, 20, False)]
  assert Span(6, 13).after(13, first) == math.inf


class _Profiler:
  """Stands in for TensorFlow's: its trace has what ran while it was open."""

  def __init__(self, monkeypatch):
    self.ran, self._folder = None, ''
    monkeypatch.setattr(trace, 'start', self._start)
    monkeypatch.setattr(tf.profiler.experimental, 'stop', self._stop)

  def run(self, first, last):
    """Notes that updates ran."""
    if self.ran is not None:
      self.ran += range(first + 1, last + 1)

  def _start(self, folder):
    assert self.ran is None
    self.ran, self._folder = [], folder

  def _stop(self, save=True):
    space = xplane_pb2.XSpace()  # pyright: ignore[reportAttributeAccessIssue]
    plane = space.planes.add(name='/host:CPU')
    line = plane.lines.add()
    for update in self.ran or ():
      plane.event_metadata[update].name = f'update_{update}:Update'
      plane.event_metadata[update].display_name = 'Update'
      line.events.add(metadata_id=update, offset_ps=10**9 * update,
                      duration_ps=10**8)
    self.ran = None
    if save:
      path = pathlib.Path(self._folder, 'plugins', 'profile', 'now')
      path.mkdir(parents=True)
      (path / 'host.xplane.pb').write_bytes(space.SerializeToString())


@pytest.fixture
def profiler(monkeypatch):
  return _Profiler(monkeypatch)


class _Run:
  """What a Recording sees of a session.Session, and the calls of the loop."""

  def __init__(self, folder, profiler, step=0, span=(4, 10), rank=0,
               workers='chief', sizes=()):
    self.said, self._profiler = [], profiler
    self.step = self.first_step = step
    self.total_steps = 20
    self.config = schema.Config(
        global_batch=64, augment=schema.Augment(sizes=sizes))
    self.options = Options(profile_steps=span, profile_workers=workers)
    self.watch = Stopwatch()
    self.histograms = plan.every_steps(0)
    self.beat = types.SimpleNamespace(note=lambda *_: None)
    self.bar = types.SimpleNamespace(say=self.said.append)
    self.group = types.SimpleNamespace(
        rank=rank, count=2, is_chief=not rank, strategy=types.SimpleNamespace(
            extended=types.SimpleNamespace(worker_devices=['/device:CPU:0'])))
    self.profile = recording.Recording(
        self.options, folder, rank, self.total_steps)
    self.profile.announce(self)

  def train(self, end, most=4, evals=()):
    """Makes the calls of the loop up to a step; stops after it."""
    while self.step < end:
      if self.step in evals:
        self.profile.pause(self)
        self._profiler.run(100 + self.step, 101 + self.step)
      first = self.step
      last = int(min(end, first + most, self.profile.after(self),
                     *(step for step in (*evals, end) if step > first)))
      self.profile.begin(self)
      self._profiler.run(first, last)
      self.step = last
      self.profile.end(self, last, 0.1 * (last - first))


def _updates(folder):
  """Returns {path: updates in the trace} of all traces of a run folder."""
  return {os.fspath(path.relative_to(folder / 'plugins' / 'profile')):
          sorted(int(o.name.removeprefix('update_'))
                 for o in trace.parse(path.read_bytes()))
          for path in (folder / 'plugins').rglob('*.pb')}


def _host():
  return re.sub('[^A-Za-z0-9-]+', '-', os.uname().nodename)


def _files(folder):
  return sorted(os.fspath(path.relative_to(folder / 'profile'))
                for path in (folder / 'profile').rglob('*'))


def test_exactly_the_updates_of_the_span_are_recorded(tmp_path, profiler):
  run = _Run(tmp_path, profiler)
  run.train(20)
  assert _updates(tmp_path) == {
      f'steps_4_10/{_host()}_0.xplane.pb': [5, 6, 7, 8, 9, 10]}
  assert _files(tmp_path) == ['steps_4_10.txt']
  first, what, times, *rows = (
      tmp_path / 'profile' / 'steps_4_10.txt').read_text().splitlines()
  assert first == f'updates 5 to 10 of {tmp_path}'
  assert what.startswith('batches of 64, float32, --jit=auto, worker 0 of 2')
  assert times.startswith('6 steps took 100.0 ms each under the profiler; '
                          'operations take 0.1 ms of a step')
  assert rows[1] == '         1.0      0.100  100.0%  Update'
  assert [text.split()[0] for text in run.said] == [
      'profile', os.fspath(tmp_path / 'profile' / 'steps_4_10.txt;')]
  assert 'updates 5 to 10: 100.0 ms each' in run.said[0]


def test_evaluations_and_new_image_sizes_are_left_out(tmp_path, profiler):
  """The second of three sizes begins at step 7, and its first call compiles."""
  run = _Run(tmp_path, profiler, sizes=(8, 16, 24))
  run.train(7, evals=(5,))
  run.train(20, evals=(5, 14))
  name = f'{_host()}_0.xplane.pb'
  assert _updates(tmp_path) == {
      f'steps_4_5/{name}': [5], f'steps_5_7/{name}': [6, 7],
      f'steps_8_10/{name}': [9, 10]}
  text = (tmp_path / 'profile' / 'steps_4_10.txt').read_text()
  assert text.startswith('updates 5 to 5, 6 to 7, 9 to 10 of ')
  assert '\n5 steps took 100.0 ms each ' in text


def test_histograms_are_left_out(tmp_path, profiler):
  run = _Run(tmp_path, profiler)
  run.histograms = plan.every_steps(6)
  run.train(6)
  assert profiler.ran is None
  run.train(20)
  assert sorted(_updates(tmp_path).values()) == [[5, 6], [7, 8, 9, 10]]


def test_a_span_is_profiled_once(tmp_path, profiler):
  _Run(tmp_path, profiler).train(20)
  before = _updates(tmp_path)
  again = _Run(tmp_path, profiler, step=2)
  assert again.said == [f'--profile_steps=4:10: profiled before, see {tmp_path}'
                        '/profile/steps_4_10.txt']
  again.train(20)
  assert (_updates(tmp_path), len(again.said)) == (before, 1)


def test_a_run_stopped_in_the_span_profiles_what_is_left(tmp_path, profiler):
  run = _Run(tmp_path, profiler)
  with run.profile:
    run.train(6)
    run.profile.end_run(run, stopped=True)
  assert run.said == ['--profile_steps=4:10: not profiled yet, what is left of '
                      'it will be when the run is resumed']
  assert (_files(tmp_path), profiler.ran) == ([], None)
  resumed = _Run(tmp_path, profiler, step=6)
  resumed.train(20)
  assert _updates(tmp_path) == {
      f'steps_7_10/{_host()}_0.xplane.pb': [8, 9, 10]}
  assert resumed.said[0] == (
      '--profile_steps=4:10: profiles updates 8 to 10; update 7 is the first '
      'of this process and compiles')


def test_what_a_killed_process_has_left_is_removed(tmp_path, profiler):
  _Run(tmp_path, profiler, rank=1, workers='all').train(6)
  profiler.ran = None  # The process is gone.
  assert _files(tmp_path) == ['.recording_1']
  _Run(tmp_path, profiler)
  assert _files(tmp_path) == []


@pytest.mark.parametrize('step', [9, 10, 15])
def test_a_run_that_goes_on_after_the_span_says_so(tmp_path, profiler, step):
  run = _Run(tmp_path, profiler, step=step)
  assert run.said == ['--profile_steps=4:10: not profiled, the run continues '
                      f'from step {step}']
  run.profile.end_run(run, stopped=True)
  run.train(20)
  run.profile.end_run(run, stopped=False)
  assert (len(run.said), list(tmp_path.iterdir())) == (1, [])


def test_a_run_that_ends_before_the_span_says_so(tmp_path, profiler):
  run = _Run(tmp_path, profiler)
  run.train(3)
  run.profile.end_run(run, stopped=False)
  assert run.said == ['--profile_steps=4:10: not profiled, the run has ended '
                      'at step 3']


def test_a_return_to_a_checkpoint_begins_anew(tmp_path, profiler):
  run = _Run(tmp_path, profiler)
  run.train(6)
  run.profile.begin(run)  # A call after which the loss is not finite.
  profiler.run(6, 7)
  run.step = run.first_step = 2
  run.train(20)
  assert _updates(tmp_path) == {
      f'steps_4_10/{_host()}_0.xplane.pb': [5, 6, 7, 8, 9, 10]}


def test_all_workers_cut_their_calls_and_some_record(tmp_path, profiler):
  """A worker that already has a profile makes the same calls as the others."""
  runs = {}
  for workers in ('chief', 'all'):
    folder = tmp_path / workers
    folder.mkdir()
    for rank in (0, 1):
      runs[workers, rank] = _Run(
          folder, profiler, rank=rank, workers=workers)
      runs[workers, rank].train(20)
  assert list(_updates(tmp_path / 'chief')) == [
      f'steps_4_10/{_host()}_0.xplane.pb']
  assert sorted(_updates(tmp_path / 'all')) == [
      f'steps_4_10/{_host()}_{rank}.xplane.pb' for rank in (0, 1)]
  assert _files(tmp_path / 'all') == ['steps_4_10.txt',
                                      'steps_4_10_worker_1.txt']
  again = _Run(tmp_path / 'all', profiler, step=2)
  assert again.profile.after(again) == 4


def _full(*_):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _busy(*_):
  raise tf.errors.AlreadyExistsError(None, None, 'Another profiler is running.')


@pytest.mark.parametrize('where, name, error, reason', [
    (trace, 'start', _busy, 'Another profiler is running'),
    (tf.profiler.experimental, 'stop', _full, 'No space left on device'),
    (recording.atomic_file, 'write', _full, 'No space left on device'),
    (trace, 'parse', lambda data: 1 / 0, 'division by zero')])
def test_what_fails_is_one_warning(tmp_path, profiler, monkeypatch, where, name,
                                   error, reason):
  monkeypatch.setattr(where, name, error)
  run = _Run(tmp_path, profiler)
  run.train(20)
  run.profile.end_run(run, stopped=False)
  assert len(run.said) == 1
  assert run.said[0].startswith('warning: --profile_steps=4:10: not profiled (')
  assert reason in run.said[0]
  assert _files(tmp_path) == []


_FLAGS = (
    '--strategy=one_device', '--config.model.width=4',
    '--config.model.shortcut=B', '--config.global_batch=16',
    '--config.train_epochs=0', '--config.train_steps=16',
    '--log_every_steps=4', '--eval_every_steps=8', '--save_every_steps=5',
    '--save_every_secs=0', '--keep_best=0')


def _outcome(workdir):
  """Returns (all weights at the end, metrics.jsonl without the machine's)."""
  reader = tf.train.load_checkpoint(
      os.fspath(workdir / 'checkpoints' / 'ckpt-16'))
  lines = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
  return ({name: reader.get_tensor(name).tolist()
           for name in reader.get_variable_to_shape_map()
           if name != 'identity'},
          [{name: value for name, value in line.items()
            if not tags.is_of_machine(name)} for line in lines])


@pytest.fixture(scope='module')
def profiled(tmp_path_factory):
  """The folder of a run that was killed within its span and resumed."""
  folder = tmp_path_factory.mktemp('profiled') / 'run'
  flags = (*_FLAGS, '--profile_steps=6:14', f'--workdir={folder}')
  killed = processes.run('resnet.train', *flags,
                         between_calls=functools.partial(processes.kill_at, 8))
  assert killed.code == -signal.SIGKILL, killed.err
  assert _files(folder)[0] == '.recording_0'
  resumed = processes.run('resnet.train', *flags)
  assert resumed.code == 0, resumed.err
  return folder


@pytest.mark.slow
def test_profiling_changes_no_bit(tmp_path, profiled):
  other = processes.run('resnet.train', *_FLAGS, f'--workdir={tmp_path}/run')
  assert other.code == 0, other.err
  np.testing.assert_equal(_outcome(profiled), _outcome(tmp_path / 'run'))


@pytest.mark.slow
def test_a_real_trace_has_the_updates_and_nothing_else(profiled):
  """It continues from step 5: 8 updates, in parts around evaluation and save.

  ResNet-8 has seven convolutions and two in shortcuts.
  """
  parts = sorted(path.parent.name for path in profiled.rglob('*.xplane.pb'))
  assert parts == ['steps_10_14', 'steps_6_8', 'steps_8_10']
  text = (profiled / 'profile' / 'steps_6_14.txt').read_text()
  assert text.startswith('updates 7 to 8, 9 to 10, 11 to 14 of ')
  for kind, count in (('Conv2DBackpropFilter', 9), ('BatchNormGradV3', 9),
                      ('Conv2D', 9), ('SoftmaxCrossEntropyWithLogits', 1)):
    assert re.search(rf'^ +{count}\.0 .*%  \w*{kind}$', text, re.M), kind
  assert not list((profiled / 'profile').glob('.*'))


@pytest.mark.slow
def test_the_profile_plugin_reads_the_trace(profiled, tmp_path):
  """As TensorBoard's tab does: by the plugin's own conversion."""
  convert = pytest.importorskip('xprof.convert.raw_to_tool_data')
  copy = tmp_path / f'{_host()}_0.xplane.pb'  # It writes beside what it reads.
  copy.write_bytes((profiled / 'plugins' / 'profile' / 'steps_10_14'
                    / copy.name).read_bytes())
  data, _ = convert.xspace_to_tool_data(
      [os.fspath(copy)], 'framework_op_stats', {})
  table = json.loads(data)[0]
  columns = [column['id'] for column in table['cols']]
  rows = [dict(zip(columns, (cell['v'] for cell in row['c'])))
          for row in table['rows']]
  assert sum(row['occurrences'] for row in rows
             if row['type'].endswith('Conv2DBackpropFilter')) == 4 * 9


@pytest.mark.slow
def test_a_speed_comes_with_its_operations(profiled):
  """ResNet-8 of width 4 on 8x8 pixels; products by hand."""
  stem, stage1 = 64 * 9 * 4, 2 * 64 * 9 * 4 * 4
  stage2 = 16 * (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8)
  stage3 = 4 * (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16)
  image = 3 * 2 * (stem + stage1 + stage2 + stage3 + 16 * 10)
  lines = list(map(json.loads, (
      profiled / 'metrics.jsonl').read_text().splitlines()))
  timed = [line for line in lines if 'images_per_second' in line]
  assert timed
  for line in timed:
    np.testing.assert_allclose(
        line['flops_per_second'], image * line['images_per_second'], rtol=1e-9)
    assert 'flops_utilization' not in line
