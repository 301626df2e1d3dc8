"""Runs with --log_to: read with the services' own readers, and unharmed.

The packages themselves are used where they are installed, and modules that
raise, hang and print in their place.
"""
import functools
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from configs.process import command_line
from resnet.run.events import tags
from resnet.run.loggers import loggers
from resnet.run.loggers.service import End, figures
from tests import processes
from tests.resnet import wandb_file

_STEPS = 12
_FLAGS = (
    '--strategy=one_device', '--config.model.width=4',
    '--config.global_batch=16', '--config.train_epochs=0',
    f'--config.train_steps={_STEPS}', '--config.schedule.warmup_epochs=0.05',
    '--steps_per_call=1', '--log_every_steps=2', '--eval_every_steps=4',
    '--save_every_steps=3', '--save_every_secs=0')
_INSTALLED = [name for name in ('wandb', 'mlflow')
              if importlib.util.find_spec(name)]
_ROOT = pathlib.Path(__file__).parents[2]
# Variables of a user could send what the tests make to a server.
_OFFLINE = {'WANDB_MODE': 'offline', 'WANDB_PROJECT': 'resnet',
            'MLFLOW_TRACKING_URI': '', 'MLFLOW_EXPERIMENT_NAME': ''}


def _train(workdir, *flags, between_calls=None):
  return processes.run(
      'resnet.train', *_FLAGS, *flags, f'--workdir={workdir}',
      between_calls=between_calls, environment=_OFFLINE)


def _kill_when_kept(workdir, step, done):
  """Kills after `step` updates, a checkpoint, and the start of all services.

  These work beside training: a busy machine may be late with them.
  """
  if done != step:
    return
  ids = workdir / 'loggers.json'
  while not ((workdir / 'checkpoints' / 'ckpt-6.index').exists()
             and ids.exists()
             and json.loads(ids.read_text()).keys() == set(_INSTALLED)):
    time.sleep(0.01)
  processes.kill_at(step, done)


