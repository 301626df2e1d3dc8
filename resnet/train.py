"""Trains a network: `python -m resnet.train --config=cifar10_resnet20`.

Started again with the same command, it goes on where it was.
"""
import os
import pathlib
import sys

from absl import flags
import tensorflow as tf

from configs import command_line
from configs import recipes
from configs.errors import UserError
from resnet import loop
from resnet import stop_signals
from resnet import strategy

_DEFAULTS = loop.Options()


def define_flags():
  """Where and how a run executes. What is trained stands in --config."""
  flags.DEFINE_string('strategy', 'one_device', 'one_device or mirrored.')
  flags.DEFINE_list('devices', [], 'Devices such as GPU:0,GPU:1 (or 0,1) or '
                    'CPU:0; none: all GPUs, or the CPU.')
  flags.DEFINE_integer('virtual_devices', 0, 'Splits the CPU into so many '
                       'devices, to try a strategy without GPUs; 0: off.')
  flags.DEFINE_string('workdir', None, 'The run folder; none: '
                      'runs/<recipe>.')
  flags.DEFINE_string('data_dir', _DEFAULTS.data_dir, 'Where TFDS data sets '
                      "are prepared; none: TFDS's default.")
  flags.DEFINE_enum('jit', _DEFAULTS.jit, ['auto', 'true', 'false'],
                    'XLA; auto: on GPUs.')
  flags.DEFINE_bool('deterministic', False, 'Deterministic operations on GPUs: '
                    'the same bits in every run, some of them slower. CPUs '
                    'need it not.')
  flags.DEFINE_integer('steps_per_call', _DEFAULTS.steps_per_call, 'Updates a '
                       "host call; 0: about a second's worth.", lower_bound=0)
  flags.DEFINE_integer('log_every_steps', _DEFAULTS.log_every_steps,
                       'Updates between log points.', lower_bound=1)
  flags.DEFINE_float('eval_every_epochs', _DEFAULTS.eval_every_epochs,
                     'Epochs between evaluations; 0: at the end only.',
                     lower_bound=0)
  flags.DEFINE_integer('eval_every_steps', _DEFAULTS.eval_every_steps,
                       'Counts instead of epochs if not 0.', lower_bound=0)
  flags.DEFINE_float('save_every_secs', _DEFAULTS.save_every_secs,
                     'Seconds between checkpoints; 0: off.', lower_bound=0)
  flags.DEFINE_integer('save_every_steps', _DEFAULTS.save_every_steps,
                       'Updates between checkpoints as well; 0: off.',
                       lower_bound=0)
  flags.DEFINE_integer('keep_last', _DEFAULTS.keep_last,
                       'Newest checkpoints kept.', lower_bound=1)
  flags.DEFINE_integer('keep_best', _DEFAULTS.keep_best,
                       'Most accurate checkpoints kept.', lower_bound=0)


def main(parsed):
  """Runs the trainer; returns its exit code."""
  config, recipe, others = parsed
  if others:
    raise UserError(
        f'{" ".join(others)!r} is not a flag: flags look like --name=value.')
  values = flags.FLAGS
  workdir = pathlib.Path(values.workdir or f'runs/{recipe}')
  # Read by XLA when it first compiles: a restart need not compile again.
  os.environ.setdefault('TF_XLA_FLAGS', '--tf_xla_persistent_cache_directory='
                        f'{workdir.absolute() / "xla_cache"}')
  if values.deterministic:
    tf.config.experimental.enable_op_determinism()
  devices = strategy.make(
      values.strategy, values.devices, values.virtual_devices)
  stop_signals.install()
  return loop.train_and_evaluate(
      config, devices, workdir,
      loop.Options(**{name: values[name].value
                      for name in loop.Options._fields}),
      stop_requested=lambda _: stop_signals.requested())


if __name__ == '__main__':
  define_flags()
  command_line.run(main, recipes.parse)
