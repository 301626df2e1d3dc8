"""Compares the training loop with the plainest training steps there are.

  python -m resnet.tools.benchmark --config=cifar10_resnet20 --data_dir=DIR \\
      --torch_python=/path/to/python

In one process and one run, blocks of updates alternate: 1. the training loop as
users run it, with real input, augmentation, metrics and summaries; 2. the plain
Keras step, with Keras's batch norm and optimizer, on one batch that never
changes; 3. the same with our fused batch norm, which is as fast as TensorFlow
gets; 4. the same network in PyTorch, eager and channels last, in a process that
is idle otherwise. All have the same number of threads and the same settings of
malloc. Tracing, compiling, evaluations and checkpoints are outside
of all blocks. Then the cost of a log point is measured, and start-up, from the
start of a process to the end of its first step.
"""
from collections.abc import Sequence
import contextlib
import dataclasses
import io
import os
import statistics
import tempfile

from absl import flags

from configs import loading, schema
from configs.process import command_line, path_flags, tensorflow_process
from pipelines import reading_flags
from pipelines.options import Reading
from resnet.execution import execution_flags
from resnet.execution.options import Options

_PAIRS = 16  # Of calls with and without a log point, for each round.
_LOOP = 'training loop'
_KERAS, _FUSED = "plain step, Keras's norm", 'plain step, fused norm'


def parse(argv: list[str]) -> tuple[schema.Config, str, list[str]]:
  """Defines and reads the flags.

  Returns:
    (config, the recipe's name, arguments that are not flags).
  """
  execution_flags.define()
  reading_flags.define()
  flags.DEFINE_integer(
      'rounds', 8, 'How many rounds of blocks to time.', lower_bound=1)
  flags.DEFINE_float(
      'block_secs', 8.0, 'Shortest duration of a block of the training loop in '
      'seconds. The other blocks make as many updates.', lower_bound=0)
  path_flags.define(
      'torch_python', None, 'A Python 3.11 or later that can import torch. '
      'Default: this one, if it can.')
  flags.DEFINE_bool('startup', True, 'Whether to measure start-up too.')
  return loading.parse(argv)


def main(parsed: tuple[schema.Config, str, list[str]]) -> int:
  """Prints the figures; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  with tensorflow_process.starting():
    from pipelines import sources
    from resnet.tools import plain_step

  load, values = os.getloadavg()[0], flags.FLAGS
  config.train_epochs, config.train_steps = 0.0, 10**9
  config.augment = dataclasses.replace(config.augment, sizes=())
  strategy = execution_flags.make_strategy()
  options = Options(reading_flags.get(), jit=values.jit,
                    eval_every_epochs=0, save_every_secs=0)
  source = sources.open_split(config.data, config.data.train_split,
                              options.reading, made=config.synthetic)
  images = plain_step.Images(source.image_shape, source.num_classes)
  print(f'{recipe}, batches of {config.global_batch} x {images.image_shape}, '
        f'{config.precision}, --jit={values.jit}')
  with contextlib.ExitStack() as stack:
    runs, missing = _others(config, strategy, images, load, stack)
    costs = _measure(config, strategy, options, list(runs.values()))
  _print_speeds(config.global_batch, (_LOOP, *runs), costs, missing)
  # Short calls, many of them: the cost is small beside the noise of a block.
  _print_log_cost(config, strategy, options,
                  max(1, costs[0][0].steps // _PAIRS), _PAIRS * values.rounds)
  if values.startup:
    _print_startup(config, images, options.reading)
  return command_line.DONE


def _others(config, strategy, images, load, stack):
  """Makes all that the training loop is compared with; says where it runs.

  Returns:
    ({name: function of a number of updates that returns their cost},
    {name: why it is not measured}).
  """
  from resnet.run import surroundings
  from resnet.tools import plain_step, rounds, torch_process

  here = surroundings.of(Options(), '')
  devices = strategy.extended.worker_devices
  print(f'{here.get("gpus", here["cpu"])}, {len(devices)} x '
        f'{devices[0].rpartition("/device:")[2].partition(":")[0]}, '
        f'{here["threads"]} threads, load average {load:.2f} at the start',
        flush=True)
  keras, fused = (
      plain_step.make(config, strategy, images, flags.FLAGS.jit,
                      keras_batch_norm=choice) for choice in (True, False))
  runs, missing = {_KERAS: rounds.timed(keras.run)}, {}
  if fused.fused_norms:
    runs[_FUSED] = rounds.timed(fused.run)
  else:
    missing[_FUSED] = 'this network has none'
  python = flags.FLAGS.torch_python
  reason = torch_process.why_not(config, devices, python)
  if reason:
    missing['PyTorch'] = reason
    return runs, missing
  torch = stack.enter_context(torch_process.TorchProcess(
      python, torch_process.settings(
          config, *images, threads=int(here['threads']))))
  if torch.weights != fused.weights:
    raise RuntimeError(f'The network has {torch.weights} weights in PyTorch, '
                       f'but {fused.weights} here.')
  return {**runs, f'PyTorch {torch.version}': torch}, missing


def _measure(config, strategy, options, others):
  """Returns the costs of each round, the training loop's first."""
  from resnet import loop
  from resnet.tools import rounds

  values = flags.FLAGS
  turns = rounds.Rounds(others, values.rounds, values.block_secs)
  with (tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stderr(io.StringIO())):
    loop.train_and_evaluate(config, strategy, f'{folder}/run', options,
                            stop_requested=turns.after_call)
  return turns.costs


def _print_speeds(batch, names, costs, missing):
  for unit, attribute in (('second', 'secs'), ('CPU-second', 'cpu_secs')):
    print(f'images per {unit}, median of {len(costs)} rounds [min, max]; '
          f'{_LOOP} / other, round by round:')
    speeds = [[cost.steps * batch / getattr(cost, attribute) for cost in turn]
              for turn in costs]
    for name, column in zip(names, zip(*speeds)):
      ratio = '' if name == _LOOP else _spread(
          [turn[0] / speed for turn, speed in zip(speeds, column)], 3)
      print(f'  {name:26} {_spread(column, 1):28} {ratio}'.rstrip())
  for name, reason in missing.items():
    print(f'  {name:26} not measured: {reason}')


def _print_log_cost(config, strategy, options, steps, pairs):
  from resnet.tools import log_cost

  secs, step_secs = log_cost.measure(
      config, strategy, options, steps=steps, rounds=pairs)
  every = options.log_every_steps
  print(f'a log point: {1000 * secs:.2f} ms more than a call without one, '
        f'{secs / (every * step_secs):.2%} of {every} updates (median of '
        f'{pairs} pairs)', flush=True)


def _spread(values: Sequence[float], digits: int) -> str:
  return (f'{statistics.median(values):.{digits}f} '
          f'[{min(values):.{digits}f}, {max(values):.{digits}f}]')


def _print_startup(config: schema.Config, images, reading: Reading) -> None:
  from resnet.tools import startup

  print('start-up, seconds from process start to the end of the first step:')
  secs = startup.measure_plain(config, images)
  print(f'  {_KERAS:26} {secs:6.1f}', flush=True)
  with tempfile.TemporaryDirectory() as cache_folder:
    for name, jit in ((f'{_LOOP}, first start', 'false'),
                      ('second start', 'false'),
                      ('first start with XLA', 'true'),
                      ('second start with XLA', 'true')):
      secs = startup.measure(config, reading, jit, cache_folder)
      print(f'  {name:26} {secs:6.1f}', flush=True)


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
