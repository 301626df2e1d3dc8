"""`python -m resnet.runs`: what it says of runs, whatever is in their folders.
"""
import csv
import fcntl
import functools
import io
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time

import pytest

from configs import loading, schema
from configs.process.errors import UserError
from resnet.distribution import heartbeats
from resnet.reporting import (
  run_differences,
  run_recipe,
  run_rows,
  run_state,
  runs_table,
)
from tests import processes
from tests.resnet import written_runs

_ROOT = pathlib.Path(__file__).parents[2]
_GONE = 2**22 + 1  # More than Linux has processes.
_COMMAND = ['/x/resnet/train.py', '--config=digits_resnet8',
            '--config.schedule.peak=0.2']


def _write(folder, **values):
  """Writes a run of 40 steps; `values` is what run.json holds."""
  run = written_runs.write(folder)
  (run / 'run.json').write_text(json.dumps({'command': _COMMAND, **values}))
  return run


def _summary(speed=1000.0):
  return {'summary': {'step': 40, 'images_per_second': speed}}


def _beat(run, age_secs=0, **changes):
  """Writes the heartbeat of a chief that wrote it some time ago."""
  values = {'rank': 0, 'host': platform.node(), 'pid': os.getpid(),
            'phase': 'training', 'step': 35, 'time': 1e9, **changes}
  path = run / heartbeats.FOLDER / '0.json'
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(values))
  when = time.time() - age_secs
  os.utime(path, (when, when))


def _checkpoint(run, step):
  (run / 'checkpoints' / f'ckpt-{step}.index').write_text('')


def _state(run, finished=False, saved=0):
  return run_state.of(run, finished, saved)


def test_finished_is_what_has_a_summary(tmp_path):
  run = _write(tmp_path / 'run', **_summary())
  _beat(run)  # Of a moment ago.
  assert run_rows.read(run, 'run').state == 'finished'


@pytest.mark.parametrize('beat, state', [
    (dict(), 'running'),
    (dict(age_secs=20), 'running'),
    (dict(age_secs=40), 'dead'),
    (dict(pid=_GONE), 'dead'),
    (dict(pid=_GONE, host='another'), 'running'),
    (dict(pid=_GONE, host='another', age_secs=40), 'dead'),
    (dict(phase='ended'), 'stopped'),
    (dict(phase='ended', age_secs=1e6), 'stopped')])
def test_the_heartbeat_of_the_chief_tells(tmp_path, beat, state):
  run = _write(tmp_path / 'run')
  _beat(run, **beat)
  assert _state(run) == (state, 35, '')


def test_without_a_heartbeat_the_checkpoints_tell(tmp_path):
  run = _write(tmp_path / 'run')
  assert _state(run, saved=30) == ('stopped', 0, '')
  assert _state(run) == ('dead', 0, 'has never begun to train')


def test_a_lock_is_held_by_a_run_even_if_it_is_silent(tmp_path):
  run = _write(tmp_path / 'run')
  _beat(run, age_secs=1000, host='another')
  (run / '.lock').write_text(str(os.getpid()))
  assert _state(run)[0] == 'dead'
  with (run / '.lock').open('a+') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    name, step, note = _state(run)
    assert (name, step) == ('running', 35)
    assert note.startswith('no sign of life for 100')
  assert _state(run)[0] == 'dead'


def test_the_end_of_a_worker_is_written_unless_it_failed(tmp_path):
  read = lambda: heartbeats.read(tmp_path, 1)[0]
  with heartbeats.Heartbeats(tmp_path, 0, 1, 0) as beat:
    beat.note('checkpoint', 17)
  assert (read()['phase'], read()['step']) == ('ended', 17)
  with pytest.raises(UserError):
    with heartbeats.Heartbeats(tmp_path, 0, 1, 0) as beat:
      beat.note('training', 18)
      beat.beat()
      raise UserError('The loss is not a finite number.')
  assert (read()['phase'], read()['step']) == ('training', 18)


