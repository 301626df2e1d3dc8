"""From a folder of pictures to a classifier, as README's four commands say.

The commands are the installed ones, in an empty folder.
"""
import csv
import io
import json
import os
import pathlib
import shlex
import subprocess
import sysconfig

import numpy as np
import pytest

from tests import synthetic_photographs

_SCRIPTS = pathlib.Path(sysconfig.get_path('scripts'))
# So that it takes seconds; nothing else differs from what a user types.
_SMALL = ('--config.model.width=8', '--config.data.image_size=64',
          '--config.train_epochs=2')


def _run(folder, command, *words):
  ended = subprocess.run(
      [_SCRIPTS / command, *words], cwd=folder, text=True, capture_output=True,
      env={**os.environ, 'PYTHONPATH': ''}, timeout=500)
  assert ended.returncode == 0, ended.stderr
  return ended


def _probabilities(table):
  """Returns {file: {class: probability}} of what predict prints."""
  _, *rows = csv.reader(io.StringIO(table))
  return {file: dict(zip(pairs[::2], map(float, pairs[1::2])))
          for file, *pairs in rows}


@pytest.mark.slow
@pytest.mark.skipif(not (_SCRIPTS / 'resnet-export').exists(),
                    reason='the commands are not installed: pip install -e .')
def test_four_commands_make_a_classifier(tmp_path):
  pictures = synthetic_photographs.write(
      tmp_path / 'Patterns', 120, sides=(60, 120))
  new = synthetic_photographs.write(
      tmp_path / 'New', 9, sides=(60, 120), seed=1)
  folder = tmp_path / 'empty'
  folder.mkdir()
  # Weights of a network for other classes, as from a library.
  _run(folder, 'resnet-train', '--config=finetune_resnet50', *_SMALL[:2],
       '--config.data.name=synthetic', '--config.train_epochs=0',
       '--config.train_steps=1', '--workdir=weights')

  prepared = _run(folder, 'resnet-prepare', f'--image_folder={pictures}',
                  '--data_dir=data', '--split=80,10,10')
  line, = (line for line in prepared.stdout.splitlines() if 'WEIGHTS' in line)
  words = shlex.split(line.replace('WEIGHTS', 'weights'))
  assert words[:3] == ['python', '-m', 'resnet.train']
  trained = _run(folder, 'resnet-train', *words[3:], *_SMALL)
  assert 'logits/kernel' in trained.stderr  # The classifier is a new one.
  run = folder / 'runs/patterns_finetuned'
  assert json.loads((run / 'run.json').read_text())['summary']['step'] == 24
  pathlib.Path(folder, 'data').rename(tmp_path / 'away')  # No longer needed.

  predicted = _run(folder, 'resnet-predict', f'--workdir={run}', str(new))
  found = _probabilities(predicted.stdout)
  assert len(found) == 9 and all(
      set(one) == {'checks', 'rings', 'stripes'} for one in found.values())
  np.testing.assert_allclose(
      [sum(one.values()) for one in found.values()], 1, atol=1e-3)

  _run(folder, 'resnet-export', f'--workdir={run}', '--format=saved_model')
  record = json.loads((run / 'export/export.json').read_text())
  assert record['exports']['saved_model']['difference'] < 1e-4
  again = _probabilities(_run(
      folder, 'resnet-predict', f'--model={run}/export/saved_model', str(new)
      ).stdout)
  assert again.keys() == found.keys()
  for file, one in found.items():
    for name, probability in one.items():
      assert again[file][name] == pytest.approx(probability, abs=2e-2), file
