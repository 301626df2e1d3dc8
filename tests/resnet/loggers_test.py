"""The run neither waits for a service of --log_to nor breaks with it."""
import json
import re
import sys
import threading
import time

import pytest

from configs import schema
from configs.process.errors import UserError
from resnet.reporting.unavailable import Unavailable
from resnet.run.loggers import loggers, packages, sender
from resnet.run.loggers.memory import Memory
from resnet.run.loggers.service import End, figures

_OFF = ('--log_to=wandb is off until this process ends ({}): metrics.jsonl has '
        'all figures, and the next process of this run hands over what is '
        'missing.')


def _record(step, split='train'):
  return {'split': split, 'step': step, 'time': 1000.0, 'loss': step / 8}


class _Service:
  """A service that keeps what it was sent, and may misbehave."""

  def __init__(self, keeps_at_once=True, at=None, misbehave=None):
    """Calls `misbehave` in a method named `at`, or for the step `at`."""
    self.known, self.keeps_at_once = {}, keeps_at_once
    self.sent, self._at, self._misbehave = [], at, misbehave

  def prepare(self):
    pass

  def begin(self):
    self._reach('begin')
    self.known.setdefault('id', 'a1')

  def send(self, record):
    self._reach(record['step'])
    self.sent.append((record['split'], record['step']))

  def close(self, end):
    self._reach('close')
    self.sent.append(end)

  def _reach(self, where):
    if where == self._at:
      self._misbehave()


def _raise(error):
  def misbehave():
    raise error
  return misbehave


@pytest.fixture
def start(tmp_path, monkeypatch):
  """Returns a function: service, records so far -> Loggers, warnings."""
  def make(service, *records, secs=20.0):
    monkeypatch.setattr(loggers, '_SERVICES', {'wandb': lambda run: service})
    monkeypatch.setattr(loggers, '_SECS', dict.fromkeys(End, secs))
    monkeypatch.setattr(packages, 'check', lambda services: None)
    warnings = []
    made = loggers.Loggers(
        tmp_path, schema.Config(), ['wandb'], warnings.append)
    made.follow(list(records))
    return made, warnings
  return make


def _known(folder):
  return json.loads((folder / 'loggers.json').read_text())


def test_a_service_gets_all_records_in_order(tmp_path, start):
  service = _Service()
  made, warnings = start(service, _record(10), _record(10, 'eval'))
  made.add(_record(20))
  made.close(End.FINISHED)
  made.close(End.FAILED)  # As the end of the `with` does.
  assert service.sent == [
      ('train', 10), ('eval', 10), ('train', 20), End.FINISHED]
  assert not warnings
  assert _known(tmp_path) == {'wandb': {'id': 'a1', 'train': 20, 'eval': 10}}


def test_what_is_kept_at_the_end_is_noted_then(tmp_path, start):
  made, _ = start(_Service(keeps_at_once=False))
  made.add(_record(20))
  made.close(End.STOPPED)
  assert _known(tmp_path) == {'wandb': {'id': 'a1', 'train': 20}}


def test_the_next_process_hands_over_what_is_missing(tmp_path, start):
  known = {'id': 'b2', 'train': 10, 'eval': 10}
  Memory(tmp_path).note('wandb', known)
  service = _Service()
  made, _ = start(
      service, _record(10), _record(10, 'eval'), _record(20), _record(30))
  made.add(_record(40))
  made.close(End.STOPPED)
  assert service.sent == [
      ('train', 20), ('train', 30), ('train', 40), End.STOPPED]
  assert _known(tmp_path)['wandb'] == {**known, 'train': 40}


def test_steps_that_are_trained_again_are_handed_over_again(tmp_path, start):
  Memory(tmp_path).note('wandb', {'id': 'b2', 'train': 30})
  service = _Service()
  made, _ = start(service, _record(10))
  made.add(_record(20))
  made.close(End.STOPPED)
  assert service.sent == [('train', 20), End.STOPPED]
  assert _known(tmp_path)['wandb']['train'] == 20


def test_a_run_that_goes_back_is_followed_on(tmp_path, start):
  service = _Service()
  made, warnings = start(service)
  made.add(_record(10))
  made.add(_record(20))
  made.follow([_record(10)])
  made.add(_record(20))
  made.close(End.FINISHED)
  assert service.sent == [
      ('train', 10), ('train', 20), ('train', 20), End.FINISHED]
  assert not warnings