def test_a_row(tmp_path):
  run = _write(tmp_path / 'run')
  text = written_runs.lines()
  for step, speed in ((10, 5.0), (20, 900.0), (30, 1000.0)):
    text = text.replace(f'"step": {step}, "time"', (
        f'"step": {step}, "images_per_second": {speed}, "time"'), 1)
  (run / 'metrics.jsonl').write_text(text)
  _checkpoint(run, 9)
  _checkpoint(run, 30)
  _beat(run)
  row = run_rows.read(run, 'name')
  assert 'model.name=keras_v1' in row.changes.split(' ')
  assert row == run_rows.Row(
      run='name', state='running', step=40, total=40, saved=30,
      metric='accuracy', best=0.875, last=0.625, images_per_second=900.0,
      recipe='digits_resnet8', changes=row.changes, note='')


@pytest.mark.parametrize('init, changes', [
    ({'what': 'runs/a:best'}, 'init_from=runs/a:best schedule.peak=0.2'),
    ({'what': 5}, 'schedule.peak=0.2'), (5, 'schedule.peak=0.2')])
def test_the_weights_it_began_with_are_a_change(tmp_path, init, changes):
  command = ['train.py', '--config=my.py', '--config.schedule.peak=0.2']
  run = _write(tmp_path / 'run', command=command, init=init)
  assert run_rows.read(run, 'name').changes == changes


def test_the_metric_of_the_run_decides_what_is_best(tmp_path):
  config = schema.Config(monitor=schema.Monitor(metric='loss'), train_epochs=2,
                         global_batch=100)
  run = written_runs.write(tmp_path / 'run', config=config)
  row = run_rows.read(run, 'name')
  assert (row.metric, row.best, row.last) == ('loss', 0.75, 1.0)
  assert row.total == 29  # 2 epochs of 1437 images.
  assert row.recipe is None and row.changes == ''


def test_changes_are_what_differs_from_the_recipe():
  config = loading.load('digits_resnet8')
  assert run_recipe.changes('digits_resnet8', config, _COMMAND) == []
  config.schedule.peak = 0.25
  config.schedule.drops_at = (0.25, 0.5)
  config.code = 'def build(config): ...'
  assert run_recipe.changes('digits_resnet8', config, []) == [
      'schedule.peak=0.25', 'schedule.drops_at=0.25,0.5']
  # The file of a user is not run; nor is it there any more.
  command = ['train.py', '--config=my.py', '--config.schedule.peak', '0.2',
             '--data_dir=x']
  assert run_recipe.of(command) == 'my.py'
  assert run_recipe.changes('my.py', config, command) == ['schedule.peak=0.2']


@pytest.mark.parametrize('command, recipe', [
    (['/x/resnet/train.py'], 'digits_resnet8'),
    (['/venv/bin/resnet-train', '--config', 'cifar10_resnet20'],
     'cifar10_resnet20'),
    (['notebook.py', '--config=a', '--config=b'], 'b'),
    (['notebook.py'], None), ([], None), (None, None), ('text', None),
    ([1, 2], None)])
def test_the_recipe_is_in_the_command(command, recipe):
  assert run_recipe.of(command) == recipe


def _break(path, how):
  if path.is_dir():
    for file in path.iterdir():
      file.unlink()
    path.rmdir()
  else:
    path.unlink(missing_ok=True)
  if how == 'fifo':
    os.mkfifo(path)
  elif how == 'folder':
    path.mkdir()
  elif how != 'missing':
    path.write_bytes(how)


@pytest.mark.parametrize('name', [
    'config.json', 'data.json', 'run.json', 'metrics.jsonl', 'checkpoints',
    '.lock', 'workers/0.json'])
@pytest.mark.parametrize('how', [
    'missing', 'fifo', 'folder', b'', b'\0\xff', b'{', b'[]', b'{"a": 1}\n',
    b'{"summary": 5, "command": {"a": 1}, "model": [], "classes": 1}\n'])
def test_a_damaged_run_is_a_row(tmp_path, name, how):
  _write(tmp_path / 'good', **_summary())
  run = _write(tmp_path / 'run', **_summary())
  _beat(run, phase='ended')
  (run / '.lock').write_text('1')
  _break(run / name, how)
  found = [run_rows.read(path, path.name) for path in run_rows.find(tmp_path)]
  assert [row.run for row in found] == ['good', 'run']
  good, bad = found
  assert good.state == 'finished' and not good.note
  assert bad.state == ('stopped' if name == 'run.json' else 'finished')
  if name in ('config.json', 'data.json', 'metrics.jsonl', 'run.json') and (
      how not in ('missing', b'')) and not (
          name == 'run.json' and isinstance(how, bytes) and b'"' in how
          # A line without an end is being written.
          or name == 'metrics.jsonl' and how in (b'{', b'[]')):
    assert name in bad.note, bad
  assert len(runs_table.text(found).splitlines()) == 3
  assert len(list(csv.reader(io.StringIO(runs_table.csv(found))))) == 3


