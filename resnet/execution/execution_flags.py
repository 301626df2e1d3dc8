"""Flags that every program with devices shares: where it runs, not what."""
from typing import Any

from absl import flags

from configs.process import flag_groups
from configs.process.errors import UserError
from launch.cluster import cluster_flags, contract
from resnet.execution import options as options_lib

_DEFAULTS = options_lib.WorkerOptions()


def define() -> None:
  """Defines the flags; `make_strategy` and `main` read their values."""
  _define_devices()
  _define_workers()


@flag_groups.group('Devices')
def _define_devices():
  flags.DEFINE_enum(
      'strategy', 'mirrored', options_lib.STRATEGIES, 'One device, all devices '
      'of one process, or several processes.')
  flags.DEFINE_list(
      'devices', [], 'Devices to use, such as GPU:0,GPU:1 (or 0,1) or CPU:0. '
      'Default: all GPUs, or the CPU if there is none.')
  flags.DEFINE_integer(
      'virtual_devices', 0, 'Splits the CPU into this many devices, to try a '
      'strategy without GPUs. 0: off.', lower_bound=0, upper_bound=256)
  flags.DEFINE_enum(
      'jit', 'auto', ['auto', 'true', 'false'], 'Whether to compile with XLA. '
      'auto: on GPUs.')
  flags.DEFINE_bool(
      'deterministic', False, 'Uses deterministic operations on GPUs: the same '
      'bits in every run, at some cost in speed. CPUs do not need it.')
  flags.DEFINE_bool(
      'memory_growth', False, 'Takes the memory of GPUs as it is needed, not '
      'all of it at the start: for GPUs that other programs use, too.')


@flag_groups.group('Workers')
def _define_workers():
  cluster_flags.define()
  flags.DEFINE_enum(
      'collectives', _DEFAULTS.collectives, options_lib.COLLECTIVES, 'How '
      'workers sum gradients. nccl: by NCCL, between GPUs. ring: through the '
      'host, by gRPC. auto: nccl if this worker has GPUs, else ring.')
  flags.DEFINE_integer(
      'start_secs', _DEFAULTS.start_secs, 'Seconds that workers wait for each '
      'other when they start.', lower_bound=1)
  flags.DEFINE_integer(
      'heartbeat_secs', _DEFAULTS.heartbeat_secs, 'Seconds until a silent '
      'worker counts as lost.', lower_bound=1)
  flags.DEFINE_integer(
      'collective_secs', _DEFAULTS.collective_secs, 'Seconds until a sum over '
      'workers counts as hung; must exceed the time to compile, evaluate and '
      'save. 0: never.', lower_bound=0)
  flags.DEFINE_integer(
      'pack_mib', _DEFAULTS.pack_mib, 'Size in MiB of the packs in which '
      'workers sum gradients. 0: all in one pack.', lower_bound=0)


def make_strategy(workers_allowed: bool = False):
  """Returns the tf.distribute strategy that the parsed flags ask for.

  Imports TensorFlow.

  Args:
    workers_allowed: whether the program can run as several processes.

  Raises:
    UserError: the flags or the environment are wrong.
    peers.LostPeer: a worker did not start in time.
  """
  import tensorflow as tf

  from resnet.distribution import strategy, workers

  values = flags.FLAGS
  if values.deterministic:
    tf.config.experimental.enable_op_determinism()
  if values.memory_growth:
    strategy.let_memory_grow()
  if values.strategy == contract.MULTI_WORKER:
    if not workers_allowed:
      raise UserError(
          f'--strategy={values.strategy} is for training, but this command '
          'runs in one process: give --strategy=mirrored.')
    refuse_devices()
    return workers.join(
        cluster_flags.get(values), _worker_options(), values.virtual_devices)
  if values.worker_addresses or values.worker_rank is not None:
    raise UserError(
        '--worker_addresses and --worker_rank are for '
        f'--strategy={contract.MULTI_WORKER}, but --strategy={values.strategy} '
        'was given: change the strategy, or leave both flags out.')
  return strategy.make(
      values.strategy, values.devices, values.virtual_devices)


def _worker_options():
  values: Any = flags.FLAGS.flag_values_dict()
  return options_lib.WorkerOptions(**{
      name: values[name] for name in options_lib.WorkerOptions._fields})


def refuse_devices() -> None:
  """Raises UserError if --devices was given: it is for one process."""
  values = flags.FLAGS
  if values.devices:
    raise UserError(
        f'--devices={",".join(values.devices)} is for one process, but '
        f'--strategy={values.strategy} uses all GPUs that each worker sees: '
        'set CUDA_VISIBLE_DEVICES for each worker instead.')