@pytest.mark.parametrize('keeps_at_once, train', [(True, 20), (False, 10)])
def test_a_killed_process_has_noted_what_is_kept(
    tmp_path, start, keeps_at_once, train):
  Memory(tmp_path).note('wandb', {'id': 'b2', 'train': 10})
  reached = threading.Event()
  hang = lambda: (reached.set(), time.sleep(1000))
  made, _ = start(_Service(keeps_at_once, 30, hang), _record(20))
  made.add(_record(30))
  reached.wait(20)
  assert _known(tmp_path)['wandb'] == {'id': 'b2', 'train': train}


@pytest.mark.parametrize('at', ['begin', 20, 'close'])
@pytest.mark.parametrize('error, text', [
    (ValueError('no such project.\nmore'), 'no such project. more'),
    (OSError(28, 'No space left'), '[Errno 28] No space left'),
    (SystemExit(3), '3'), (KeyboardInterrupt(), 'KeyboardInterrupt')])
def test_an_error_is_one_warning(tmp_path, start, at, error, text):
  service = _Service(at=at, misbehave=_raise(error))
  made, warnings = start(service, _record(10))
  made.add(_record(20))
  if at != 'close':
    made._senders[0]._thread.join(20)
  made.add(_record(30))
  made.add(_record(40))
  made.close(End.FINISHED)
  assert warnings == [_OFF.format(text)]
  assert ('train', 40) in service.sent or at != 'close'
  assert (tmp_path / 'metrics.csv').read_bytes().count(b'\n') == 5


def test_a_service_that_hangs_holds_nothing_up(start, monkeypatch):
  monkeypatch.setattr(sender, '_SAY_SECS', 0.1)
  service = _Service(at=20, misbehave=lambda: time.sleep(1000))
  made, warnings = start(service, _record(10), secs=0.3)
  before = time.monotonic()
  for step in range(20, 100):
    made.add(_record(step))
  assert time.monotonic() - before < 0.2
  made.close(End.FINISHED)
  assert 0.3 <= time.monotonic() - before < 2
  assert warnings == [
      'waiting up to 0 s until wandb has all figures.',
      _OFF.format('it has not taken all figures in time')]


def test_what_waits_is_bounded(start, monkeypatch):
  monkeypatch.setattr(sender, '_MOST', 3)
  service = _Service(at='begin', misbehave=lambda: time.sleep(1000))
  made, warnings = start(service)
  for step in range(3):
    made.add(_record(step))
  assert not warnings
  for step in range(3, 9):
    made.add(_record(step))
  made.close(End.FINISHED)  # Does not wait: the service is off.
  assert warnings == [_OFF.format('it has not taken the last 3 records')]
  assert made._listeners[1]._queue.qsize() == 4  # With the end.


def test_a_damaged_memory_begins_new_runs(tmp_path, start, capsys):
  (tmp_path / 'loggers.json').write_text('{"wandb": {"id": 5}}')
  service = _Service()
  made, warnings = start(service, _record(10))
  made.close(End.FINISHED)
  assert service.sent == [('train', 10), End.FINISHED] and not warnings
  assert capsys.readouterr().err == (
      f'warning: {tmp_path / "loggers.json"} is damaged (wrong values): '
      '--log_to begins new runs.\n')
  assert _known(tmp_path) == {'wandb': {'id': 'a1', 'train': 10}}


def test_a_memory_that_cannot_be_read_is_left_alone(tmp_path, start):
  (tmp_path / 'loggers.json').mkdir()
  made, warnings = start(_Service(), _record(10))
  made.close(End.FINISHED)
  assert len(warnings) == 1 and 'loggers.json cannot be read' in warnings[0]
  assert (tmp_path / 'loggers.json').is_dir()


def test_a_figure_is_named_by_its_tag_and_its_split():
  assert figures({**_record(8, 'eval'), 'own': 3.0}) == {
      'quality/loss_eval': 1.0, 'quality/own_eval': 3.0}
  assert figures(_record(8)) == {'quality/loss': 1.0}


@pytest.mark.parametrize('services', [
    'wandb', ('tensorboard',), ['', 'mlflow']])
def test_an_unknown_service_is_a_sentence(services):
  with pytest.raises(UserError, match=re.escape(
      f'log_to={services!r} is not allowed: give a tuple of some of '
      "'wandb', 'mlflow'.")):
    packages.check(services)


@pytest.mark.parametrize('service, package', [
    ('wandb', 'wandb'), ('mlflow', 'mlflow-skinny')])
def test_a_missing_package_is_a_sentence(monkeypatch, service, package):
  monkeypatch.setitem(sys.modules, service, None)  # Cannot be imported.
  with pytest.raises(Unavailable) as raised:
    packages.check([service])
  assert str(raised.value) == (
      f'--log_to={service} needs {package}, which is not installed: run `pip '
      f"install -e '.[{service}]'` or `pip install {package}`, or leave "
      f'--log_to={service} out.')