def test_runs_are_found_where_they_are(tmp_path):
  for name in ('b', 'a/deep/run', '.hidden/run', 'a/deep/run/tuned'):
    written_runs.write(tmp_path / name)
  (tmp_path / 'data' / 'cifar10').mkdir(parents=True)
  (tmp_path / 'data' / 'config.json').write_text('{}')  # Another's.
  (tmp_path / 'link').symlink_to(tmp_path / 'b')
  (tmp_path / 'loop').symlink_to(tmp_path)
  assert [str(path.relative_to(tmp_path)) for path in run_rows.find(tmp_path)
          ] == ['a/deep/run', 'a/deep/run/tuned', 'b']
  assert list(run_rows.find(tmp_path / 'b')) == [tmp_path / 'b']
  assert not list(run_rows.find(tmp_path / 'data'))


def _rows(**columns):
  """Returns rows with some columns, named 0, 1, ..."""
  length = len(next(iter(columns.values())))
  empty = run_rows.Row('', 'dead', 0, *[None] * 7, '', '')
  return [empty._replace(run=str(i), **{
      name: values[i] for name, values in columns.items()})
          for i in range(length)]


@pytest.mark.parametrize('column, expected', [
    ('best', '2031'), ('-best', '3021'), ('state', '3102'), ('-run', '3210'),
    ('images/s', '0231'), ('images_per_second', '0231')])
def test_order(column, expected):
  rows = _rows(best=[0.5, None, 0.9, 0.1], state=['d', 'b', 'd', 'a'],
               images_per_second=[10.0, None, 9.0, 8.0])
  runs_table.check_column(column)
  assert ''.join(row.run for row in runs_table.in_order(rows, column)) == (
      expected)


def test_the_csv_reads_back_whole(tmp_path):
  run = _write(tmp_path / 'a, "b"\nc')
  row = run_rows.read(run, run.name)
  read, = csv.DictReader(io.StringIO(runs_table.csv([row])))
  assert read['run'] == 'a, "b"?c' and float(read['best']) == 0.875
  assert read['saved'] == '' and tuple(read) == run_rows.Row._fields


def test_differences(tmp_path):
  versions = {'versions': {'keras': '3.14'}, 'settings': {'threads': '2'}}
  a = _write(tmp_path / 'a', **versions, **_summary())
  b = _write(tmp_path / 'b', **{**versions, 'versions': {'keras': '3.15'}})
  config = json.loads((b / 'config.json').read_text())
  config['schedule']['peak'] = 0.25
  config['code'] = 'def build(config):\n  ...'
  (b / 'config.json').write_text(json.dumps(config))
  data = json.loads((b / 'data.json').read_text())
  data['classes'][9] = 'nine'
  (b / 'data.json').write_text(json.dumps(data))
  (b / 'metrics.jsonl').write_text(written_runs.lines(
      evals=((10, 0.5, 1.5),)))
  rows = [run_rows.read(path, path.name) for path in (a, b)]
  lines = run_differences.text(tuple(rows), (a, b)).splitlines()
  assert lines == [
      'runs      a -> b',
      'figures   state: finished -> dead',
      '          best: 0.8750 -> 0.5000',
      '          last: 0.6250 -> 0.5000',
      'config    config.schedule.peak: 0.1 -> 0.25',
      "          the recipe's own functions",
      'data      class 9: 9 -> nine',
      'versions  keras: 3.14 -> 3.15',
      'settings  the same',
      'notes     b: has never begun to train']
  (b / 'config.json').write_text('{')
  (b / 'run.json').unlink()
  lines = run_differences.text(tuple(rows), (a, b)).splitlines()
  parts = {line[:10].strip(): line[10:] for line in lines if line[:1] != ' '}
  assert parts['config'].startswith(f'not compared: {b}/config.json is damaged')
  assert parts['versions'] == f'not compared: {b}/run.json does not say.'


