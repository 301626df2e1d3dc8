"""The benchmark for GPUs runs to its end on a CPU, whatever its parts do."""
import json
import math
import os
import pathlib
import signal
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from configs import loading, schema
from configs.process.errors import UserError
from pipelines.options import Reading
from resnet.run import checkpoint_file
from resnet.tools.gpu import (
  determinism,
  failures,
  findings,
  parts,
  pictures,
  placement,
  processes,
  step_parts,
  target,
  trainers,
  verdict,
)
from resnet.tools.gpu import job as job_lib
from resnet.tools.gpu.findings import Finding
from tests import processes as programs

_PROGRAM = 'resnet.tools.benchmark_gpu'
_SMALL = ('--config.model.width=4', '--batches=4', '--virtual_devices=2',
          '--block_secs=0.1', '--log_every_steps=2')
_TIME_UP = 'the time was up'


def _run(folder, *argv):
  """Returns (Result, the report, {part: rows of its table})."""
  path = folder / 'report.json'
  result = programs.run(_PROGRAM, *_SMALL, f'--output={path}', *argv)
  tables, part = {}, ''
  for line in result.out.splitlines():
    if line.startswith('  '):
      tables[part].append(line)
    else:
      part = line.partition(':')[0]
      tables[part] = []
  return result, json.loads(path.read_text()), tables


def _values(report, part):
  """Returns {name: value} of what a part found."""
  return {one['name']: one['value']
          for one in report['parts'][part]['findings']}


@pytest.mark.slow
def test_every_part_is_measured(tmp_path):
  # Small, because each of some twenty processes traces it.
  result, report, tables = _run(tmp_path, '--config.model.name=baseline')
  assert (result.code, result.err) == (0, '')
  assert list(report['parts']) == ['devices', *parts.CHOICES]
  assert {part['status'] for part in report['parts'].values()} == {'done'}
  for name, part in report['parts'].items():
    assert len(tables[name]) == len(part['findings'])
    for one in part['findings']:  # What was not measured is never 0.
      assert one['value'] or (one['value'] is None and one['note']) or (
          'host gap' in one['name']), one
  _check_speeds(report)
  _check_parts_that_compare(report)
  bound = report['verdict'][0]
  assert bound['value'] in ('input', 'compute', 'host', 'collective')
  assert [row['value'] for row in report['verdict'][1:]] == [None, None]
  assert list((tmp_path / 'report.trace').rglob('*.xplane.pb'))


def _check_speeds(report):
  steps = report['parts']['steps']['findings']
  measured = [(one['of']['precision'], one['of']['devices'])
              for one in steps if one['of']['measure'] == 'step']
  assert measured == [('float32', 1), ('float32', 2), ('bfloat16', 1),
                      ('float16', 1)]
  for one in steps:
    if one['of']['measure'] == 'step':  # 4 images on each device.
      np.testing.assert_allclose(
          one['value'] * one['of']['milliseconds'] / 1000,
          4 * one['of']['devices'])
  loops = report['parts']['loop']['findings']
  assert [(one['of']['processes'], one['of']['devices']) for one in loops] == [
      (1, 1), (1, 2), (2, 2)]
  for one in loops[1:]:
    np.testing.assert_allclose(
        one['of']['efficiency'], one['value'] / (2 * loops[0]['value']))


def _check_parts_that_compare(report):
  same = _values(report, 'determinism')
  assert same['the same command twice'] == 'the same bits'
  assert same['killed and continued, against never stopped'] == 'the same bits'
  assert same['workers against one process']
  cold, cached = (sum(
      one['value'] for one in report['parts']['compiling']['findings']
      if one['of']['start'] == start) for start in ('cold', 'from the cache'))
  assert cached < cold
  assert _values(report, 'placement')['operations on CPU'] > 1000
  # 6 filters of 5 x 5 with biases and batch norm; after pooling, 4 x 4 x 6
  # numbers to 128, and to 10.
  weights = 6 * (25 + 1 + 2) + (96 + 1) * 128 + (128 + 1) * 10
  np.testing.assert_allclose(
      _values(report, 'transfers')['gradients'], 4 * weights / 1e6)


