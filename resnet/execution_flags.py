"""Flags that every binary with devices shares: where it runs, not what."""
from absl import flags
import tensorflow as tf

from configs.process.errors import UserError
from launch.cluster import cluster_flags
from resnet.distribution import strategy
from resnet.distribution import workers

_DEFAULTS = workers.Settings()


def define():
  """Defines them; read the values by `make_strategy` and in `main`."""
  flags.DEFINE_string('strategy', 'mirrored', 'one_device, mirrored, or '
                      'multi_worker_mirrored, for several processes.')
  cluster_flags.define()
  flags.adopt_module_key_flags(cluster_flags)
  flags.DEFINE_list('devices', [], 'Devices such as GPU:0,GPU:1 (or 0,1) or '
                    'CPU:0; none: all GPUs, or the CPU.')
  flags.DEFINE_integer('virtual_devices', 0, 'Splits the CPU into so many '
                       'devices, to try a strategy without GPUs; 0: off.')
  flags.DEFINE_enum('jit', 'auto', ['auto', 'true', 'false'],
                    'XLA; auto: on GPUs.')
  flags.DEFINE_bool('deterministic', False, 'Deterministic operations on GPUs: '
                    'the same bits in every run, some of them slower. CPUs '
                    'need it not.')
  flags.DEFINE_enum('collectives', _DEFAULTS.collectives, workers.COLLECTIVES,
                    'How workers sum gradients; auto: NCCL on GPUs, or ring.')
  flags.DEFINE_integer('start_secs', _DEFAULTS.start_secs, 'Seconds that '
                       'workers wait for each other at the start.',
                       lower_bound=1)
  flags.DEFINE_integer('heartbeat_secs', _DEFAULTS.heartbeat_secs, 'Seconds '
                       'until a silent worker counts as lost.', lower_bound=1)
  flags.DEFINE_integer('collective_secs', _DEFAULTS.collective_secs, 'Seconds '
                       'until a sum over workers counts as hung: longer than '
                       'compiling, evaluating and saving take; 0: never.',
                       lower_bound=0)
  flags.DEFINE_integer('pack_mib', _DEFAULTS.pack_mib, 'Workers sum gradients '
                       'in packs of so many MiB; 0: all in one.', lower_bound=0)


def make_strategy(workers_allowed=False):
  """The tf.distribute strategy that the parsed flags ask for.

  Args:
    workers_allowed: whether the binary runs in several processes at once.

  Raises:
    UserError: flags or the environment are wrong.
    workers.LostPeer: not all workers came.
  """
  values = flags.FLAGS
  if values.deterministic:
    tf.config.experimental.enable_op_determinism()
  if values.strategy == strategy.MULTI_WORKER:
    if not workers_allowed:
      raise UserError(
          f'--strategy={values.strategy} is for training, and this command '
          'runs in one process: give --strategy=mirrored.')
    return _join_workers(values)
  if values.worker_addresses or values.worker_rank is not None:
    raise UserError('--worker_addresses and --worker_rank are for '
                    f'--strategy={strategy.MULTI_WORKER}, and --strategy='
                    f'{values.strategy} was given: give that one, or neither.')
  return strategy.make(
      values.strategy, values.devices, values.virtual_devices)


def refuse_devices():
  """Raises UserError if --devices was given; it is for one process."""
  values = flags.FLAGS
  if values.devices:
    raise UserError(
        f'--devices={",".join(values.devices)} is for one process, and '
        f'--strategy={values.strategy} takes all GPUs that each worker sees: '
        'set CUDA_VISIBLE_DEVICES for it instead.')


def _join_workers(values):
  refuse_devices()
  return workers.join(
      cluster_flags.get(values), workers.Settings(**{
          name: values[name].value for name in workers.Settings._fields}),
      values.virtual_devices)
