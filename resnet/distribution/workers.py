"""Several processes that train as one: joining, agreeing, and leaving.

This file alone has names of TensorFlow that are not public: without them a
worker that never comes, or one that hangs, would be waited for without end.

  code = run(lambda: join(cluster, Settings(start_secs=600)), train)
"""
import collections
import contextlib
import hashlib
import math
import os
import re
import sys
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.distribute import collective_all_reduce_strategy
from tensorflow.python.eager import context

from configs.process import command_line
from configs.process.errors import UserError
from resnet.distribution import peers
from resnet.distribution.peers import LostPeer

COLLECTIVES = ('auto', 'ring', 'nccl')
_JOB = 'worker'
_REGISTER_SECS = 60.0  # From when all are there, with many GPUs each.
_BARRIER_SECS = 60.0  # For a chief that is still writing a checkpoint.


class Disagreement(UserError):
  """That workers differ, which all of them find out from one collective."""


class Settings(NamedTuple):
  """How workers wait for each other."""
  collectives: str = 'auto'  # One of COLLECTIVES; auto: NCCL on GPUs, or ring.
  start_secs: int = 600  # Until all must have come.
  heartbeat_secs: int = 10  # Until a silent worker counts as lost.
  collective_secs: int = 0  # Until a collective counts as hung; 0: never.
  pack_mib: int = 0  # Gradients are summed in packs of so much; 0: in one.


def join(cluster, settings, virtual_devices=0):
  """Waits for all workers of a cluster and makes the strategy over them.

  Before TensorFlow has touched its devices.

  Args:
    cluster: addresses in rank order and the rank of this process, as of
      launch.cluster.resolver.
    settings: Settings.
    virtual_devices: replicas on the CPU of each worker; 0: one for each GPU, or
      one on the CPU.

  Returns:
    tf.distribute.MultiWorkerMirroredStrategy.

  Raises:
    UserError: an address cannot be resolved, or its port be opened.
    LostPeer: somebody did not come in time.
  """
  left_secs = peers.wait_for_all(cluster, settings.start_secs)
  strategy = _register(cluster, settings, min(left_secs, _REGISTER_SECS),
                       virtual_devices)
  # All workers have the same number of batches. Asking each time who has one
  # left would be a collective more a step, and lose the batches' static shape.
  strategy.extended.experimental_enable_get_next_as_optional = False
  return strategy


def rank(strategy):
  """The rank of this process among the workers; 0 if it is alone."""
  resolver = strategy.cluster_resolver
  return resolver.task_id if count(strategy) > 1 else 0


def count(strategy):
  """Workers that train together."""
  resolver = strategy.cluster_resolver
  return resolver.cluster_spec().num_tasks(_JOB) if resolver else 1


def exchange(strategy, values):
  """Gives every worker the values of all; all must call it.

  Args:
    strategy: any tf.distribute strategy.
    values: list of numbers that float64 holds exactly, as many on each worker.

  Returns:
    float64 array [workers, len(values)].
  """
  workers = count(strategy)
  if workers == 1:
    return np.array([values], np.float64)
  own = np.zeros((workers, len(values)))
  own[rank(strategy)] = values
  replicas = strategy.num_replicas_in_sync // workers

  def of_replica():  # One of each worker has the values, the others zeros.
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.where(tf.equal(replica % replicas, 0), own, 0.0)

  @tf.function
  def total():
    return strategy.reduce(
        tf.distribute.ReduceOp.SUM, strategy.run(of_replica), axis=None)

  return total().numpy()


def of_chief(strategy, value):
  """Gives every worker the chief's value, an int; all must call it."""
  return int(exchange(strategy, [value])[0, 0])


def check_same(strategy, contents, remedy):
  """Raises Disagreement unless all workers have the same.

  All must call it.

  Args:
    strategy: any tf.distribute strategy.
    contents: {what: [bytes, ...]}, one for each copy that a worker has, as many
      on all workers; what: for the sentence, 'another seed'.
    remedy: what to do about it, the end of the sentence.
  """
  digests = exchange(strategy, [
      # As many bits as a float64 holds.
      int.from_bytes(hashlib.sha256(content).digest()[:6])
      for copies in contents.values() for content in copies])
  for what, copies in contents.items():
    own, digests = np.split(digests, [len(copies)], axis=1)
    differing = _differing(own)
    if differing:
      same, *others = differing
      raise Disagreement(f'{", ".join(others).capitalize()} has {what} than '
                         f'{same}: {remedy}.')


def _differing(digests):
  """Names of who has the most common value first, and of all who do not.

  Args:
    digests: float64 [workers, copies of each].

  Returns:
    List of names; empty if all are the same.
  """
  names = {(worker, copy): f'worker {worker}' + (
      f' (replica {copy})' if digests.shape[1] > 1 else '')
           for worker, copy in np.ndindex(digests.shape)}
  # Of as many, the first.
  common, _ = collections.Counter(digests.ravel().tolist()).most_common(1)[0]
  others = [name for place, name in names.items() if digests[place] != common]
  same = next(name for place, name in names.items() if digests[place] == common)
  return [same, *others] if others else []


