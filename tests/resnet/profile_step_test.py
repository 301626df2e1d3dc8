"""Operations are found in TensorFlow's traces, and their times add up."""
import pytest
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from resnet.run.profiling import table, trace
from resnet.tools import profile_step
from tests import processes


def _plane(space, name, lines, stats=()):
  """Adds a plane.

  Args:
    space: XSpace.
    name: the plane's.
    lines: of (event's name, display name, offset, duration, {stat: value}).
    stats: names of all stats.
  """
  plane = space.planes.add(name=name)
  for number, stat in enumerate(stats, 1):
    plane.stat_metadata[number].name = stat
  number = 0
  for events in lines:
    line = plane.lines.add()
    for event_name, display_name, offset, duration, values in events:
      number += 1
      plane.event_metadata[number].name = event_name
      plane.event_metadata[number].display_name = display_name
      event = line.events.add(
          metadata_id=number, offset_ps=offset, duration_ps=duration)
      for stat, value in values.items():
        stat_number = 1 + stats.index(stat)
        if value in stats:
          event.stats.add(
              metadata_id=stat_number, ref_value=1 + stats.index(value))
        else:
          event.stats.add(metadata_id=stat_number, str_value=value)
  return plane


def _operations(space):
  return [(o.name, o.kind, o.count, round(o.secs * 1e12))
          for o in trace.parse(space.SerializeToString())]


def test_operations_of_all_threads_are_summed():
  space = xplane_pb2.XSpace()
  _plane(space, '/host:CPU', [
      [('net/conv/Conv2D:Conv2D', 'Conv2D', 100, 30, {}),
       ('MemoryAllocation', '', 105, 5, {}),
       ('net/conv/Conv2D:Conv2D', 'Conv2D', 200, 20, {}),
       ('Iterator::Map', 'Iterator::Map', 300, 900, {})],
      [('net/add:AddV2', 'AddV2', 100, 70, {}),
       ('EagerLocalExecute: step', '', 0, 900, {})]])
  _plane(space, 'Task Environment', [[('a:B', 'B', 0, 1000, {})]])
  assert _operations(space) == [
      ('net/add', 'AddV2', 1, 70), ('net/conv/Conv2D', 'Conv2D', 2, 50)]


def test_nested_operations_count_once_and_calls_are_left_out():
  """A call waits for operations, which may have run in another thread."""
  space = xplane_pb2.XSpace()
  _plane(space, '/host:CPU', [[
      ('call:StatefulPartitionedCall', 'StatefulPartitionedCall', 0, 900, {}),
      ('__inference_step_1:__inference_step_1', '__inference_step_1', 0, 800,
       {}),
      ('a:Outer', 'Outer', 0, 100, {}), ('b:Inner', 'Inner', 0, 30, {}),
      ('c:Innermost', 'Innermost', 10, 5, {}), ('d:Inner', 'Inner', 40, 60, {}),
      ('e:Next', 'Next', 100, 7, {})]])
  assert _operations(space) == [
      ('d', 'Inner', 1, 60), ('b', 'Inner', 1, 25), ('a', 'Outer', 1, 10),
      ('e', 'Next', 1, 7), ('c', 'Innermost', 1, 5)]


def test_what_xla_compiled_is_known_by_its_stat():
  space = xplane_pb2.XSpace()
  _plane(space, '/host:CPU', [[
      ('convolution.8', '', 0, 50, {'hlo_op': 'convolution.8'}),
      ('end: convolution.8', '', 50, 1, {}),
      ('add_fusion', '', 60, 20, {'hlo_op': 'add_fusion'})]],
         ['hlo_op', 'convolution.8'])
  assert _operations(space) == [
      ('convolution.8', 'xla convolution', 1, 50),
      ('add_fusion', 'xla add_fusion', 1, 20)]


def test_gpus_count_in_place_of_the_host():
  space = xplane_pb2.XSpace()
  _plane(space, '/host:CPU', [[('a:Conv2D', 'Conv2D', 0, 1, {})]])
  for gpu in range(2):
    _plane(space, f'/device:GPU:{gpu}', [[
        ('sm80_conv_kernel', '', 0, 40, {'tf_op': 'a:Conv2D'}),
        ('MemcpyH2D', '', 40, 3, {})]], ['tf_op'])
  assert _operations(space) == [
      ('a', 'Conv2D', 2, 80), ('MemcpyH2D', 'MemcpyH2D', 2, 6)]


def test_the_second_call_is_recorded(monkeypatch):
  profile = profile_step.Profile()
  recorded = []
  monkeypatch.setattr(trace, 'recorded', lambda: _Context(recorded))
  assert [profile.after_call(step) for step in (0, 4, 4)] == [False] * 3
  assert recorded == ['begun']
  assert [profile.after_call(step) for step in (9, 9)] == [True, True]
  assert (recorded, profile.steps) == (['begun', 'ended'], 5)


def test_rows_name_the_layer_without_the_loop_around_it():
  text = table.text([
      trace.Operation('body/_1/gradient_tape/while/stem/Conv2D', 'Conv', 4,
                      0.006),
      trace.Operation('while/meanwhile/add', 'AddV2', 2, 0.002)], 2, 0.01)
  assert text == """\
2 steps took 5.0 ms each under the profiler; operations take 4.0 ms of a step, \
summed over all threads
count a step  ms a step   share  by type
         2.0      3.000   75.0%  Conv
         1.0      1.000   25.0%  AddV2
count a step  ms a step   share  the largest single operations
         2.0      3.000   75.0%  gradient_tape/stem/Conv2D  Conv
         1.0      1.000   25.0%  meanwhile/add  AddV2
"""


class _Context:

  def __init__(self, events):
    self._events = events

  def __enter__(self):
    self._events.append('begun')
    return []

  def __exit__(self, *_):
    self._events.append('ended')


@pytest.mark.slow
def test_each_convolution_of_a_step_is_counted():
  """ResNet-8 has seven of them and two in shortcuts, each with batch norm."""
  result = processes.run(
      'resnet.tools.profile_step', '--steps=2', '--jit=false',
      '--config.global_batch=8', '--config.model.shortcut=B')
  assert result.code == 0, result.err
  what, _, times, columns, *rows = result.out.splitlines()
  assert what == 'digits_resnet8, batches of 8, float32, --jit=false'
  assert times.startswith('2 steps took ')
  assert columns.split() == [
      'count', 'a', 'step', 'ms', 'a', 'step', 'share', 'by', 'type']
  single = next(i for i, row in enumerate(rows)
                if row.endswith('the largest single operations'))
  counts, shares = {}, []
  for row in rows[:single]:
    count, _, share, kind = row.split(maxsplit=3)
    counts[kind] = float(count)
    shares.append(float(share.removesuffix('%')))
  for kind in ('Conv2DBackpropFilter', 'BatchNormGradV3'):
    assert sum(count for name, count in counts.items() if kind in name) == 9
  assert abs(sum(shares) - 100) < 2
  assert len(rows) - single == 16
