"""Each start of a run leaves a line, whatever happened to the file."""
import json
import os
import platform
import time

import pytest

from configs.process.errors import UserError
from resnet.run import starts
from tests import processes


def _lines(folder):
  return (folder / 'starts.jsonl').read_bytes().splitlines()


def test_each_start_is_a_line(tmp_path):
  before = time.time()
  starts.record(tmp_path, 0)
  starts.record(tmp_path, 17)
  first, second = map(json.loads, _lines(tmp_path))
  assert (first['step'], second['step']) == (0, 17)
  assert before <= first['time'] <= second['time'] <= time.time()
  assert first['host'] == platform.node()


@pytest.mark.parametrize('damage', [
    b'\xff\x00\n', b'[1]\n', b'{"step": true}\n', b'{"time": 1, "st'])
def test_a_damaged_line_spoils_no_other(tmp_path, damage):
  starts.record(tmp_path, 0)
  with open(tmp_path / 'starts.jsonl', 'ab') as file:
    file.write(damage)
  starts.record(tmp_path, 17)
  first, damaged, last = _lines(tmp_path)
  assert damaged == damage.rstrip()
  assert [json.loads(line)['step'] for line in (first, last)] == [0, 17]


def test_a_folder_in_its_place_is_one_sentence(tmp_path):
  (tmp_path / 'starts.jsonl').mkdir()
  with pytest.raises(UserError, match='starts.jsonl'):
    starts.record(tmp_path, 0)


def _kill_at_3(done):
  if done == 3:
    os._exit(9)


@pytest.mark.slow
def test_a_run_counts_its_interruptions(tmp_path):
  flags = ('--config.model.width=4', '--config.train_epochs=0',
           '--config.train_steps=5', '--config.schedule.warmup_epochs=0',
           '--save_every_steps=2', '--steps_per_call=1',
           f'--workdir={tmp_path}')
  assert processes.run(
      'resnet.train', *flags, between_calls=_kill_at_3).code == 9
  for _ in range(2):  # The second one has nothing left to train.
    assert processes.run('resnet.train', *flags).code == 0
  assert [json.loads(line)['step'] for line in _lines(tmp_path)] == [0, 2]