def run(make_strategy, main):
  """Makes a strategy and runs main with it, and ends the process with its code.

  A process that is alone gets the code back. One of several ends here: after
  all have come to their end, or at once when one is lost or has failed. An
  ordinary exit of one would look like a crash to the others.

  Args:
    make_strategy: -> tf.distribute strategy.
    main: strategy -> exit code.

  Returns:
    The exit code.

  Raises:
    UserError: as main does, if the process is alone.
  """
  strategy = None
  try:
    strategy = make_strategy()
    code = _run(strategy, main)
  except LostPeer as error:
    print(f'{error} The same command goes on from the last checkpoint.',
          file=sys.stderr)
    _leave(command_line.START_AGAIN)
  except UserError as error:
    if strategy is None or count(strategy) == 1:
      raise
    print(f'error: {error}', file=sys.stderr)
    if isinstance(error, Disagreement):
      # The others may not have it yet, and would only see that this one left.
      _leave_barrier()
    _leave(command_line.PERMANENT)
  if count(strategy) > 1:
    _leave_barrier()
    _leave(code)
  return code


def _leave_barrier():
  """Until all want to leave, or one has been waited for too long."""
  with contextlib.suppress(Exception):  # Whoever is late has left already.
    context.context().wait_at_barrier('leave', int(1000 * _BARRIER_SECS))


def _run(strategy, main):
  """main(strategy), with the errors of a collective as LostPeer."""
  try:
    return main(strategy)
  except (tf.errors.UnavailableError, tf.errors.DeadlineExceededError,
          tf.errors.AbortedError, tf.errors.CancelledError,
          tf.errors.InternalError, tf.errors.UnknownError) as error:
    if count(strategy) == 1:
      raise
    raise LostPeer(_lost_sentence(strategy, error)) from error


def _leave(code):
  """Ends this process, whatever its threads are waiting for."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


def _register(cluster, settings, left_secs, virtual_devices):
  """The strategy over all workers, once they have come; see join."""
  service = context.context()
  service.configure_coordination_service(
      'standalone', f'/job:{_JOB}/replica:0/task:0',
      coordinated_jobs=[coordination_config_pb2.CoordinatedJob(
          name=_JOB, num_tasks=len(cluster.addresses))],
      heartbeat_timeout_in_ms=1000 * settings.heartbeat_secs,
      cluster_register_timeout_in_ms=math.ceil(1000 * left_secs))
  # Without it the leader waits without end for one that never comes.
  service._coordination_service_config.cluster_register_with_barrier = True
  options = tf.distribute.experimental.CommunicationOptions(
      implementation=tf.distribute.experimental.CommunicationImplementation(
          settings.collectives.upper()),
      timeout_seconds=settings.collective_secs or None,
      bytes_per_pack=settings.pack_mib * 2**20)
  resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
      tf.train.ClusterSpec({_JOB: list(cluster.addresses)}), task_type=_JOB,
      task_id=cluster.rank, rpc_layer='grpc',
      num_accelerators={'GPU': len(tf.config.list_physical_devices('GPU'))})
  if virtual_devices:
    _use_virtual_devices(virtual_devices)
  try:
    return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
  except tf.errors.OpError as error:
    raise _not_joined(cluster, left_secs, error) from error


def _use_virtual_devices(replicas):
  """Makes the strategy take several logical CPUs of each worker, for tests."""
  tf.config.set_logical_device_configuration(
      tf.config.list_physical_devices('CPU')[0],
      [tf.config.LogicalDeviceConfiguration()] * replicas)
  extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
  extended._initialize_local_devices = lambda self, resolver, worker_device: (
      tuple(f'{worker_device}/device:CPU:{i}' for i in range(replicas)), 'CPU')


def _not_joined(cluster, secs, error):
  missing = peers.silent(cluster.addresses, cluster.rank)
  who = (peers.named(missing, cluster.addresses)
         or 'some of them were too slow')
  return LostPeer(
      f'The workers were all there and did not join in {secs:.0f} s: {who} '
      f'({"left again" if missing else _first_line(error)}).')


def _lost_sentence(strategy, error):
  """Names the workers that hang, the chief as well; else those that do not
  listen, be it that they have left because of the one that is lost; else all
  that an error speaks of.
  """
  addresses = strategy.cluster_resolver.cluster_spec().job_tasks(_JOB)
  own = rank(strategy)
  # Whoever hangs still listens, and those that have noticed do not.
  lost = _tasks('(?=: The following tasks are unhealthy)', error, own)
  if not lost and own and 'aborted by: Deadline Exceeded' in error.message:
    lost = [0]  # It has not answered a sign of life.
  lost = lost or peers.silent(addresses, own) or _tasks('', error, own)
  if not lost and own and 'CoordinationService' in error.message:
    lost = [0]  # It is the leader of that service.
  names = peers.named(lost, addresses) or 'another worker'
  cause = re.search('[^\n]*(?:aborted by|unhealthy|imed out)[^\n]*',
                    error.message)
  cause = cause[0].strip()[:150] if cause else _first_line(error)
  return f'Lost {names} ({cause.rstrip(".")}).'


def _tasks(followed_by, error, own):
  """Ranks of the other workers that an error names before such a text."""
  found = re.findall(rf'/job:worker/(?:replica:0/)?task:(\d+){followed_by}',
                     error.message)
  return sorted({int(task) for task in found} - {own})


def _first_line(error):
  text = getattr(error, 'message', '') or str(error) or type(error).__name__
  return text.splitlines()[0][:150].rstrip('.')
