"""Several processes that train as one: how they join and how they leave.

Only this file uses names of TensorFlow that are not public: without them, a
worker that never starts or one that hangs would be waited for indefinitely.

  code = run(lambda: join(cluster, WorkerOptions(start_secs=600)), train)
"""
from collections.abc import Callable
import contextlib
import math
import os
import re
import sys
from typing import Any

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.distribute import collective_all_reduce_strategy
from tensorflow.python.eager import context

from configs.process import command_line
from configs.process.errors import first_line
from launch.cluster import resolver
from resnet.distribution import peers, proxies
from resnet.distribution.group import Disagreement, Group, Postponed, WORKER_JOB
from resnet.distribution.peers import LostPeer
from resnet.execution.options import WorkerOptions

_REGISTER_SECS = 60.0  # Once all workers listen; for machines with many GPUs.
_BARRIER_SECS = 60.0  # For a chief that is still writing a checkpoint.
_LONGEST_CAUSE = 150  # Characters of TensorFlow's message that are shown.

_DERIVED = b'type.googleapis.com/tensorflow.DerivedStatus'
_SERVICE = re.compile('CoordinationService|coordination service')
# What TensorFlow says of a worker that is gone, hangs or was started anew.
_LOSS = re.compile(f'{_SERVICE.pattern}|tasks are unhealthy|incarnation|'
                   'Collective has timed out')
# What it says, among other things, of an error that involves other workers.
_OF_SEVERAL = re.compile(f'Collective|NCCL|remote target /job:{WORKER_JOB}')


def join(cluster: resolver.Cluster, options: WorkerOptions,
         virtual_devices: int = 0) -> tf.distribute.Strategy:
  """Waits for all workers of a cluster and makes the strategy over them.

  Call it before TensorFlow has touched its devices.

  Args:
    cluster: addresses in rank order, and the rank of this process.
    options: how long to wait, and how to sum.
    virtual_devices: replicas on the CPU of each worker; 0: one for each GPU, or
      one on the CPU.

  Returns:
    A tf.distribute.MultiWorkerMirroredStrategy.

  Raises:
    UserError: an address cannot be resolved, or its port cannot be opened.
    Disagreement: the workers have different devices.
    LostPeer: a worker did not start in time.
  """
  proxies.bypass(cluster.addresses, os.environ)
  left_secs = peers.wait_for_all(cluster, options.start_secs)
  strategy = _register(cluster, options, min(left_secs, _REGISTER_SECS),
                       virtual_devices)
  _check_devices(cluster, strategy)
  # All workers have equally many batches. Asking before each step who has one
  # left would cost a collective, and the batches their static shape.
  strategy.extended.experimental_enable_get_next_as_optional = False
  return strategy


def run(make_strategy: Callable[[], tf.distribute.Strategy],
        main: Callable[[tf.distribute.Strategy], int]) -> int:
  """Runs main with a strategy; returns its exit code.

  Where several workers train, it returns once all have finished, or immediately
  when one is lost or has failed. The process must then end without delay (see
  command_line.leave): to the others, an interpreter that shuts down would look
  like a crash.

  Args:
    make_strategy: returns the strategy.
    main: takes the strategy and returns an exit code.

  Returns:
    The exit code of main; START_AGAIN if another worker was lost.

  Raises:
    UserError: raised by main.
  """
  try:
    group = Group.of(make_strategy())
    code = _run(group, main)
  except LostPeer as error:
    print(f'{error} Rerun the same command to continue from the last '
          'checkpoint.', file=sys.stderr)
    return command_line.START_AGAIN
  except (Disagreement, Postponed):
    # The others may still be in the collective that tells them the same: if
    # this worker left now, they would only see that it is gone.
    _wait_to_leave()
    raise
  if not group.is_alone:
    _wait_to_leave()
  return code


def _run(group, main):
  """Returns main(strategy); turns errors that tell of a loss into LostPeer."""
  try:
    return main(group.strategy)
  except tf.errors.OpError as error:
    if group.is_alone or not _tells_of_a_loss(group, error):
      raise
    raise LostPeer(_lost_sentence(group, error)) from error


def _wait_to_leave():
  """Waits until all workers want to leave, or one has taken too long."""
  with contextlib.suppress(Exception):  # A late worker's peers have left.
    _context().wait_at_barrier('leave', int(1000 * _BARRIER_SECS))


def _context() -> Any:
  return context.context()


def _register(cluster, options, left_secs, virtual_devices):
  """Registers with TensorFlow's coordination service; returns the strategy."""
  service = _context()
  service.configure_coordination_service(
      'standalone', f'/job:{WORKER_JOB}/replica:0/task:0',
      coordinated_jobs=[coordination_config_pb2.CoordinatedJob(  # pyright: ignore[reportAttributeAccessIssue]
          name=WORKER_JOB, num_tasks=len(cluster.addresses))],
      heartbeat_timeout_in_ms=1000 * options.heartbeat_secs,
      cluster_register_timeout_in_ms=math.ceil(1000 * left_secs))
  # Without it the leader waits indefinitely for a worker that never starts.
  service._coordination_service_config.cluster_register_with_barrier = True
  communication = tf.distribute.experimental.CommunicationOptions(
      implementation=tf.distribute.experimental.CommunicationImplementation(
          _collectives(options.collectives).upper()),
      timeout_seconds=options.collective_secs or None,
      bytes_per_pack=options.pack_mib * 2**20)
  tasks = tf.distribute.cluster_resolver.SimpleClusterResolver(
      tf.train.ClusterSpec({WORKER_JOB: list(cluster.addresses)}),
      task_type=WORKER_JOB, task_id=cluster.rank, rpc_layer='grpc',
      num_accelerators={'GPU': len(tf.config.list_physical_devices('GPU'))})
  if virtual_devices:
    _use_virtual_devices(virtual_devices)
  try:
    return tf.distribute.MultiWorkerMirroredStrategy(tasks, communication)
  except tf.errors.OpError as error:
    raise _not_joined(cluster, left_secs, error) from error