@pytest.mark.slow
def test_a_part_that_fails_says_so_and_the_rest_goes_on(tmp_path):
  result, report, tables = _run(
      tmp_path, '--parts=transfers,steps', '--batches=3',
      '--config.augment.mixup=0.2')
  assert result.code == 1
  failed = report['parts']['steps']
  assert (failed['status'], report['parts']['transfers']['status']) == (
      'failed', 'done')
  assert failed['reason'] == (
      'config.global_batch=3 gives each of 1 replicas 3 images, but mixup and '
      'cutmix mix images in pairs: give a multiple of 2')
  assert tables['steps'][-1] == f'  failed: {failed["reason"]}'
  assert 'Traceback' in failed['log']
  assert _values(report, 'transfers')['sum over 2 devices, auto'] > 0


@pytest.mark.slow
def test_pictures_are_made_on_the_spot(tmp_path):
  result, report, _ = _run(
      tmp_path, '--config=imagenet_resnet50', '--parts=input',
      '--config.data.image_size=32')
  assert (result.code, result.err) == (0, '')
  made = _values(report, 'data')
  assert made['pictures'] == 288 and 80 < made['size'] < 150
  speeds = report['parts']['input']['findings']
  cores = len(os.sched_getaffinity(0))
  assert [one['of']['cores'] for one in speeds[:2]] == [cores, 1][:cores]
  assert speeds[0]['of']['all_cores']


def test_without_time_nothing_is_measured(tmp_path):
  result, report, tables = _run(tmp_path, '--max_mins=0')
  assert (result.code, result.err) == (0, '')
  assert {(part['status'], part['reason'])
          for part in report['parts'].values()} == {
              (findings.NOT_MEASURED, _TIME_UP)}
  assert all(not part['findings'] for part in report['parts'].values())
  assert all('not measured' in row for row in tables['verdict'])
  assert report['verdict'][0]['value'] is None


def _process(code, tmp_path, secs=60, **options):
  """Runs Python code; returns its log."""
  log = tmp_path / 'log'
  processes.run([sys.executable, '-c', code], secs=secs, environ=os.environ,
                log=log, **options)
  return log.read_text()


@pytest.mark.parametrize('code, words', [
    ('import os; os.kill(os.getpid(), 11)', 'it was killed by SIGSEGV: it'),
    ('import os; os.kill(os.getpid(), 6)', 'it was killed by SIGABRT: it'),
    ('print("hello\\nerror: --x is wrong.\\nbye"); exit(2)',
     'it ended with exit code 2: error: --x is wrong'),
    ('1 / 0', 'it ended with exit code 1: ZeroDivisionError: division by zero'),
])
def test_how_a_process_ended_is_said(tmp_path, code, words):
  with pytest.raises(failures.Failed) as raised:
    _process(code, tmp_path)
  assert str(raised.value).startswith(words)


def test_what_hangs_is_killed_with_all_that_it_started(tmp_path):
  code = ('import subprocess, sys, time\n'
          'child = subprocess.Popen([sys.executable, "-c", '
          '"import time; time.sleep(600)"])\n'
          f'open({os.fspath(tmp_path / "pid")!r}, "w").write(str(child.pid))\n'
          'time.sleep(600)')
  started = time.monotonic()
  with pytest.raises(processes.TookTooLong, match='longer than 2 s'):
    _process(code, tmp_path, secs=2, own_group=True)
  assert time.monotonic() - started < 20
  child = (tmp_path / 'pid').read_text()
  for _ in range(100):  # Until the kernel, or init, has taken it away.
    status = pathlib.Path('/proc', child, 'status')
    if not status.exists() or 'State:\tZ' in status.read_text():
      return
    time.sleep(0.05)
  os.kill(int(child), signal.SIGKILL)
  pytest.fail('the child outlives the process that started it')


def test_a_process_is_ended_once_enough_has_happened(tmp_path):
  code = ('import signal, sys, time\n'
          'count = 0\n'
          'def note(*_):\n'
          '  global count\n'
          '  count += 1\n'
          '  print("asked", count, flush=True)\n'
          '  if count == 2: sys.exit(130)\n'
          'signal.signal(signal.SIGINT, note)\n'
          'print("ready", flush=True)\n'
          'while True: time.sleep(0.01)')
  log = tmp_path / 'log'
  assert _process(
      code, tmp_path, until=lambda: 'ready' in log.read_text(),
      kill_with=(signal.SIGINT, signal.SIGINT)).split('\n') == [
          'ready', 'asked 1', 'asked 2', '']
  with pytest.raises(failures.Failed, match='exit code 0: it printed nothing'):
    _process('', tmp_path, until=lambda: False)


