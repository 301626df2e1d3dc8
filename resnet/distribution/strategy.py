"""Devices of this process and the tf.distribute strategy over them."""
from collections.abc import Sequence

import tensorflow as tf

from configs.process import whole_number
from configs.process.errors import UserError
from resnet.execution.options import STRATEGIES


def make(name: str, devices: Sequence[str] = (),
         virtual_devices: int = 0) -> tf.distribute.Strategy:
  """Returns a strategy over devices of this process.

  Args:
    name: 'one_device' or 'mirrored'.
    devices: names such as 'GPU:0', '0' (a GPU) or 'CPU:0'; empty: all GPUs, or
      all CPUs if there is no GPU (one_device: the first of them).
    virtual_devices: splits the CPU into this many logical devices and uses
      those; 0: does not split it. Only before TensorFlow touches its devices.

  Raises:
    UserError: the strategy is unknown, or the devices are not there.
  """
  if name not in STRATEGIES:
    raise UserError(
        f'--strategy={name} is unknown: choose one of {", ".join(STRATEGIES)}.')
  if virtual_devices and devices:
    raise UserError(
        f'--virtual_devices={virtual_devices} and --devices='
        f'{",".join(devices)} cannot be combined: give only one of them.')
  if virtual_devices < 0:
    raise UserError(
        f'--virtual_devices={virtual_devices} is out of range: give 0 (off) '
        'or more.')
  if virtual_devices:
    _split_cpu(virtual_devices)
    chosen = [f'CPU:{i}' for i in range(virtual_devices)]
  else:
    chosen = _choose(devices)
  if name == 'mirrored':
    return tf.distribute.MirroredStrategy(chosen)
  if len(chosen) > 1 and devices:
    raise UserError(
        f'--devices={",".join(devices)} names {len(chosen)} devices, but '
        '--strategy=one_device trains on one: give one device, or '
        '--strategy=mirrored.')
  return tf.distribute.OneDeviceStrategy(chosen[0])


def replica_batch(global_batch: int, replicas: int) -> int:
  """Returns the number of images per replica and update.

  Raises:
    UserError: the replicas cannot share the global batch equally.
  """
  if global_batch % replicas:
    lower = global_batch - global_batch % replicas
    allowed = ' or '.join(
        str(b) for b in (lower, lower + replicas) if b > 0)
    raise UserError(
        f'config.global_batch={global_batch} cannot be shared equally by '
        f'{replicas} replicas ({global_batch / replicas:.2f} images each): '
        f'give a multiple of {replicas} such as {allowed}, or use other '
        'devices.')
  return global_batch // replicas


def use_xla(jit: str, strategy: tf.distribute.Strategy,
            sync_batch_norm: bool) -> bool:
  """Returns whether to compile with XLA.

  XLA halves the speed of convolutions on CPUs, so 'auto' compiles on GPUs only.

  Args:
    jit: 'true', 'false' or 'auto'.
    strategy: the devices.
    sync_batch_norm: whether batch norm reduces over replicas.

  Raises:
    UserError: 'true' was given for batch norm that reduces over replicas.
  """
  collective = sync_batch_norm and strategy.num_replicas_in_sync > 1
  if jit == 'true' and collective:
    raise UserError(
        '--jit=true cannot compile config.model.sync_batch_norm=True on '
        f'{strategy.num_replicas_in_sync} replicas (XLA cannot reduce over '
        'replicas): give --jit=false, or sync_batch_norm=False.')
  return jit == 'true' or (
      jit == 'auto' and on_gpus(strategy) and not collective)


def without_xla_warning(jit: str,
                        strategy: tf.distribute.Strategy) -> str | None:
  """Returns a warning if GPUs are to train without XLA; None otherwise.

  Args:
    jit: 'true', 'false' or 'auto'.
    strategy: the devices.
  """
  if jit != 'false' or not on_gpus(strategy):
    return None
  return ('--jit=false is very slow on GPUs: outside of XLA, TensorFlow has no '
          'GPU kernels for many of the integer operations that augment images, '
          'so images are copied to the host and back in every step; give '
          '--jit=auto, unless you are looking for a fault of XLA.')


def let_memory_grow() -> None:
  """Makes TensorFlow take the memory of GPUs as it needs it, not all at once.

  Call it before TensorFlow touches its devices. Without GPUs it does nothing.
  """
  for gpu in tf.config.list_physical_devices('GPU'):
    tf.config.experimental.set_memory_growth(gpu, True)


def on_gpus(strategy: tf.distribute.Strategy) -> bool:
  """Returns whether every device of a strategy is a GPU.

  The default strategy, of programs without any, is on a GPU if there is one.
  """
  if strategy is tf.distribute.get_strategy() and (
      not tf.distribute.has_strategy()):
    return bool(tf.config.list_logical_devices('GPU'))
  return all('GPU' in d for d in strategy.extended.worker_devices)


def _split_cpu(count):
  cpu = tf.config.list_physical_devices('CPU')[0]
  tf.config.set_logical_device_configuration(
      cpu, [tf.config.LogicalDeviceConfiguration()] * count)


def _choose(devices: Sequence[str]) -> list[str]:
  """Returns names like 'GPU:0' of logical devices that exist."""
  there = [d.name.removeprefix('/device:')
           for d in tf.config.list_logical_devices()]
  gpus = [name for name in there if name.startswith('GPU')]
  if not devices:
    return gpus or [name for name in there if name.startswith('CPU')]
  chosen = [d.upper() if whole_number.parse(d) is None else f'GPU:{d}'
            for d in devices]
  missing = [name for name in chosen if name not in there]
  if missing:
    raise UserError(
        f'--devices={",".join(devices)} asks for {", ".join(missing)}, but '
        f'this machine has {", ".join(there)}: choose among those, split the '
        'CPU with --virtual_devices, or set TF_CPP_MIN_LOG_LEVEL=0 to see why '
        'TensorFlow finds no GPU.')
  if len(set(chosen)) < len(chosen):
    raise UserError(
        f'--devices={",".join(devices)} names a device twice: name each once.')
  return chosen
