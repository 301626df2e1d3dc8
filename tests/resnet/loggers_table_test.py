"""metrics.csv has what metrics.jsonl has, whatever happens to it."""
import csv
import errno
import json
import os

import pytest

from configs.process.errors import UserError
from resnet.run import summaries
from resnet.run.loggers import table

_TRAIN = {'split': 'train', 'step': 10, 'time': 1000.5, 'loss': 0.5,
          'learning_rate': 1e-05, 'epoch': 2}
_EVAL = {'split': 'eval', 'step': 10, 'time': 1001.0, 'loss': float('inf'),
         'accuracy': 0.75, 'examples': 11, 'epoch': 2}
# By hand.
_TEXT = (b'split,step,epoch,time,loss,learning_rate\r\n'
         b'train,10,2,1000.5,0.5,1e-05\r\n')
_TEXT_OF_BOTH = (
    b'split,step,epoch,time,loss,learning_rate,accuracy,examples\r\n'
    b'train,10,2,1000.5,0.5,1e-05,,\r\n'
    b'eval,10,2,1001.0,inf,,0.75,11\r\n')


def _follow(workdir, *records):
  """Returns a function that adds a record to a Table, and the table's file."""
  made, followed = table.Table(workdir), list(records)
  made.follow(followed)

  def add(record):
    followed.append(record)
    made.add(record)

  return add, workdir / 'metrics.csv'


def test_a_new_figure_is_a_new_column(tmp_path):
  add, path = _follow(tmp_path)
  assert path.read_bytes() == b'split,step,epoch,time\r\n'
  add(_TRAIN)
  assert path.read_bytes() == _TEXT
  add(_EVAL)
  assert path.read_bytes() == _TEXT_OF_BOTH
  before = os.stat(path).st_ino
  add({**_TRAIN, 'step': 20})
  assert path.read_bytes() == (
      _TEXT_OF_BOTH + b'train,20,2,1000.5,0.5,1e-05,,\r\n')
  assert os.stat(path).st_ino == before  # Appended, not written anew.
  assert os.listdir(tmp_path) == ['metrics.csv']


def test_a_resumed_run_has_no_lines_after_its_checkpoint(tmp_path, clock):
  def open_at(step):
    clock.now += 100
    return summaries.Summaries(
        tmp_path, step, clock, listeners=[table.Table(tmp_path)])

  written = open_at(0)
  for step in (10, 20, 30):
    written.write('train', step, {'loss': step / 8})
  written.write('eval', 30, {'accuracy': 0.5, 'examples': 9})
  written.close()
  written = open_at(20)
  written.write('train', 30, {'loss': 100.0})
  written.close()

  rows = list(csv.DictReader((tmp_path / 'metrics.csv').open(newline='')))
  assert [(row['split'], row['step'], row['loss']) for row in rows] == [
      ('train', '10', '1.25'), ('train', '20', '2.5'), ('train', '30', '100.0')]
  assert list(rows[0]) == ['split', 'step', 'epoch', 'time', 'loss']
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line) for line in lines] == [
      {'split': row['split'], 'step': int(row['step']),
       'time': float(row['time']), 'loss': float(row['loss'])} for row in rows]


def test_only_the_chief_writes_it(tmp_path, clock):
  summaries.Summaries(tmp_path, 0, clock, chief=False,
                      listeners=[table.Table(tmp_path)]).write(
                          'train', 10, {'loss': 0.5})
  assert os.listdir(tmp_path) == []


def test_a_run_that_goes_back_has_a_shorter_table(tmp_path):
  made = table.Table(tmp_path)
  made.follow([_TRAIN, _EVAL])
  assert (tmp_path / 'metrics.csv').read_bytes() == _TEXT_OF_BOTH
  made.follow([_TRAIN])
  assert (tmp_path / 'metrics.csv').read_bytes() == _TEXT


def _replace_by_pipe(path):
  path.unlink()
  os.mkfifo(path)


@pytest.mark.parametrize('damage', [
    lambda path: path.unlink(), lambda path: path.write_bytes(_TEXT[:-3]),
    lambda path: path.write_bytes(b''),
    lambda path: path.write_bytes(b'\0' * 9), _replace_by_pipe])
def test_damage_does_not_matter(tmp_path, damage):
  add, path = _follow(tmp_path, _TRAIN)
  damage(path)
  add(_TRAIN)
  assert path.read_bytes() == _TEXT + _TEXT.splitlines(True)[1]


def _fail(monkeypatch, number):
  def fail(*_, **__):
    raise OSError(number, os.strerror(number))
  monkeypatch.setattr(table.atomic_file, 'write', fail)


@pytest.mark.parametrize('number', [errno.EIO, errno.EACCES, errno.EISDIR])
def test_a_table_that_cannot_be_written_is_left_out(
    tmp_path, monkeypatch, capsys, number):
  made, path = table.Table(tmp_path), tmp_path / 'metrics.csv'
  made.follow([_TRAIN])
  _fail(monkeypatch, number)
  for _ in range(2):
    made.add(_EVAL)
    made.follow([_TRAIN])
  assert path.read_bytes() == _TEXT
  assert capsys.readouterr().err == (
      f'warning: {path} cannot be written ({os.strerror(number)}): it is left '
      'out, and metrics.jsonl has the same figures.\n')


def test_a_full_disk_ends_the_run(tmp_path, monkeypatch):
  add, path = _follow(tmp_path, _TRAIN)
  _fail(monkeypatch, errno.ENOSPC)
  with pytest.raises(UserError, match=r'metrics\.csv cannot be written '
                     r'\(No space left on device\): free some space'):
    add(_EVAL)
  assert path.read_bytes() == _TEXT