def test_findings_outlive_the_process_that_wrote_them(tmp_path):
  path = tmp_path / 'found'
  assert findings.read(path) == ([], None)
  writer = findings.Writer(path)
  writer.add('speed', 2.5, 'images/s', measure='step')
  writer.add('NCCL', None, note='there are no GPUs')
  with path.open('a') as file:
    file.write('{"finding": ["half')
  assert findings.read(path) == ([
      Finding('speed', 2.5, 'images/s', '', {'measure': 'step'}),
      Finding('NCCL', None, '', 'there are no GPUs', {})], None)
  path.write_text('')
  writer.fail('it broke')
  assert findings.read(path).failure == 'it broke'


@pytest.mark.parametrize('value, text', [
    (2375.04, '2,375 x'), (0.012345, '0.01235 x'), (53.894, '53.89 x'),
    (8, '8 x'), (0.0, '0.0 x'), ('A100', 'A100 x'),
    (None, 'not measured: why')])
def test_numbers_are_shown_with_four_digits(value, text):
  note = 'why' if value is None else ''
  assert findings.value_text(Finding('name', value, 'x', note)) == text


def test_parts_share_the_time():
  """Each takes its share of what is left, so that all end in time."""
  to_come, left = list(parts.NAMES), 600.0
  while to_come:
    left -= left * parts.share(to_come[0], to_come)
    del to_come[0]
  assert math.isclose(left, 0, abs_tol=1e-9)


def _found(forward_backward=40.0, update=2.0, collective=5.0, gap=1.0,
           waited=0.01, loop=8000.0):
  """Returns what parts found on 4 devices, 100 images each, in float32."""
  of = {'precision': 'float32', 'batch': 100}
  rows = [
      ('forward-backward', 1, forward_backward), ('update', 1, update),
      ('host gap', 1, 99.0), ('sum over devices', 4, collective),
      ('host gap', 4, gap), ('forward-backward', 4, 777.0)]
  found = [Finding(name, value, of={**of, 'measure': name, 'devices': devices})
           for name, devices, value in rows]
  found += [Finding('loop', speed, of={
      'measure': 'loop', 'devices': devices, 'processes': count,
      'input_wait_fraction': wait}) for speed, devices, count, wait in (
          (2000.0, 1, 1, 0.9), (loop, 4, 1, waited), (9000.0, 4, 4, 0.9))]
  return [*found, Finding('input', 20_000.0, of={
      'measure': 'input', 'all_cores': True}), Finding(
          'input', 5000.0, of={'measure': 'input', 'all_cores': False})]


@pytest.mark.parametrize('changes, bound', [
    ({}, 'compute'), ({'collective': 43.0}, 'collective'),
    ({'collective': 41.0}, 'compute'), ({'gap': 50.0}, 'host'),
    ({'waited': 0.11}, 'input'), ({'update': None}, None),
    ({'update': None, 'waited': 0.11}, 'input')])
def test_what_limits_training(changes, bound):
  first, *_ = verdict.of(_found(**changes), schema.Config(), 100)
  assert first.value == bound
  # 4 x 100 images at 20,000 a second; 42 = 40 + 2.
  assert first.note.startswith('4 devices, input 20.00 ms, compute ')
  assert first.of['compute'] == (42.0 if changes.get('update', 0) == 0
                                 else None)
  other, *_ = verdict.of(_found(**changes), schema.Config(), 64)
  assert other.value == ('input' if 'waited' in changes else None)


def test_speeds_beside_published_ones():
  config = loading.load('imagenet_resnet50')
  _, one, eight = verdict.of(_found(), config, 100)
  assert (one.value, eight.value) == (2000.0, None)
  assert math.isclose(one.of['ratio'], 2000 / 2375)
  assert eight.note == 'no run on 8 devices'
  cpu = Finding('measured on', '4 x CPU', of={
      'measure': 'devices', 'kind': 'CPU'})
  assert {row.value for row in verdict.of([cpu, *_found()], config, 100)[1:]
          } == {None}
  config.model.width = 32
  assert {row.value for row in verdict.of(_found(), config, 100)[1:]} == {None}


