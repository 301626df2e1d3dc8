"""A worker of a cluster of one that says what its graphs lack for GPUs.

Prints a line of JSON for each recipe; tests/resnet/gpu_kernels_test.py starts
it, because a process can join a cluster only before it touches its devices.
"""
import json
import socket
from typing import Any

from absl import flags
import tensorflow as tf
from tensorflow.python.distribute import collective_all_reduce_strategy

from configs.process import command_line
from tests.resnet import gpu_cases, gpu_graphs, gpu_traces


def parse(argv):
  """Defines and reads the flags."""
  flags.DEFINE_integer('replicas', 1, 'Devices of this worker.')
  flags.DEFINE_multi_string('recipe', [], 'Recipes to trace.')
  flags.DEFINE_string('precision', 'float32', 'Of the networks.')
  flags.DEFINE_bool('sync_batch_norm', False, 'Of the networks.')
  flags.DEFINE_string('photos', '', 'The folder of pictures.')
  return command_line.parse_flags(argv)


def main(_):
  """Traces all recipes; returns the exit code."""
  values = flags.FLAGS
  strategy = _strategy(values.replicas)
  for recipe in values.recipe:
    config = gpu_cases.config(
        recipe, precision=values.precision, augment=True,
        sync_batch_norm=values.sync_batch_norm, **gpu_cases.SHALLOW[recipe])
    calls = gpu_traces.trace(
        config, strategy, *gpu_cases.splits(config, values.photos),
        digest_positions=True)
    print(json.dumps(gpu_traces.findings(calls)))
  return command_line.DONE


def _strategy(replicas):
  """Joins as the only worker, with devices that are not the host."""
  devices = gpu_graphs.DEVICES[:replicas]
  tf.config.set_logical_device_configuration(
      tf.config.list_physical_devices('CPU')[0],
      [tf.config.LogicalDeviceConfiguration()] * (1 + len(gpu_graphs.DEVICES)))
  extended: Any = collective_all_reduce_strategy.CollectiveAllReduceExtended
  extended._initialize_local_devices = lambda self, resolver, worker: (
      tuple(f'{worker}/device:{device}' for device in devices), 'CPU')
  with socket.socket() as one:
    one.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{one.getsockname()[1]}'
  strategy = tf.distribute.MultiWorkerMirroredStrategy(
      tf.distribute.cluster_resolver.SimpleClusterResolver(
          tf.train.ClusterSpec({'worker': [address]}), task_type='worker',
          task_id=0, rpc_layer='grpc'))
  strategy.extended.experimental_enable_get_next_as_optional = False
  return strategy
