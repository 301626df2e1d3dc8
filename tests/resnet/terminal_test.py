"""What a user sees on a terminal, from the first words to the last."""
import json
import re
import sys

import pytest

from tests.resnet.pseudo_terminal import drawn, PseudoTerminal, screen

pytestmark = pytest.mark.slow

_TRAIN = (sys.executable, '-m', 'resnet.train', '--config=digits_resnet8')


def test_80_columns_from_start_to_end(tmp_path):
  """60 steps of 64 images; evaluations after 20, 40 and 60."""
  run = tmp_path / 'r'
  with PseudoTerminal([
      *_TRAIN, f'--workdir={run}', '--config.train_epochs=0',
      '--config.train_steps=60', '--config.schedule.warmup_epochs=0',
      '--eval_every_steps=20', '--steps_per_call=5'], 80) as terminal:
    terminal.until('resnet-trainer ')
    assert 'network' not in terminal.text
    assert terminal.finish() == 0
  states = [line for line in drawn(terminal.text)
            if re.match(' *(step )?[0-9]+/60 ', line)]
  assert states[0] == 'step 0/60  compiling...'
  assert max(map(len, states)) == 79 and 'step 40/60  evaluating...' in states
  assert re.fullmatch(
      r' 5/60  \[>?\.+\]  epoch 0\.2  loss [0-9.]+  acc 0\.\d\d\d  '
      r'[0-9.]+ img/s  -:-- left', states[1])
  shown = screen(terminal.text, 80)
  last = [line for line in (run / 'metrics.jsonl').read_text().splitlines()
          if '"eval"' in line][-1]
  accuracy = f'{json.loads(last)["accuracy"]:.4f}'
  labels = [line.split()[0] for line in shown if line]
  # The path of the run folder may take another line.
  assert labels[labels.index('network'):][:7] == [
      'network', 'data', 'images', 'devices', 'batch', 'length', 'run']
  assert labels[labels.index('60/60') + 1:][:5] == [
      'step', 'best', 'last', 'evaluated', 'speed']
  assert f'step 60  evaluated 360 examples: accuracy {accuracy}' in '\n'.join(
      shown)
  # Evaluations and the last accuracy are colored, and nothing else.
  assert re.findall('\x1b\\[([0-9;]+)m', terminal.text) == 3 * ['1', '0'] + [
      '1;32', '0']
  assert f'\x1b[1;32m{accuracy}\x1b[0m' in terminal.text


def test_120_columns_without_colors_and_ctrl_c(tmp_path):
  run = tmp_path / 'r'
  command = [*_TRAIN, f'--workdir={run}', '--config.train_epochs=1000']
  with PseudoTerminal(command, 120, {'NO_COLOR': '1'}) as terminal:
    terminal.until('evaluated')
    terminal.press(b'\x03')
    assert terminal.finish() == 143
  assert not re.search('\x1b\\[[0-9;]*m', terminal.text)
  assert max(len(line) for line in drawn(terminal.text)
             if line.endswith(' left')) == 119
  answer = ('Interrupted: saving a checkpoint first. Press Ctrl-C again to end '
            'without it.')
  shown = screen(terminal.text, 120)
  assert shown.count(answer) == 1
  step = max(int(path.stem.partition('-')[2])
             for path in (run / 'checkpoints').glob('*.index'))
  text = ''.join(shown[shown.index(answer):])
  assert re.search(
      rf'Stopped at step {step}: checkpoint ckpt-{step} \([0-9.]+ KiB\) saved '
      rf'in {run}/checkpoints in [0-9.]+ s, [0-9.]+ s after SIGINT\. Rerun the '
      r'same command to continue\.', text), text


def test_an_error_stands_on_a_line_of_its_own(tmp_path):
  with PseudoTerminal([
      *_TRAIN, f'--workdir={tmp_path}/r', '--config.train_epochs=1',
      '--config.schedule.peak=1e30'], 80) as terminal:
    assert terminal.finish() == 2
  assert any(line.startswith('error: After step ')
             for line in screen(terminal.text, 80)), terminal.text
