"""The functions that `import resnet` gives, each in a process as a user has it.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_START = '''
import numpy as np
import resnet

config = resnet.recipe('digits_resnet8')
config.train_epochs, config.train_steps = 0, 20
'''


def _python(code, folder, **changes):
  return subprocess.run(
      [sys.executable, '-c', code], cwd=folder, text=True, capture_output=True,
      env={**os.environ, 'PYTHONPATH': str(_ROOT), **changes}, timeout=300)


def test_importing_costs_nothing(tmp_path):
  ended = _python('''
import sys
import resnet
heavy = {'tensorflow', 'keras', 'numpy', 'absl', 'PIL'} & set(sys.modules)
assert not heavy, heavy
assert resnet.__version__
assert {'train', 'load', 'recipes'} <= set(dir(resnet))
names = resnet.recipes()
assert 'imagenet_resnet50' in names and 'tutorials/cifar10_lenet5' in names
assert 'tensorflow' not in sys.modules
import importlib
importlib.import_module('resnet.train')  # The program, which a user has not.
assert resnet.train.__module__ == 'resnet.api'
from resnet import train
assert train is resnet.train
''', tmp_path)
  assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_a_run_from_start_to_end(tmp_path):
  ended = _python(_START + '''
run = resnet.train(config, 'run', eval_every_steps=10, save_every_steps=10)
assert run.step == 20 and run.classes == tuple('0123456789'), run
rows = [r for r in run.metrics if r['split'] == 'eval']
assert [r['step'] for r in rows] == [10, 20]
found = run.evaluate()
assert found['accuracy'] == rows[-1]['accuracy'] and found['examples'] == 360
assert resnet.load('run', 10).evaluate()['accuracy'] == rows[0]['accuracy']

from pipelines import sources
split = sources.load('digits', 'test')
images, labels = split.images.numpy(), split.labels.numpy()
probabilities = run.predict(images)
np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
assert (probabilities.argmax(1) == labels).mean() == rows[-1]['accuracy']
from PIL import Image
Image.fromarray(images[0, ..., 0]).save('one.png')
one, = run.predict('one.png')
np.testing.assert_allclose(one.probabilities, probabilities[0], atol=1e-5)

# The Keras network has the same weights.
state = run._restored.state
x = (images[:4].astype(np.float32) - state.mean.numpy()) / state.stddev.numpy()
logits = run.model({'image': x}, training=False).numpy()
e = np.exp(logits - logits.max(1, keepdims=True))
np.testing.assert_allclose(
    e / e.sum(1, keepdims=True), probabilities[:4], atol=1e-5)

assert resnet.train(config, 'run').step == 20  # Finished: nothing happens.
config.train_steps = 25
longer = resnet.train(config, 'run', extend=True)
assert longer.step == 25 and run.step == 20
try:
  resnet.train(config, 'run', init_from='other')
except resnet.UserError as error:
  assert 'init_from' in str(error), error
else:
  raise AssertionError
try:
  resnet.train(config, 'run2', evry=1)
except resnet.UserError as error:
  assert "evry=1 is not an option" in str(error), error
else:
  raise AssertionError
print('fine')
''', tmp_path)
  assert ended.returncode == 0, ended.stderr
  assert ended.stdout.endswith('fine\n')


@pytest.mark.slow
def test_an_interrupt_saves_and_the_same_call_continues(tmp_path):
  code = _START + '''
import os, signal, threading, time
config.train_steps = 100000
def press():
  import pathlib
  while not pathlib.Path('run/metrics.jsonl').exists() or not pathlib.Path(
      'run/metrics.jsonl').read_text():
    time.sleep(0.1)
  os.kill(os.getpid(), signal.SIGINT)
before = signal.getsignal(signal.SIGINT)
threading.Thread(target=press, daemon=True).start()
try:
  resnet.train(config, 'run', log_every_steps=10)
except KeyboardInterrupt as interrupt:
  assert 'call train again' in str(interrupt)
else:
  raise AssertionError
assert signal.getsignal(signal.SIGINT) is before
step = resnet.load('run').step
assert 10 <= step < 100000
config.train_steps = step + 5
run = resnet.train(config, 'run', extend=True)
assert run.step == step + 5
print('fine')
'''
  ended = _python(code, tmp_path)
  assert ended.returncode == 0, ended.stderr
  assert ended.stdout.endswith('fine\n')


@pytest.mark.slow
def test_errors_are_exceptions_and_leave_the_folder_free(tmp_path):
  ended = _python(_START + '''
import sys
config.schedule.peak = 1e30
for attempt in range(2):
  try:
    resnet.train(config, 'run')
  except resnet.UserError as error:
    assert 'not a finite number' in str(error), error
    kept = error  # As notebooks keep the last one, with all of its frames.
  else:
    raise AssertionError
for wrong in ('nothing', 3):
  try:
    resnet.train(config if wrong == 3 else wrong)
  except resnet.UserError as error:
    print(error)
try:
  resnet.load('nowhere')
except resnet.UserError as error:
  print(error)
''', tmp_path)
  assert ended.returncode == 0, ended.stderr
  unknown, missing, nowhere = ended.stdout.splitlines()[-3:]
  assert 'nothing is unknown' in unknown
  assert missing == 'workdir is missing: give the folder of the run.'
  assert 'nowhere is not a run folder' in nowhere


@pytest.mark.slow
def test_the_python_in_readme_runs(tmp_path):
  blocks = re.findall(r'```python\n(.*?)```',
                      (_ROOT / 'README.md').read_text(), re.DOTALL)
  assert any('resnet.train' in block for block in blocks)
  for block in blocks:
    ended = _python(block, tmp_path)
    assert ended.returncode == 0, ended.stderr
  assert json.loads((tmp_path / 'runs/mine/export/export.json').read_text())


def test_the_commands_of_a_signal_are_left_alone(capfd):
  from resnet import api
  there = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    with api._interrupts_noted() as noted:
      assert not noted()
      signal.raise_signal(signal.SIGINT)
      assert noted()
      assert 'Interrupted: saving a checkpoint first.' in capfd.readouterr().err
      with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
  finally:
    signal.signal(signal.SIGINT, there)
