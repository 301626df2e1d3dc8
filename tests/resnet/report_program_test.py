"""`python -m resnet.report`: what it writes, and what it leaves alone."""
import functools
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from resnet.reporting import weights_text
from tests import processes
from tests.resnet import written_runs

_ROOT = pathlib.Path(__file__).parents[2]
_FILES = ['curves.png', 'error.png', 'first_images.png', 'model.txt',
          'weights.txt']
# Runs a program as `python -m`, without some packages: the first argument.
_WITHOUT = """
import runpy, sys
for name in sys.argv[1].split(','):
  sys.modules[name] = None  # Makes `import` raise ImportError.
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""


@pytest.fixture(name='run')
def _run(tmp_path):
  """The folder of a run with a checkpoint."""
  folder = written_runs.write(tmp_path / 'run')
  written_runs.save(folder, written_runs.weights(), 40)
  (folder / '.lock').write_text('123')
  return folder


def _contents(folder):
  """Returns {path: (bytes, time of the last change)}, without reports."""
  return {path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
          for path in sorted(folder.rglob('*'))
          if path.is_file() and 'report' not in path.parts}


def _names(folder):
  return sorted(path.name for path in folder.iterdir())


def _report(*flags):
  return processes.run('resnet.report', *flags)


def _without(packages, *flags):
  """Runs the program in a Python without some packages."""
  done = subprocess.run(
      [sys.executable, '-c', _WITHOUT, packages, 'resnet.report', *flags],
      cwd=_ROOT, capture_output=True, text=True, check=False,
      env={name: value for name, value in os.environ.items()
           if name != 'DISPLAY'})
  return processes.Result(done.returncode, done.stdout, done.stderr)


def test_all_parts_are_written_and_the_run_is_left_alone(run):
  pytest.importorskip('matplotlib')
  before = _contents(run)
  result = _report(f'--workdir={run}')
  assert (result.code, result.err) == (0, '')
  assert _contents(run) == before
  folder = run / 'report'
  assert _names(folder) == _FILES
  assert _names(run) == ['.lock', 'checkpoints', 'config.json', 'data.json',
                         'metrics.jsonl', 'report']
  for name in _FILES[:3]:
    Image.open(folder / name).verify()
  found = dict(weights_text.parse(
      (folder / 'weights.txt').read_text().splitlines()))
  tensors = written_runs.weights()
  assert len(found) == 34
  for name, values in found.items():
    np.testing.assert_array_equal(values, tensors[f'model/{name}'])
  *_, network, weights, written = result.out.splitlines()
  # 3x3 convolutions, shortcuts, biases, batch norm, classifier.
  count = (9 * (16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
           + 16 * 32 + 32 * 64 + 3 * 16 + 3 * 32 + 3 * 64
           + 2 * (3 * 16 + 2 * 32 + 2 * 64) + 65 * 10)
  assert network.startswith(f'network     {count:,} weights, ')
  assert f'{count:,}' in (folder / 'model.txt').read_text().splitlines()[-1]
  assert weights == 'weights     of the checkpoint of step 40'
  assert written.endswith(f' in {folder}')


def test_several_runs_are_in_one_picture(run, tmp_path):
  pytest.importorskip('matplotlib')
  other = written_runs.write(tmp_path / 'other')
  result = _report(f'--workdir={run},{other}')
  assert (result.code, result.err) == (0, '')
  assert _names(run / 'report') == ['comparison']
  assert _names(run / 'report' / 'comparison') == _FILES[:2]
  assert [line.split(':')[0] for line in result.out.splitlines()
          if line.startswith('run')] == [
              f'run         {run}', f'run         {other}']
  result = _report(f'--workdir={run},{other}', f'--output={tmp_path}/a/b')
  assert result.code == 0 and _names(tmp_path / 'a' / 'b') == _FILES[:2]


def test_curves_need_neither_tensorflow_nor_a_display(run):
  pytest.importorskip('matplotlib')
  result = _without('tensorflow,keras,matplotlib.pyplot,tkinter',
                    f'--workdir={run}', '--parts=curves')
  assert (result.code, result.err) == (0, '')
  assert _names(run / 'report') == _FILES[:2]


_INSTALL = ("The curves need matplotlib (import of matplotlib halted; None in "
            "sys.modules): install it with `pip install 'resnet-trainer"
            "[report]'`.")


@pytest.mark.slow
def test_without_matplotlib_the_rest_is_written(run):
  result = _without('matplotlib', f'--workdir={run}')
  assert result.code == 0
  assert result.err == f'warning: curves are left out. {_INSTALL}\n'
  assert _names(run / 'report') == _FILES[2:]


@pytest.mark.slow
def test_curves_that_were_asked_for_need_matplotlib(run):
  result = _without('matplotlib', f'--workdir={run}', '--parts=model,curves')
  assert (result.code, result.err) == (2, f'error: {_INSTALL}\n')
  assert _names(run / 'report') == ['model.txt']


def test_images_without_data_are_left_out(tmp_path):
  pytest.importorskip('matplotlib')
  config = written_runs.schema.Config(
      model=written_runs.CONFIG.model, train_steps=40,
      data=written_runs.schema.Data(name='cifar10'))
  run = written_runs.write(tmp_path / 'run', config=config)
  written_runs.save(run, written_runs.weights(), 40)
  flags = f'--workdir={run}', f'--data_dir={tmp_path}'
  result = _report(*flags)
  assert result.code == 0
  warning, = result.err.splitlines()
  assert warning.startswith('warning: images are left out. The first images '
                            'need the training data: Data set cifar10 ')
  assert _names(run / 'report') == ['curves.png', 'error.png', *_FILES[3:]]
  result = _report(*flags, '--parts=images')
  assert result.code == 2 and result.err.startswith('error: The first images')


def _refused(*flags):
  """Runs the program, which must end with 2; returns its sentences."""
  result = _report(*flags)
  assert result.code == 2, result
  lines = result.err.splitlines()
  assert all(line.startswith('error: ') and line.endswith('.')
             for line in lines), lines
  return [line.removeprefix('error: ') for line in lines]


def test_a_folder_that_is_no_run(tmp_path):
  line, = _refused(f'--workdir={tmp_path}')
  assert line == (
      f'--workdir={tmp_path} is not a run folder (there is no '
      f'{tmp_path}/config.json): give the folder that `python -m resnet.train` '
      'wrote.')
  assert not _names(tmp_path)


def test_a_run_that_has_only_begun(tmp_path):
  """All that can be written is, and one sentence says what is missing."""
  pytest.importorskip('matplotlib')
  run = written_runs.write(tmp_path / 'run', metrics='')
  (run / 'metrics.jsonl').unlink()
  curves, weights = _refused(f'--workdir={run}')
  assert f'{run}/metrics.jsonl has no accuracy or loss to draw: train' in curves
  assert f'There is no checkpoint in {run}/checkpoints: train first' in weights
  assert _names(run / 'report') == ['first_images.png', 'model.txt']


def test_a_run_whose_data_are_not_recorded(run):
  (run / 'data.json').write_text('{}')
  line, = _refused(f'--workdir={run}', '--parts=model')
  assert f'{run}/data.json does not say what images' in line
  (run / 'data.json').unlink()
  line, = _refused(f'--workdir={run}', '--parts=weights')
  assert '(it is missing): rerun the command that trained' in line


def test_damaged_lines_are_left_out_and_reported(tmp_path):
  pytest.importorskip('matplotlib')
  text = written_runs.lines()
  run = written_runs.write(tmp_path / 'run', '{"split": "tra\n' + text)
  line, = _refused(f'--workdir={run}', '--parts=curves')
  assert line == (
      f'{run}/metrics.jsonl has 1 damaged line, which the report leaves out: '
      'delete them, or restore the file from a backup.')
  assert _names(run / 'report') == _FILES[:2]
  # A line that is being written is not damaged.
  run = written_runs.write(tmp_path / 'other', text + '{"split": "tra')
  assert _report(f'--workdir={run}', '--parts=curves').code == 0


def test_runs_without_a_common_curve(tmp_path):
  pytest.importorskip('matplotlib')
  a, b = (written_runs.write(tmp_path / name, written_runs.lines(**none))
          for name, none in (('a', {'train': ()}), ('b', {'evals': ()})))
  line, = _refused(f'--workdir={a},{b}')
  assert line.startswith('The runs have no curve in common (')


def test_a_folder_that_cannot_be_written(run, tmp_path):
  (tmp_path / 'file').write_text('')
  line, = _refused(f'--workdir={run}', f'--output={tmp_path}/file/x')
  assert line == (
      f'{tmp_path}/file/x cannot be written (Not a directory): give a folder '
      'that you may write to with --output.')
  (run / 'report').mkdir()
  (run / 'report' / 'model.txt').mkdir()
  line, = _refused(f'--workdir={run}', '--parts=model')
  assert f'{run}/report/model.txt cannot be written (Is a directory)' in line


def _report_on(folder, done):
  """Reports on a run between its host calls."""
  if done == 2:
    ended = subprocess.run(
        [sys.executable, '-m', 'resnet.report', f'--workdir={folder}'],
        cwd=_ROOT, capture_output=True, text=True, check=False)
    pathlib.Path(f'{folder}.txt').write_text(
        f'{ended.returncode}\n{ended.stderr}{ended.stdout}')


@pytest.mark.slow
def test_a_run_that_is_training(tmp_path):
  """It ends with the same files as a run that nobody looked at."""
  pytest.importorskip('matplotlib')
  flags = ('--config.model.width=4', '--config.train_epochs=0',
           '--config.train_steps=3', '--config.schedule.warmup_epochs=0',
           '--save_every_steps=1', '--log_every_steps=1', '--steps_per_call=1')
  weights = []
  for name in 'ab':
    run = tmp_path / name
    result = processes.run(
        'resnet.train', *flags, f'--workdir={run}',
        between_calls=functools.partial(_report_on, run) if name == 'a'
        else None)
    assert result.code == 0, result.err
    assert _report(f'--workdir={run}', f'--output={run}.out').code == 0
    weights.append((tmp_path / f'{name}.out' / 'weights.txt').read_text(
        ).partition('\nstem')[2])
  assert weights[0] == weights[1]
  code, *lines = (tmp_path / 'a.txt').read_text().splitlines()
  assert code == '0', lines
  assert ' on digits, step 2 of 3' in lines[0]
  assert _names(tmp_path / 'a' / 'report') == _FILES