def test_runs_to_compare_have_their_names_in_the_table(tmp_path, monkeypatch):
  run = written_runs.write(tmp_path / 'sweep' / 'peak=0.1')
  assert run_differences.named('sweep/peak=0.1', tmp_path) == run
  assert run_differences.named(str(run), tmp_path / 'sweep') == run
  monkeypatch.chdir(tmp_path / 'sweep')
  assert run_differences.named('peak=0.1', None).resolve() == run
  for name in ('sweep', 'nothing'):
    with pytest.raises(UserError, match=f'--diff: {name} is not a run folder'):
      run_differences.named(name, tmp_path)


# Runs a program as `python -m`, without TensorFlow; prints its CPU seconds.
_PLAIN = """
import runpy, resource, sys
for name in ('tensorflow', 'keras', 'tensorflow_datasets'):
  sys.modules[name] = None  # Makes `import` raise ImportError.
import os
leave = os._exit
def leaving(code):
  usage = resource.getrusage(resource.RUSAGE_SELF)
  print(usage.ru_utime + usage.ru_stime, file=sys.stderr, flush=True)
  leave(code)
os._exit = leaving
sys.argv = ['resnet.runs', *sys.argv[1:]]
runpy.run_module('resnet.runs', run_name='__main__', alter_sys=True)
"""


def _runs(*words):
  done = subprocess.run([sys.executable, '-c', _PLAIN, *map(str, words)],
                        cwd=_ROOT, capture_output=True, text=True, check=False)
  return done.returncode, done.stdout, done.stderr


def test_the_program_needs_no_tensorflow_and_no_second(tmp_path):
  a = _write(tmp_path / 'a', **_summary())
  b = _write(tmp_path / 'b')
  before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
  code, out, secs = _runs(tmp_path, '--sort=-run')
  assert code == 0 and float(secs) < 1
  header, *lines = out.splitlines()
  assert header.split() == ['run', 'state', 'step', 'metric', 'best', 'last',
                            'recipe', 'changes', 'note']
  assert lines[0].split()[:6] == ['b', 'dead', '40/40', 'accuracy', '0.8750',
                                  '0.6250']
  assert lines[1].startswith('a    finished  40/40  accuracy')
  code, out, _ = _runs(tmp_path, '--csv')
  assert code == 0 and [row['run'] for row in csv.DictReader(
      io.StringIO(out))] == ['a', 'b']
  code, out, _ = _runs(tmp_path, '--diff', 'a', 'b')
  assert code == 0 and out.startswith('runs      a -> b\n')
  assert _runs('--diff', a, b)[1] == out.replace(
      'a -> b', f'{a} -> {b}').replace('b: has', f'{b}: has')
  assert {path: path.stat().st_mtime_ns
          for path in tmp_path.rglob('*')} == before


def _look(folder, done):
  """Lists a run between its host calls; after step 4, ends it by a signal."""
  if done == 2:
    row = run_rows.read(pathlib.Path(folder), 'run')
    pathlib.Path(f'{folder}.txt').write_text(json.dumps(row))
  if done == 4:
    name = pathlib.Path(folder).name
    if name in ('SIGTERM', 'SIGKILL'):
      os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.slow
@pytest.mark.parametrize('name, code, state, saved', [
    ('SIGTERM', 143, 'stopped', None), ('SIGKILL', -9, 'dead', 3),
    ('finished', 0, 'finished', 6)])
def test_runs_of_the_trainer(tmp_path, name, code, state, saved):
  run = tmp_path / name
  result = processes.run(
      'resnet.train', '--config.model.width=4', '--config.train_epochs=0',
      '--config.train_steps=6', '--config.schedule.warmup_epochs=0',
      '--save_every_steps=3', '--log_every_steps=1', '--steps_per_call=1',
      f'--workdir={run}', between_calls=functools.partial(_look, str(run)))
  assert result.code == code, result.err
  row = run_rows.Row(*json.loads((tmp_path / f'{name}.txt').read_text()))
  assert (row.state, row.total, row.saved, row.note) == ('running', 6, None, '')
  assert 1 <= row.step <= 2 and row.recipe == 'digits_resnet8'
  assert row.changes == ('model.width=4 schedule.warmup_epochs=0 '
                         'train_epochs=0 train_steps=6')
  row = run_rows.read(run, 'run')
  assert (row.state, row.note) == (state, '')
  assert row.saved == (row.step if saved is None else saved)
