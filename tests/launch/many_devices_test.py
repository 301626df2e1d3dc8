"""ResNet-50 on eight simulated devices: in one process, and as two workers."""
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from launch.cluster import contract

# On a busy machine it compiles for minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
_ROOT = pathlib.Path(__file__).parents[2]
# 8 images of 8 x 8 pixels for each replica. One step: where the last stage has
# one pixel, batch norm makes a rounding error of one as large as the weights in
# the next.
_FLAGS = (
    '--config.model.family=imagenet', '--config.model.depth=50',
    '--config.model.version=v1.5', '--config.model.width=4',
    '--config.global_batch=64', '--config.train_epochs=0',
    '--config.train_steps=1', '--config.schedule.warmup_epochs=0',
    '--config.schedule.name=constant')


def _run(*argv):
  done = subprocess.run(
      [sys.executable, '-m', *argv], cwd=_ROOT, capture_output=True, text=True,
      check=False, timeout=600)
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stderr


def _variables(workdir):
  reader = tf.train.load_checkpoint(os.fspath(workdir / 'checkpoints/ckpt-1'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name != 'identity'}


def test_eight_devices_equal_two_workers_of_four(tmp_path, monkeypatch):
  """To rounding: the sums of eight are in another order."""
  for name in contract.THREAD_VARIABLES:  # As in local_training_test.
    monkeypatch.setenv(name, '1')
  said = _run('resnet.train', *_FLAGS, '--virtual_devices=8',
              f'--workdir={tmp_path}/one')
  assert '8 x 8 images per step' in said
  _run('launch.local', '--workers=2', f'--log_dir={tmp_path}/logs', '--',
       *_FLAGS, '--virtual_devices=4', f'--workdir={tmp_path}/two')
  one, two = (_variables(tmp_path / name) for name in ('one', 'two'))
  # 53 convolutions and a dense layer, with their momenta.
  assert sum(name.endswith('kernel') for name in one) == 2 * 54
  assert one.keys() == two.keys()
  for name, value in one.items():
    np.testing.assert_allclose(
        two[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
