"""Signs of life, and who is named when they stop."""
import contextlib
import json
import os
import time

from resnet.distribution import heartbeats


def _beats(tmp_path, rank, clock, stall_secs=30):
  stream = (tmp_path / f'err{rank}').open('w')
  (tmp_path / 'workers').mkdir(exist_ok=True)
  beat = heartbeats.Heartbeats(
      tmp_path, rank, 11, stall_secs, stream, clock)
  return beat, lambda: (tmp_path / f'err{rank}').read_text()


def test_the_file_says_what_was_begun_and_when(tmp_path, clock):
  beat, _ = _beats(tmp_path, 3, clock)
  beat.note('training', 17)
  clock.now += 5
  beat.beat()
  values = json.loads((tmp_path / 'workers' / '3.json').read_text())
  assert values['host'] and values | {'host': 'h'} == {
      'rank': 3, 'host': 'h', 'pid': os.getpid(), 'phase': 'training',
      'step': 17, 'time': 1000.0}


def test_the_worker_that_stopped_first_is_named_with_the_stacks(
    tmp_path, clock):
  slow, _ = _beats(tmp_path, 1, clock)
  slow.note('evaluation', 16)
  slow.beat()
  clock.now += 15
  chief, said = _beats(tmp_path, 0, clock)
  chief.note('training', 17)
  clock.now += 30
  chief.beat()
  assert said() == ''  # 30 s is not more than 30 s.
  clock.now += 1
  chief.beat()
  assert said().startswith('No progress for 31 s; worker 1 (')
  assert 'was last seen in step 16 (evaluation) 46 s ago.' in said()
  # The stacks, down to this very function.
  assert 'test_the_worker_that_stopped_first_is_named' in said()
  length = len(said())
  clock.now += 100
  chief.beat()
  assert len(said()) == length  # Once for each stall.
  chief.note('training', 18)
  clock.now += 31
  chief.beat()
  assert said().count('No progress for 31 s') == 2


def test_with_zero_no_stall_is_reported(tmp_path, clock):
  beat, said = _beats(tmp_path, 0, clock, stall_secs=0)
  clock.now += 1e6
  beat.beat()
  assert said() == ''


def test_damaged_files_and_those_of_other_ranks_are_left_out(tmp_path, clock):
  for rank in (10, 2):
    _beats(tmp_path, rank, clock)[0].beat()
  (tmp_path / 'workers' / '5.json').write_text('{"rank": 5, ')
  ranks = lambda workers: [
      worker['rank'] for worker in heartbeats.read(tmp_path, workers)]
  assert ranks(11) == [2, 10]
  assert ranks(10) == [2]  # With 10 workers, there is no number 10.
  assert heartbeats.read(tmp_path / 'nowhere', 11) == []


def test_neither_a_full_disk_nor_a_lost_stderr_ends_it(tmp_path, clock):
  (tmp_path / 'file').touch()  # No folder can be made in it.
  with open('/dev/full', 'w') as full:
    beat = heartbeats.Heartbeats(tmp_path / 'file', 0, 1, 30, full, clock)
    clock.now += 31
    beat.beat()
    with contextlib.suppress(OSError):
      full.close()
  beat.note('training', 1)
  clock.now += 31
  beat.beat()  # Now the stream is closed.


def test_a_folder_that_was_removed_stays_so(tmp_path, clock):
  workdir = tmp_path / 'run'
  beat = heartbeats.Heartbeats(workdir, 0, 1, 0, clock=clock)
  beat.beat()
  assert not workdir.exists()
  workdir.mkdir()
  beat.beat()
  assert heartbeats.read(workdir, 1)


def test_it_beats_by_itself(tmp_path):
  (tmp_path / 'run').mkdir()
  with heartbeats.Heartbeats(tmp_path / 'run', 0, 1, 0) as beat:
    beat.note('training', 3)
    end = time.monotonic() + 30
    while (not heartbeats.read(tmp_path / 'run', 1)
           or heartbeats.read(tmp_path / 'run', 1)[0]['step'] < 3):
      assert time.monotonic() < end
      time.sleep(0.01)
