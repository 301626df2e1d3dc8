"""Real training under python -m launch.local, as users start it."""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests import processes

pytestmark = pytest.mark.slow
_ROOT = pathlib.Path(__file__).parents[2]


def _launch(folder, *flags):
  done = subprocess.run(
      [sys.executable, '-m', 'launch.local', '--workers=2',
       f'--log_dir={folder}/logs', '--', *flags, f'--workdir={folder}/run'],
      cwd=_ROOT, capture_output=True, text=True, check=False, timeout=600)
  assert done.returncode == 0, done.stdout + done.stderr
  return done


def _variables(workdir, step):
  reader = tf.train.load_checkpoint(
      os.fspath(workdir / 'checkpoints' / f'ckpt-{step}'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name.startswith('variables')}


def test_two_workers_train_the_default_recipe(tmp_path):
  done = _launch(tmp_path, '--strategy=multi_worker_mirrored')
  records = [json.loads(line)
             for line in (tmp_path / 'run/metrics.jsonl').open()]
  last = [r for r in records if r['split'] == 'eval'][-1]
  # As one process does: see default_recipe_test.
  assert last['accuracy'] >= 0.97 and last['examples'] == 360
  assert '[w0] accuracy' in done.stdout
  assert done.stderr.splitlines()[-1] == '[launch] all workers are done'


def test_after_10_steps_two_workers_agree_with_two_devices(tmp_path):
  """To rounding: the launcher's workers have fewer threads each, and oneDNN
  adds in another order with other numbers of threads.

  Rounding differs by about 1e-6 up to step 10. Later a ReLU falls to the other
  side, on some CPUs, and the difference grows to the size of the weights.
  """
  flags = ('--config.train_epochs=0', '--config.train_steps=10')
  _launch(tmp_path, *flags)
  result = processes.run('resnet.train', *flags, '--virtual_devices=2',
                         f'--workdir={tmp_path}/one')
  assert result.code == 0, result.err
  one, two = (_variables(tmp_path / name, 10) for name in ('one', 'run'))
  assert one.keys() == two.keys() and len(one) > 60
  for name, value in one.items():
    np.testing.assert_allclose(
        two[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
