"""The threads that prepare images."""
import os
import threading
import time
import types
from typing import Any

import pytest
import tensorflow as tf

from pipelines import batches
from resnet.distribution import feeding
from resnet.distribution import strategy as strategy_lib
from tests.resnet import strategies


def _note_thread(number):
  time.sleep(0.005)
  return threading.get_native_id()


def _threads(replicas):
  """Returns the threads that prepare the batches of a stream."""
  def dataset(share):
    del share
    return tf.data.Dataset.range(100).map(
        lambda i: tf.numpy_function(_note_thread, [i], tf.int64),
        num_parallel_calls=8)

  stream = iter(feeding.distribute(strategies.on_cpus(replicas), dataset))
  local = strategies.on_cpus(replicas).experimental_local_results
  return {int(number) for _ in range(30) for number in local(next(stream))}


@pytest.mark.parametrize('replicas', [1, 2])
@pytest.mark.parametrize('cores', [1, 3, 5])
def test_images_are_prepared_by_threads_of_their_own_beside_gpus(
    monkeypatch, cores, replicas):
  monkeypatch.setattr(strategy_lib, 'on_gpus', lambda _: True)
  monkeypatch.setenv('TF_NUM_INTEROP_THREADS', f'{cores}')
  assert len(_threads(replicas)) == cores


@pytest.mark.parametrize('device, threads', [('GPU:0', 7), ('CPU:0', None)])
def test_on_cpus_the_threads_are_those_of_tensorflow(
    monkeypatch, device, threads):
  monkeypatch.setenv('TF_NUM_INTEROP_THREADS', '7')
  context = types.SimpleNamespace(num_input_pipelines=2, input_pipeline_id=1)
  strategy: Any = types.SimpleNamespace(
      num_replicas_in_sync=4,
      extended=types.SimpleNamespace(worker_devices=[f'/device:{device}']),
      distribute_datasets_from_function=lambda function: function(context))
  shares = []

  def dataset(share):
    shares.append(share)
    return tf.data.Dataset.range(1)

  options = feeding.distribute(strategy, dataset).options()
  assert options.threading.private_threadpool_size == threads
  assert shares == [batches.Share(replicas=4, first=2, local=2)]


@pytest.mark.parametrize('given, cores', [
    (None, 3), ('', 3), ('0', 3), ('many', 3), ('7', 7)])
def test_there_are_as_many_threads_as_usable_cores(monkeypatch, given, cores):
  monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {4, 5, 9})
  monkeypatch.delenv('TF_NUM_INTEROP_THREADS', raising=False)
  if given is not None:
    monkeypatch.setenv('TF_NUM_INTEROP_THREADS', given)
  assert feeding._usable_cores() == cores