def _floats(values):
  return np.array(values, np.float32)


def _checkpoint(path, **changes):
  checkpoint_file.write(path, {
      'step': np.array(7), 'config': b'{}',
      'model/a': _floats([1, -4]), 'model/b': _floats([[0.5]]),
      'momentum/a': _floats([2]),
      **changes})
  return path


def test_checkpoints_are_compared_bit_by_bit(tmp_path):
  one = _checkpoint(tmp_path / 'ckpt-1')
  same = _checkpoint(tmp_path / 'ckpt-2', config=b'{"other": 1}')
  assert determinism.differing(one, same) == []
  other = _checkpoint(tmp_path / 'ckpt-3', **{
      'model/a': _floats([1.5, -4]), 'model/b': _floats([[-0.5]]),
      'momentum/a': _floats([99])})
  assert determinism.differing(one, other) == [
      'model/a', 'model/b', 'momentum/a']
  assert determinism.largest_difference(one, other) == 0.25  # 1 of 4.
  zero = [_checkpoint(tmp_path / f'ckpt-{number}', **{
      'model/a': _floats([sign, -4])})
          for number, sign in ((4, 0.0), (5, -0.0))]
  assert determinism.differing(*zero) == ['model/a']
  more = _checkpoint(tmp_path / 'ckpt-6', more=_floats([1]))
  assert determinism.differing(one, more) == ['more']


# As TensorFlow 2.21 logs them, with one device changed to a GPU.
_LOG = """\
MatMul: (MatMul): /job:localhost/replica:0/task:0/device:GPU:0
I0000 00:00:1795923811.165389    8000 placer.cc:162] MatMul: (MatMul): \
/job:localhost/replica:0/task:0/device:GPU:0
I0000 00:00:1795923811.165389    8000 placer.cc:162] while/body/_1/Gather: \
(GatherV2): /job:localhost/replica:0/task:0/device:CPU:0
I0000 00:00:1795923811.165389    8000 placer.cc:162] x: (_Arg): \
/job:localhost/replica:0/task:0/device:CPU:0
I0000 00:00:1795923811.171205    8000 execute.cc:1775] Executing op f in \
device /job:localhost/replica:0/task:0/device:CPU:0
"""


def test_operations_on_the_cpu_are_found_in_the_log():
  placed = list(placement.placements(_LOG))
  assert placed == [('MatMul', 'MatMul', 'GPU'),
                    ('while/body/_1/Gather', 'GatherV2', 'CPU'),
                    ('x', '_Arg', 'CPU')]
  assert placement.surprises(placed) == {'GatherV2': 1}


def test_a_call_is_timed_after_it_is_compiled(monkeypatch):
  now, asked = [0.0], []

  def repeat(count):
    now[0] += 100 if len(asked) < 2 else 3 * count
    asked.append(count)

  monkeypatch.setattr(target.time, 'perf_counter', lambda: now[0])
  assert target.time_repeats(repeat, 20) == 3
  assert asked == [1, 1, 1, 2, 4, 8]


def test_a_loop_makes_all_calls_and_each_waits_for_the_one_before():
  calls = tf.Variable(tf.constant(0))

  def function(a, value, b):
    calls.assign_add(1)
    return [a, b], a + b + tf.cast(value, tf.float32)

  run = step_parts._looped(
      function, (tf.constant(1.0), tf.constant(5, tf.int64),
                 tf.constant(2.0)), 1)
  assert run(3) == 5
  assert calls.numpy() == 3


def test_all_of_a_result_is_needed():
  _, touched = step_parts._touched(lambda x: ([x, 10 * x], tf.constant([7])))(
      tf.constant([[2.0, 1.0]]))
  assert touched.numpy() == 2 + 20 + 7


@pytest.mark.parametrize('count, order', [
    (1, [1]), (2, [1, 2]), (4, [1, 4, 2]), (6, [1, 6, 2, 4]),
    (8, [1, 8, 2, 4])])
