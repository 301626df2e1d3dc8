"""Copies between host and devices, and sums over devices, of gradients' size.
"""
import functools

import tensorflow as tf

from resnet import network
from resnet.tools.gpu import failures, target
from resnet.tools.gpu.job import Job

_SUMS = 5  # In one call, each of the result of the one before.


def measure(job: Job) -> None:
  """Measures copies of all gradients, and their sum in each way there is."""
  target.prepare(job)
  elements = _weights(job)
  job.found.add('gradients', 4 * elements / 1e6, 'MB', measure='gradients')
  least = job.block_secs / 4
  for name, function in _copies(job, elements).items():
    secs = target.time_calls(function, least)
    job.found.add(name, 4 * elements / secs / 1e9, 'GB/s',
                  f'{1000 * secs:.2f} ms', measure='copy')
  if job.kind != 'GPU' or job.count == 1:
    job.found.add('from device to device', None, note='there is one GPU'
                  if job.kind == 'GPU' else 'there are no GPUs')
  if job.count == 1:
    job.found.add('sum over devices', None, note='there is one device')
  for count in job.counts():
    if count > 1:
      _measure_sums(job, elements, count, least)


def _measure_sums(job, elements, count, least):
  ways = ('NCCL', 'RING') if job.kind == 'GPU' else ('AUTO',)
  if job.kind == 'CPU':
    job.found.add(f'NCCL, {count} devices', None, note='there are no GPUs')
  for way in ways:
    name = f'sum over {count} devices, {way.lower()}'
    if job.left() < 0:
      job.found.add(name, None, note='the time was up')
      continue
    try:
      secs = sum_secs(target.strategy(job, count), elements, way, least)
    except tf.errors.OpError as error:
      job.found.add(name, None, note=failures.sentence(error))
      continue
    # What crosses each link of a ring, to compare it with the link's speed.
    bus = 2 * (count - 1) / count * 4 * elements / secs / 1e9
    job.found.add(name, 1000 * secs, 'ms', f'{bus:.2f} GB/s on each link',
                  measure='sum', devices=count, way=way)


def sum_secs(strategy: tf.distribute.Strategy, elements: int, way: str,
             least_secs: float) -> float:
  """Returns the seconds that one sum over all replicas takes.

  Args:
    strategy: at least two devices.
    elements: float32 numbers that each replica has.
    way: 'AUTO', 'NCCL' or 'RING'. Without GPUs, TensorFlow takes its own.
    least_secs: how long to time.
  """
  options = tf.distribute.experimental.CommunicationOptions(
      implementation=tf.distribute.experimental.CommunicationImplementation(
          way))
  replicas = strategy.num_replicas_in_sync

  def of_replica():
    context = tf.distribute.get_replica_context()
    value = tf.ones([elements])
    for _ in range(_SUMS):
      value = context.all_reduce(
          tf.distribute.ReduceOp.SUM, value, options) / replicas
    return value[0]

  @tf.function(autograph=False)
  def summed():
    return strategy.experimental_local_results(strategy.run(of_replica))

  return target.time_calls(summed, least_secs) / _SUMS


def _copies(job, elements):
  """Returns {what: function that copies}."""
  with tf.device('CPU:0'):
    on_host = tf.ones([elements])
  copy = lambda value, device: _copied(value, device)
  device = f'{job.kind}:0'
  there = copy(on_host, device)
  copies = {'from host to device': functools.partial(copy, on_host, device),
            'from device to host': functools.partial(copy, there, 'CPU:0')}
  if job.kind == 'GPU' and job.count > 1:
    copies['from device to device'] = functools.partial(copy, there, 'GPU:1')
  return copies if job.kind == 'GPU' else {
      'from memory to memory': lambda: on_host + 1}


def _copied(value, device):
  with tf.device(device):
    return tf.identity(value)


def _weights(job):
  """Returns how many numbers training changes."""
  config, source = target.constant(
      target.with_batch(job.config, 1, 1), target.shape_of(job))
  model, _ = network.build(config, target.strategy(job, 1), source)
  return sum(v.shape.num_elements() for v in model.trainable_variables)
