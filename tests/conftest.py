"""Splits the CPU into four devices, so that strategies run in every test."""
import os

import pytest

from configs.process import tensorflow_process

with tensorflow_process.starting():
  import keras
  import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices('CPU')[0],
    [tf.config.LogicalDeviceConfiguration()] * 4)

# Every pod of Kubernetes has it: there, names of hosts would be waited for.
os.environ.pop('KUBERNETES_SERVICE_HOST', None)


@pytest.fixture(autouse=True)
def seed():
  """Every test starts from the same random numbers, alone or in a suite."""
  keras.utils.set_random_seed(0)


class _Clock:
  """A clock that the test sets."""
  now = 1000.0

  def __call__(self):
    return self.now


@pytest.fixture
def clock():
  return _Clock()


@pytest.fixture(scope='session')
def test_data_dir():
  """The folder of prepared TFDS data sets that RESNET_TEST_DATA_DIR names."""
  path = os.environ.get('RESNET_TEST_DATA_DIR')
  if not path:
    pytest.skip('RESNET_TEST_DATA_DIR names no folder of TFDS data sets')
  return path
