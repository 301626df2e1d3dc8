"""Flags that every binary with devices shares: where it runs, not what."""
from absl import flags
import tensorflow as tf

from resnet import strategy


def define():
  """Defines them; read the values by `make_strategy` and in `main`."""
  flags.DEFINE_string('strategy', 'mirrored', 'one_device or mirrored.')
  flags.DEFINE_list('devices', [], 'Devices such as GPU:0,GPU:1 (or 0,1) or '
                    'CPU:0; none: all GPUs, or the CPU.')
  flags.DEFINE_integer('virtual_devices', 0, 'Splits the CPU into so many '
                       'devices, to try a strategy without GPUs; 0: off.')
  flags.DEFINE_enum('jit', 'auto', ['auto', 'true', 'false'],
                    'XLA; auto: on GPUs.')
  flags.DEFINE_bool('deterministic', False, 'Deterministic operations on GPUs: '
                    'the same bits in every run, some of them slower. CPUs '
                    'need it not.')


def make_strategy():
  """The tf.distribute strategy that the parsed flags ask for."""
  values = flags.FLAGS
  if values.deterministic:
    tf.config.experimental.enable_op_determinism()
  return strategy.make(
      values.strategy, values.devices, values.virtual_devices)