def test_all_devices_are_measured_first(tmp_path, count, order):
  assert _job(tmp_path, count=count).counts() == order


@pytest.mark.parametrize('kind, setting, command, flags', [
    ('GPU', (4, 1), 'resnet.train', [
        '--strategy=mirrored', '--devices=GPU:0,GPU:1,GPU:2,GPU:3',
        '--config.global_batch=16']),
    ('GPU', (4, 2), 'launch.local --workers=2 --gpus_per_worker=2', [
        '--config.global_batch=16']),
    ('CPU', (1, 1), 'resnet.train', [
        '--virtual_devices=1', '--config.global_batch=4']),
    ('CPU', (4, 2), 'launch.local --workers=2 --gpus_per_worker=0', [
        '--virtual_devices=2', '--config.global_batch=16'])])
def test_how_trainers_are_started(tmp_path, kind, setting, command, flags):
  job, setting = _job(tmp_path, kind=kind), trainers.Setting(*setting)
  words = trainers._command(job, setting)
  assert ' '.join(words).partition(' -m ')[2].startswith(command)
  assert ('--' in words) == (setting.processes > 1)
  given = trainers._flags(job, setting, 'recipe.py')
  assert set(flags) <= set(given)
  others = {'--strategy', '--devices', '--virtual_devices'} - {
      flag.partition('=')[0] for flag in flags}
  assert not others & {flag.partition('=')[0] for flag in given}


def test_log_points_are_read_while_they_are_written(tmp_path):
  assert trainers.records(tmp_path) == []
  (tmp_path / 'metrics.jsonl').write_text(
      '{"split": "train", "step": 2}\n{"split": "eval", "step": 2}\n'
      '{"split": "train", "step": 4}\n{"split": "tr')
  assert [one['step'] for one in trainers.records(tmp_path)] == [2, 4]


def _job(folder, **changes):
  return job_lib.Job(
      config=schema.Config(train_steps=3, seed=5), reading=Reading('data'),
      jit='true', batches=[4, 8], log_every_steps=2, block_secs=0.5,
      folder=folder, trace_folder=folder / 'trace', **changes)


def test_a_job_crosses_to_another_process(tmp_path):
  job = _job(tmp_path, kind='GPU', count=8,
             pictures=pictures.Kind((32, 32, 3), 10, False))
  job_lib.write(job, tmp_path / 'job')
  there = job_lib.read(tmp_path / 'job', 60, tmp_path / 'found')
  assert 50 < there.left() <= 60
  there.ends, there.found = job.ends, job.found
  assert there == job


@pytest.mark.parametrize('recipe, kind', [
    ('digits_resnet8', None),
    ('cifar100_resnet18', ((32, 32, 3), 100, False)),
    ('mnist_resnet18', ((28, 28, 1), 10, False)),
    ('imagenet_resnet50', ((None, None, 3), 1000, True))])
def test_pictures_that_stand_in(recipe, kind):
  config = loading.load(recipe)
  assert pictures.of(config) == kind
  other = pictures.stand_in(config).data
  assert (other.name, other.train_split, other.image_size) == (
      'synthetic_pictures', 'train', config.data.image_size)


def test_pictures_of_unknown_size():
  config = schema.Config()
  config.data.name = 'pets'
  with pytest.raises(UserError, match='config.data.name=pets is not a data se'):
    pictures.of(config)


@pytest.mark.parametrize('error, line', [
    (UserError('Give less. Or more.'), 'Give less. Or more'),
    (ValueError('bad\nvery'), 'ValueError: bad'), (KeyError(), 'KeyError'),
    (tf.errors.ResourceExhaustedError(None, None, (
        'Graph execution error:\n\nDetected at node Conv2D defined at (most '
        'recent call last):\n  File "x.py", line 3, in f\n\nOOM when '
        'allocating\n\t [[{{node Conv2D}}]] [Op:f]')),
     'ResourceExhaustedError: OOM when allocating'),
    (RuntimeError('Exception encountered when calling Norm.call().\n\n'
                  '\x1b[1mno replica\x1b[0m\n\nArguments'),
     'RuntimeError: no replica')])
def test_an_error_is_one_line(error, line):
  assert failures.sentence(error) == line
