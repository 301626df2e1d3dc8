"""Lines are printed when due, with their time; a bar only on a terminal."""
import io
import re
from typing import Any

import pytest

from resnet.run.screen import progress


class _Terminal(io.StringIO):

  def isatty(self):
    return True


_VALUES: Any = dict(
    epoch=1.5, loss=0.25, accuracy=0.875, images_per_second=640.4)
_TEXT = 'epoch 1.50  loss 0.2500  accuracy 0.8750  640 images/s'
_XTERM = {'TERM': 'xterm'}


def _lines(clock, total, first=0):
  """Returns a Progress that writes to no terminal, and its stream."""
  stream = io.StringIO()
  return progress.Progress(total, first, stream, clock=clock,
                           now=lambda: f'at {clock.now:g}:'), stream


def test_lines_are_printed_when_due_and_at_the_end(clock):
  shown, stream = _lines(clock, 100)
  for step, now in [(10, 1009.9), (20, 1010.0), (30, 1019.9), (40, 1020.5),
                    (50, 1030.4), (100, 1030.45)]:
    clock.now = now
    shown.show(step, **_VALUES)
  shown.close()
  *others, last = stream.getvalue().splitlines()
  # The steps from the 11th on took 0.1 s for 10, then 10.6 s for 30.
  assert others == [f'at 1010: step 20/100  {_TEXT}  -:-- left',
                    f'at 1020.5: step 40/100  {_TEXT}  0:21 left']
  assert last.startswith(f'at 1030.45: step 100/100  {_TEXT}  0:00')


def test_a_line_has_the_learning_rate_which_is_read_only_then(clock):
  shown, stream = _lines(clock, 100)
  read = []

  def rate():
    read.append(clock.now)
    return 0.0125

  for clock.now in (1005, 1010, 1015):
    shown.show(int(clock.now - 1000), **_VALUES, learning_rate=rate)
  assert read == [1010]
  assert '  learning rate 0.0125  640 images/s  ' in stream.getvalue()


def test_lines_become_fewer(clock):
  shown, stream = _lines(clock, 10**6)
  at = []
  for step in range(1, 24 * 3600):
    clock.now += 1
    before = stream.tell()
    shown.show(step, **_VALUES)
    if stream.tell() > before:
      at.append(step)
  gaps = [after - before for before, after in zip([0, *at], at)]
  assert set(gaps[:20]) == {10} and gaps == sorted(gaps) and gaps[-1] == 300
  assert sum(time <= 3600 for time in at) < 85  # In the first hour.


def test_say_prints_a_line_with_its_time_immediately(clock):
  shown, stream = _lines(clock, 10)
  shown.say('evaluating', 'bold')
  shown.block('network\nbatch')
  assert stream.getvalue() == 'at 1000: evaluating\nnetwork\nbatch\n'


def test_what_takes_long_is_a_line_only_if_it_is_noted(clock):
  shown, stream = _lines(clock, 10)
  with shown.phase('evaluating'):
    shown.note('compiling')
  assert stream.getvalue() == 'at 1000: compiling...\n'


def test_the_default_stream_is_stderr_and_the_time_has_its_offset(capsys):
  progress.Progress(10, 0).say('evaluating')
  out, err = capsys.readouterr()
  assert not out
  assert re.fullmatch(
      r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d evaluating\n', err)


def test_a_terminal_shows_a_bar_and_lines_above_it(clock):
  stream = _Terminal()

  def drawn():
    return [text.removesuffix('\r')
            for text in stream.getvalue().split('\r\x1b[K')]

  with progress.Progress(100, 40, stream, clock=clock, environ=_XTERM) as shown:
    shown.block('network')
    shown.note('compiling')
    assert drawn() == ['network\n', 'step 40/100  compiling...']
    clock.now += 1
    shown.show(50, **_VALUES)
    assert drawn()[-1].startswith(' 50/100  [') and '640 img/s' in drawn()[-1]
    clock.now += 0.01
    shown.show(51, **_VALUES)  # Too soon to be seen.
    assert drawn()[-1].startswith(' 50/100  [')
    with shown.phase('evaluating'):
      assert drawn()[-1] == 'step 51/100  evaluating...'
    shown.say('accuracy 0.5', 'bold')
    # A line of its own, and the bar again.
    assert drawn()[-2] == '\x1b[1maccuracy 0.5\x1b[0m\n'
    assert drawn()[-1].startswith(' 51/100  [')
    shown.show(100, **_VALUES)
  assert drawn()[-1].startswith('100/100  [') and drawn()[-1].endswith(
      ' left\r\n')


@pytest.mark.parametrize('environ, bar, color', [
    (_XTERM, True, True), ({**_XTERM, 'NO_COLOR': ''}, True, True),
    ({**_XTERM, 'NO_COLOR': '0'}, True, False), ({'TERM': 'dumb'}, False, False)
])
def test_colors_can_be_turned_off(environ, bar, color, clock):
  stream = _Terminal()
  shown = progress.Progress(100, 0, stream, clock=clock, environ=environ)
  shown.note('compiling')
  assert ('\r' in stream.getvalue()) == bar
  shown.say('warning: x', 'yellow')
  assert ('\x1b[33mwarning: x\x1b[0m\n' in stream.getvalue()) == color
  assert 'warning: x' in stream.getvalue()


def test_an_error_begins_a_line_of_its_own(clock):
  stream = _Terminal()
  with pytest.raises(ValueError):
    with progress.Progress(9, 0, stream, clock=clock, environ=_XTERM) as shown:
      shown.note('compiling')
      raise ValueError
  assert stream.getvalue().endswith('compiling...\r\n')
