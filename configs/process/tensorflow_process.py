"""Prepares a process for TensorFlow, just before it is imported.

  def main(parsed):
    with tensorflow_process.starting():
      from resnet import loop

Programs import TensorFlow only after their flags have been read. A misspelt
flag is thus reported in a fraction of a second, and the settings below, some of
which are read while TensorFlow is imported, are made by the program and not by
a package.
"""
from collections.abc import Iterator
import contextlib
import os

from configs.process import host_memory, numerics, quiet, xla_cache


@contextlib.contextmanager
def starting() -> Iterator[None]:
  """Sets memory, threads, numerics and logging; import TensorFlow in the block.
  """
  host_memory.keep_freed()  # Before TensorFlow has threads.
  xla_cache.use()
  # Two threads for each GPU that do nothing but start its kernels. Otherwise
  # these wait for threads that prepare images.
  os.environ.setdefault('TF_GPU_THREAD_MODE', 'gpu_private')
  numerics.prepare()
  with quiet.tensorflow_import():
    yield
  numerics.settle()