def _records(workdir):
  return [json.loads(line)
          for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def _curve(workdir):
  """Returns the records without what depends on the clock."""
  return [{name: value for name, value in record.items()
           if not tags.is_of_machine(name)} for record in _records(workdir)]


def _weights(workdir):
  reader = tf.train.load_checkpoint(
      os.fspath(workdir / 'checkpoints' / f'ckpt-{_STEPS}'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map() if name != 'identity'}


def _check_same(workdir, expected):
  assert _curve(workdir) == _curve(expected)
  weights = _weights(expected)
  assert weights
  for name, value in _weights(workdir).items():
    np.testing.assert_array_equal(value, weights.pop(name), name)
  assert not weights


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('undisturbed') / 'run'
  result = _train(workdir)
  assert result.code == 0, result.err
  return workdir


_RAISES = """
print('fake wandb is imported')
class Settings:
  def __init__(self, **_): pass
class Run:
  def define_metric(self, *_, **__): pass
  def log(self, values, **_):
    print('fake wandb', values)
    raise ConnectionError('no route to the server')
def init(**_):
  return Run()
"""
_HANGS = """
import atexit, sys, time
atexit.register(time.sleep, 1000)
print('fake mlflow is imported', file=sys.stderr)
class MlflowClient:
  def __init__(self, uri): pass
  def __getattr__(self, name): time.sleep(1000)
"""


def _wait_shortly(_):
  """Between calls: makes this process wait for a second at its end."""
  loggers._SECS = dict.fromkeys(End, 1.2)
  command_line._LONGEST_EXIT_SECS = 1.0


@pytest.mark.slow
def test_services_that_raise_hang_and_print(tmp_path, monkeypatch, undisturbed):
  (tmp_path / 'wandb.py').write_text(_RAISES)
  (tmp_path / 'mlflow').mkdir()
  (tmp_path / 'mlflow' / '__init__.py').write_text(_HANGS)
  (tmp_path / 'mlflow' / 'entities.py').write_text('')
  monkeypatch.syspath_prepend(tmp_path)  # Child processes get sys.path.
  workdir = tmp_path / 'run'
  result = _train(workdir, '--log_to=wandb', '--log_to=mlflow',
                  between_calls=_wait_shortly)
  assert result.code == 0, result.err
  assert 'fake wandb is imported' in result.out
  assert 'fake mlflow is imported' in result.err
  assert result.err.count('is off until this process ends') == 2
  assert '--log_to=wandb is off until this process ends (no route to the ' \
      'server)' in result.err
  assert '--log_to=mlflow is off until this process ends (it has not taken ' \
      'all figures in time)' in result.err
  assert 'Traceback' not in result.err
  _check_same(workdir, undisturbed)


@pytest.fixture(scope='module')
def continued(tmp_path_factory):
  """Returns the folder of a run with all services, killed after 8 steps."""
  workdir = tmp_path_factory.mktemp('services') / 'run'
  flags = [f'--log_to={name}' for name in _INSTALLED]
  killed = _train(
      workdir, *flags, between_calls=functools.partial(
          _kill_when_kept, workdir, 8))
  assert killed.code == -signal.SIGKILL, killed.err
  ids = json.loads((workdir / 'loggers.json').read_text())
  result = _train(workdir, *flags)
  assert result.code == 0, result.err
  assert 'warning' not in result.err
  known = json.loads((workdir / 'loggers.json').read_text())
  assert {name: values['id'] for name, values in known.items()} == {
      name: values['id'] for name, values in ids.items()}
  assert known.keys() == set(_INSTALLED)
  return workdir


def _skip_without(package):
  return pytest.mark.skipif(
      package not in _INSTALLED, reason=f'{package} is not installed')


def _expected(workdir):
  """Returns {name: {step: value}} of all figures that a service must have."""
  expected = {}
  for record in _records(workdir):
    for name, value in figures(record).items():
      expected.setdefault(name, {})[record['step']] = value
  assert set(expected['quality/loss']) == {2, 4, 6, 8, 10, 12}
  assert set(expected['quality/accuracy_eval']) == {4, 8, 12}
  return expected


@pytest.mark.slow
@_skip_without('wandb')
def test_wandb_has_a_run_that_was_killed(continued, undisturbed):
  _check_same(continued, undisturbed)
  run_id = json.loads((continued / 'loggers.json').read_text())['wandb']['id']
  folders = sorted((continued / 'wandb').glob('offline-run-*'))
  assert len(folders) == 2
  assert all(folder.name.endswith(f'-{run_id}') for folder in folders)
  # W&B had written nothing yet of the process that was killed, so that the next
  # one handed over all of it.
  settings, rows, codes = wandb_file.read(
      folders[1] / f'run-{run_id}.wandb')
  assert settings['model.width'] == 4 and settings['optimizer.name'] == 'sgd'
  assert codes == [0]
  assert [row['_step'] for row in rows] == list(range(9))
  for name, values in _expected(continued).items():
    assert {row['step']: row[name] for row in rows if name in row} == (
        pytest.approx(values, rel=1e-12)), name
  # The processes of W&B have left with those that they served.
  shown = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True,
                         check=True).stdout
  served = re.findall(r'wandb-core .*--pid (\d+)', shown)
  assert all(pathlib.Path('/proc', pid).exists() for pid in served)


@pytest.mark.slow
@_skip_without('mlflow')
def test_mlflow_has_a_run_that_was_killed(continued, undisturbed, monkeypatch):
  _check_same(continued, undisturbed)
  monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
  monkeypatch.setenv('MLFLOW_DISABLE_TELEMETRY', 'true')
  import mlflow  # pyright: ignore
  client = mlflow.MlflowClient((continued / 'mlruns').as_uri())
  (experiment,) = client.search_experiments(filter_string="name = 'resnet'")
  (run,) = client.search_runs([experiment.experiment_id])
  known = json.loads((continued / 'loggers.json').read_text())['mlflow']
  assert run.info.run_id == known['id']
  assert (run.info.run_name, run.info.status) == ('run', 'FINISHED')
  assert run.data.params['model.width'] == '4'
  assert run.data.params['optimizer.name'] == 'sgd'
  for name, values in _expected(continued).items():
    history = client.get_metric_history(run.info.run_id, name)
    assert {metric.step: metric.value for metric in history} == values, name
    assert run.data.metrics[name] == values[_STEPS], name
  # What was trained twice, from the checkpoint of step 6 to the kill, may be
  # there twice, with the same bits.
  losses = [(metric.step, metric.value) for metric in
            client.get_metric_history(run.info.run_id, 'quality/loss')]
  assert {step for step, _ in losses} == {2, 4, 6, 8, 10, 12}
  assert len(set(losses)) == 6


_TRAIN_WITHOUT = """
import importlib, sys
sys.modules['wandb'] = None  # Makes `import` raise ImportError.
from configs.process import command_line
train = importlib.import_module('resnet.train')
code = command_line.outcome(train.main, train.parse)
print(code, 'tensorflow' in sys.modules)
"""


def test_a_missing_package_ends_before_tensorflow_is_imported(tmp_path):
  result = subprocess.run(
      [sys.executable, '-c', _TRAIN_WITHOUT, '--log_to=wandb',
       f'--workdir={tmp_path / "run"}'], cwd=_ROOT, capture_output=True,
      text=True, check=False)
  assert result.stdout == '2 False\n'
  assert result.stderr.startswith('error: --log_to=wandb needs wandb, which is '
                                  'not installed: run `pip install')
  assert result.stderr.count('\n') == 1
  assert not (tmp_path / 'run').exists()