def _collectives(choice):
  """Returns 'nccl' or 'ring'.

  TensorFlow's own AUTO sums over gRPC unless something else asks for NCCL. All
  workers must choose alike: see _check_devices.
  """
  if choice != 'auto':
    return choice
  return 'nccl' if tf.config.list_physical_devices('GPU') else 'ring'


def _check_devices(cluster, strategy):
  """Raises Disagreement unless all workers have equally many GPUs, or CPUs.

  TensorFlow takes it for granted: each would wait for replicas that the others
  do not have. So it cannot be asked by a collective.
  """
  devices = strategy.extended.worker_devices
  kind = tf.DeviceSpec.from_string(devices[0]).device_type
  service, wait_ms = _context(), int(1000 * _REGISTER_SECS)
  service.set_config_key_value(
      f'devices/{cluster.rank}', f'{len(devices)} x {kind}')
  chief, *others = (service.get_config_key_value(f'devices/{rank}', wait_ms)
                    for rank in range(len(cluster.addresses)))
  for rank, found in enumerate(others, 1):
    if found != chief:
      raise Disagreement(
          f'Worker {rank} trains on {found}, but worker 0 on {chief}: give all '
          'workers the same number of GPUs, or of --virtual_devices.')


def _use_virtual_devices(replicas):
  """Gives each worker several logical CPUs, and the strategy all of them."""
  tf.config.set_logical_device_configuration(
      tf.config.list_physical_devices('CPU')[0],
      [tf.config.LogicalDeviceConfiguration()] * replicas)
  extended: Any = collective_all_reduce_strategy.CollectiveAllReduceExtended
  extended._initialize_local_devices = lambda self, resolver, worker_device: (
      tuple(f'{worker_device}/device:CPU:{i}' for i in range(replicas)), 'CPU')


def _not_joined(cluster, secs, error):
  missing = peers.silent(cluster.addresses, cluster.rank)
  if missing:
    why = f'{peers.named(missing, cluster.addresses)} left again'
  else:
    why = f'some were too slow: {first_line(error, _LONGEST_CAUSE)}'
  return LostPeer(f'All workers had started, but they did not join within '
                  f'{secs:.0f} s ({why}).')


def _tells_of_a_loss(group, error):
  """Returns whether an error is evidence that another worker is gone or hangs.

  All else is this worker's own error, whatever its type: of XLA's compiler, a
  bug, too little memory. It must not be taken for a loss, which a restart would
  cure.
  """
  # An op that fails because another one did is marked as derived; of all errors
  # of a step, TensorFlow reports one that is not derived, if there is any.
  if not (_DERIVED in error.experimental_payloads
          or _OF_SEVERAL.search(error.message)
          or _SERVICE.search(error.message)):
    return False
  no_answer = isinstance(error, (tf.errors.UnavailableError,
                                 tf.errors.DeadlineExceededError))
  return bool(no_answer or _LOSS.search(error.message)
              or peers.silent(_addresses(group), group.rank))


def _addresses(group):
  return group.strategy.cluster_resolver.cluster_spec().job_tasks(WORKER_JOB)


def _lost_sentence(group, error):
  """Says which worker was lost, from an error that tells of a loss.

  Names, in this order: workers that hang, the chief among them; those that no
  longer listen, even if they left because of the lost one; those that the error
  mentions.
  """
  addresses, own = _addresses(group), group.rank
  # A worker that hangs still listens; one that noticed a loss no longer does.
  lost = _tasks('(?=: The following tasks are unhealthy)', error, own)
  if not lost and own and 'aborted by: Deadline Exceeded' in error.message:
    lost = [0]  # The chief did not answer a heartbeat.
  lost = lost or peers.silent(addresses, own) or _tasks('', error, own)
  if not lost and own and _SERVICE.search(error.message):
    lost = [0]  # The chief runs that service.
  names = peers.named(lost, addresses) or 'another worker'
  cause = re.search('[^\n]*(?:aborted by|unhealthy|imed out)[^\n]*',
                    error.message)
  cause = (cause[0].strip()[:_LONGEST_CAUSE].rstrip('.') if cause
           else first_line(error, _LONGEST_CAUSE))
  return f'Lost {names} ({cause}).'


def _tasks(followed_by, error, own):
  """Returns the ranks of other workers that an error names before a text."""
  found = re.findall(
      rf'/job:{WORKER_JOB}/(?:replica:0/)?task:(\d+){followed_by}',
      error.message)
  return sorted({int(task) for task in found} - {own})
