"""What is set for every process before TensorFlow is imported."""
import os

import pytest

from configs.process import tensorflow_process


@pytest.mark.parametrize('given, found', [
    (None, 'gpu_private'), ('global', 'global'), ('', '')])
def test_each_gpu_has_threads_of_its_own(monkeypatch, given, found):
  for name, value in os.environ.items():  # All are restored at the end.
    monkeypatch.setenv(name, value)
  for name in ('TF_GPU_THREAD_MODE', 'TF_XLA_FLAGS', 'KERAS_BACKEND'):
    monkeypatch.delenv(name, raising=False)
  if given is not None:
    monkeypatch.setenv('TF_GPU_THREAD_MODE', given)
  with tensorflow_process.starting():
    assert os.environ['TF_GPU_THREAD_MODE'] == found
