"""Plain lines are printed when due; the bar only on a terminal."""
import io

import pytest

from resnet.run.screen import progress


class _Clock:
  """A clock that the test sets."""
  now = 1000.0

  def __call__(self):
    return self.now


class _Terminal(io.StringIO):

  def isatty(self):
    return True


_VALUES = dict(epoch=1.5, loss=0.25, accuracy=0.875, images_per_second=640.4)
_TEXT = 'epoch 1.50  loss 0.2500  accuracy 0.8750  640 images/s'


def test_lines_are_printed_every_ten_seconds_and_at_the_end():
  clock, stream = _Clock(), io.StringIO()
  bar = progress.Progress(100, 0, stream, clock=clock)
  for step, now in [(10, 1009.9), (20, 1010.0), (30, 1019.9), (40, 1020.5),
                    (50, 1030.4), (100, 1030.45)]:
    clock.now = now
    bar.show(step, **_VALUES)
  bar.close()
  assert stream.getvalue().splitlines() == [
      f'step 20/100  {_TEXT}  0:40 left',  # 80 steps of 10 s / 20.
      f'step 40/100  {_TEXT}  0:31 left',  # 60 steps of 20.5 s / 40.
      f'step 100/100  {_TEXT}  0:00 left']


def test_time_left_counts_only_the_steps_of_this_process():
  clock, stream = _Clock(), io.StringIO()
  bar = progress.Progress(1000, 900, stream, every_secs=1, clock=clock)
  clock.now += 50
  bar.show(910, **_VALUES)
  assert stream.getvalue() == f'step 910/1000  {_TEXT}  7:30 left\n'


def test_say_prints_a_line_immediately():
  stream = io.StringIO()
  progress.Progress(10, 0, stream, clock=_Clock()).say('evaluating')
  assert stream.getvalue() == 'evaluating\n'


def test_the_default_stream_is_stderr(capsys):
  progress.Progress(10, 0).say('evaluating')
  assert capsys.readouterr() == ('', 'evaluating\n')


def test_a_terminal_shows_a_bar_and_lines_above_it(monkeypatch):
  monkeypatch.delenv('COLUMNS', raising=False)  # The bar would be cut to fit.
  stream = _Terminal()
  values = 'epoch 1.50 loss 0.2500 accuracy 0.8750 640 images/s]'

  def drawn():
    return stream.getvalue().split('\r')

  bar = progress.Progress(100, 40, stream, clock=_Clock())
  assert '| 40/100 [' in drawn()[-1]
  bar.show(50, **_VALUES)
  assert '| 50/100 [' in drawn()[-1] and values in drawn()[-1]
  bar.say('evaluating')
  assert drawn()[-2] == 'evaluating\n'  # A line of its own, and the bar again.
  assert '| 50/100 [' in drawn()[-1]
  bar.show(100, **_VALUES)
  bar.close()
  assert '| 100/100 [' in drawn()[-1] and values in drawn()[-1]
  assert not any(text.startswith('step ') for text in drawn())


@pytest.mark.parametrize('seconds, text', [
    (0, '0:00'), (9.4, '0:09'), (59.6, '1:00'), (65, '1:05'),
    (3599, '59:59'), (3599.5, '1:00:00'), (3723, '1:02:03'),
    (360_000, '100:00:00')])
def test_duration(seconds, text):
  assert progress.duration(seconds) == text
