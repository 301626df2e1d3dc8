"""Lines stay whole, none is lost, and a closed console ends nothing."""
import io
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from launch.local import output
from tests.launch import stub_workers


class _Pieces(io.RawIOBase):
  """A pipe that is read piece by piece."""

  def __init__(self, pieces):
    self._pieces = list(pieces)

  def read(self, _):
    return self._pieces.pop(0) if self._pieces else b''


def _read(pieces, log, notice=b'trouble'):
  """Returns (Reader at its end, bytes shown, text said)."""
  out, err = io.BytesIO(), io.StringIO()
  reader = output.Reader(
      3, _Pieces(pieces), log, output.Console([3], out, err), notice)
  reader.join(10)
  return reader, out.getvalue(), err.getvalue()


@pytest.mark.parametrize('pieces, lines', [
    (['one\ntwo\n'], ['one', 'two']),
    (['o', 'ne\nt', 'wo', '\n'], ['one', 'two']),
    (['one\n', 'no end'], ['one', 'no end']),
    (['one\n\ntwo\n'], ['one', '', 'two']),
    (['\r 1%', '\r 2%', '\r 3%\n', 'done\n'], [' 1%', ' 2%', ' 3%', 'done']),
    (['1%\r2%\r'], ['1%', '2%']),
    (['one\r\ntwo\r\n'], ['one', 'two']),
    (['one\r', '\ntwo\r', '\n', '\nthree'], ['one', 'two', '', 'three']),
    (['one\r', 'two\n'], ['one', 'two']),
    ([], []),
])
def test_lines_are_shown_whole_and_logged_unchanged(tmp_path, pieces, lines):
  pieces = [piece.encode() for piece in pieces]
  path = tmp_path / 'log'
  reader, shown, said = _read(pieces, open(path, 'wb', buffering=0))
  assert shown.decode() == ''.join(f'[w3] {line}\n' for line in lines)
  assert reader.last_lines() == lines
  assert path.read_bytes() == b''.join(pieces)  # Nothing is changed there.
  assert not said


def test_a_line_without_end_does_not_fill_the_memory(tmp_path):
  pieces = [b'x' * 2**16] * 40  # 2.5 MiB.
  _, shown, _ = _read(pieces, open(tmp_path / 'log', 'wb', buffering=0))
  lines = shown.splitlines()
  assert sum(line.count(b'x') for line in lines) == 40 * 2**16
  assert [len(line) for line in lines[:-1]] == [2**20 + 2**16 + 5] * 2


def test_bytes_that_are_not_text(tmp_path):
  reader, shown, _ = _read(
      [b'\xff\x00\n'], open(tmp_path / 'log', 'wb', buffering=0))
  assert shown == b'[w3] \xff\x00\n' and reader.last_lines() == ['\ufffd\x00']


@pytest.mark.parametrize('text, noticed', [
    (b'so much trouble here\n', True), (b'trou', False)])
def test_a_notice_is_found_across_reads(tmp_path, text, noticed):
  pieces = [text[:8], text[8:], b'line\n' * 30]
  reader, _, _ = _read(pieces, open(tmp_path / 'log', 'wb', buffering=0))
  assert reader.noticed == noticed


def test_a_full_disk_is_reported_once_and_reading_continues():
  _, shown, said = _read(
      [b'one\n', b'two\n'], open('/dev/full', 'wb', buffering=0))
  assert shown == b'[w3] one\n[w3] two\n'
  assert said == ('[launch] the log of worker 3 stops here (No space left on '
                  'device): /dev/full\n')


_PRINTS = """
letter = 'abcd'[rank] * 90
for i in range(1000):
  text = f'{letter} {i} {letter}\\n'.encode()
  cut = i % len(text)
  os.write(1 + i % 2, text[:cut])  # stdout, stderr
  os.write(1 + i % 2, text[cut:])
"""


def test_lines_of_many_workers_are_never_mixed(tmp_path):
  result = stub_workers.run(tmp_path, _PRINTS, workers=4)
  assert result.code == 0 and len(result.out) == 4000
  counts = {rank: [] for rank in range(4)}
  for line in result.out:
    match = re.fullmatch(r'\[w(\d)\] (\w)\2{89} (\d+) \2{90}', line)
    assert match and 'abcd'[int(match[1])] == match[2], line
    counts[int(match[1])].append(int(match[3]))
  assert all(numbers == list(range(1000)) for numbers in counts.values())
  for rank in range(4):
    shown = [line[5:] for line in result.out if line.startswith(f'[w{rank}]')]
    log = (tmp_path / 'attempt_0' / f'worker_{rank}.log').read_text()
    assert log.splitlines() == shown


class _Slow(io.BytesIO):
  """Gives other threads time between bytes."""

  def write(self, content):
    for byte in content:
      super().write(bytes([byte]))
      time.sleep(1e-5)


def test_one_thread_writes_at_a_time():
  stream = _Slow()
  console = output.Console(range(4), stream, io.TextIOWrapper(
      stream, write_through=True))
  threads = [threading.Thread(target=console.show, args=(rank, [b'line'] * 20))
             for rank in range(4)]
  for thread in threads:
    thread.start()
  console.say('line')
  for thread in threads:
    thread.join()
  assert sorted(stream.getvalue().split(b'\n')) == [
      b'', b'[launch] line', *(
          b'[w%d] line' % rank for rank in range(4) for _ in range(20))]


def test_only_chosen_workers_are_shown_but_all_are_logged(tmp_path):
  result = stub_workers.run(tmp_path, 'print(rank)', workers=3, ranks=[1])
  assert result.out == ['[w1] 1']
  assert [path.read_text() for path in sorted(tmp_path.rglob('*.log'))] == [
      '0\n', '1\n', '2\n']


def test_a_closed_console_does_not_end_the_training():
  """As in `python -m launch.local ... | head -1`."""
  out, theirs = os.pipe()
  os.close(out)
  code = """
from launch.local import output
console = output.Console([0])
for _ in range(3):
  console.show(0, [b'line'])
console.say('still here')
"""
  with os.fdopen(theirs, 'wb') as stdout:
    done = subprocess.run([sys.executable, '-c', code], stdout=stdout,
                          stderr=subprocess.PIPE, text=True, check=False)
  assert (done.returncode, done.stderr) == (0, '[launch] still here\n')
