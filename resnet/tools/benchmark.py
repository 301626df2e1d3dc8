"""Training as users run it against the plainest TensorFlow step, in turn.

  python -m resnet.tools.benchmark --config=cifar10_resnet20 --data_dir=DIR

Ours is the whole training loop: real input, augmentation, metrics, summaries.
The plain step is forward, backward and Keras's optimiser on one batch that
never changes. Blocks of both alternate in one process, so that a machine whose
speed drifts slows both. Then start-up: from the start of a process to the end
of its first step.
"""
import contextlib
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags
import keras
import tensorflow as tf

from configs import loading, schema
from configs.process import command_line
from pipelines import augmentation, batches, reading_flags, sources
from resnet import loop, network
from resnet.distribution import strategy as strategy_lib
from resnet.execution import execution_flags
from resnet.execution.options import Options
from resnet.run import summaries


def parse(argv):
  """Defines and reads the flags: (Config, recipe's name, other arguments)."""
  for shared in (execution_flags, reading_flags):
    shared.define()
    flags.adopt_module_key_flags(shared)
  flags.DEFINE_integer('rounds', 8, 'Pairs of blocks that are timed.',
                       lower_bound=1)
  flags.DEFINE_float('block_secs', 8.0, 'Seconds of a block at least.',
                     lower_bound=0)
  flags.DEFINE_bool('startup', True, 'Whether to time start-up too.')
  return loading.parse(argv)


def main(parsed):
  """Prints the figures; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  values = flags.FLAGS
  config.train_epochs, config.train_steps = 0.0, 10**9
  strategy = execution_flags.make_strategy()
  reading = reading_flags.get()
  blocks = Blocks(config, plain_step(config, strategy, reading, values.jit),
                  values.rounds, values.block_secs)
  options = Options(reading, jit=values.jit)
  with (tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stderr(io.StringIO())):
    loop.train_and_evaluate(config, strategy, f'{folder}/run', options,
                            stop_requested=blocks.after_call)
  ours, plain = zip(*blocks.pairs)
  print(f'{recipe}, batch {config.global_batch}, '
        f'{strategy.num_replicas_in_sync} replicas, --jit={values.jit}; '
        f'images/s, median of {values.rounds} blocks [least, most]:')
  columns = {'ours, the training loop': ours, 'plain step': plain}
  for name, column in columns.items():
    print(f'  {name:24} {statistics.median(column):8.1f} '
          f'[{min(column):.1f}, {max(column):.1f}]')
  ratios = [a / b for a, b in blocks.pairs]
  print(f'  {"ratio, pair by pair":24} {statistics.median(ratios):8.3f} '
        f'[{min(ratios):.3f}, {max(ratios):.3f}]')
  if values.startup:
    _print_startup(config, reading)
  return command_line.DONE


class Blocks:
  """Alternates blocks of the training loop's calls and of the plain step."""

  def __init__(self, config, plain, rounds, block_secs):
    """Args: plain trains one batch when called; the rest as the flags."""
    self.pairs = []  # (ours, plain), images/s.
    self._batch, self._plain = config.global_batch, plain
    self._rounds, self._block_secs = rounds, block_secs
    self._first_step = None

  def after_call(self, step):
    """For the training loop to ask between calls; true when all is timed."""
    now = time.perf_counter()
    if self._first_step is None:  # The first calls trace and compile.
      if step:
        self._begin(step)
    elif now - self._started >= self._block_secs:
      steps = step - self._first_step
      ours = steps * self._batch / (now - self._started)
      started = time.perf_counter()
      for _ in range(steps):
        self._plain()
      self.pairs.append(
          (ours, steps * self._batch / (time.perf_counter() - started)))
      self._begin(step)
    return len(self.pairs) > self._rounds - 1

  def _begin(self, step):
    self._first_step, self._started = step, time.perf_counter()


def plain_step(config, strategy, reading, jit):
  """The least that trains this network: -> None, waits for the device.

  On several replicas it is the same step in strategy.run, without XLA, which
  cannot compile Keras's optimisers there.
  """
  source = sources.load(config.data.name, config.data.train_split, reading,
                        config.data.image_size)
  replicas = strategy.num_replicas_in_sync
  replica_batch = strategy_lib.replica_batch(config.global_batch, replicas)
  batch = next(iter(batches.evaluate(source, replica_batch=replica_batch)))
  with strategy.scope():
    model, state = network.build(config, strategy, source)
    images = augmentation.standardize(batch['image'], state.mean, state.stddev)
    optimizer = keras.optimizers.SGD(
        config.schedule.peak * 1e-3, config.optimizer.momentum,
        nesterov=config.optimizer.nesterov)
    optimizer.build(model.trainable_variables)
  offered = {'image': images, 'position': batch['position']}
  inputs = {name: offered[name] for name in model.input}

  def step():
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
          batch['label'], model(inputs, training=True)))
    optimizer.apply_gradients(zip(
        tape.gradient(loss, model.trainable_variables),
        model.trainable_variables))
    return loss

  if replicas > 1:
    replicated = tf.function(lambda: strategy.run(step))
    return lambda: strategy.experimental_local_results(replicated())[0].numpy()
  compiled = tf.function(step, jit_compile=strategy_lib.use_xla(
      jit, strategy, config.model.sync_batch_norm))
  return lambda: compiled().numpy()


def _print_startup(config, reading):
  print('start-up, seconds from process start to the end of the first step:')
  config.train_steps = 1
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    for name, jit in (('without XLA', 'false'), ('with XLA', 'true'),
                      ('with XLA, compiled before', 'true')):
      secs = _startup_secs(config, reading, jit, folder)
      print(f'  {name:26} {secs:6.1f}')


def _startup_secs(config, reading, jit, folder):
  recipe = folder / 'recipe.py'
  values = json.dumps(schema.to_dict(config))
  recipe.write_text(
      'import json\nfrom configs import schema\n\n\ndef get_config():\n'
      f'  return schema.from_dict(json.loads({values!r}))\n')
  with tempfile.TemporaryDirectory() as workdir:
    command = [sys.executable, '-m', 'resnet.train', f'--config={recipe}',
               f'--jit={jit}', f'--workdir={workdir}/run',
               f'--memory_gib={reading.memory_gib}',
               *([f'--data_dir={reading.data_dir}'] if reading.data_dir
                 else [])]
    environment = {key: value for key, value in os.environ.items()
                   if key != 'TF_XLA_FLAGS'}
    environment['XDG_CACHE_HOME'] = str(folder)
    started = time.time()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    first, *_ = summaries.read(pathlib.Path(workdir, 'run', 'metrics.jsonl'))
  return first['time'] - started


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
