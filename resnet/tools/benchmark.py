"""Compares the training loop with the plainest TensorFlow training step.

  python -m resnet.tools.benchmark --config=cifar10_resnet20 --data_dir=DIR

The training loop is all that users run: real input, augmentation, metrics,
summaries. The plain step is forward, backward and Keras's optimizer on one
batch that never changes. Blocks of both alternate in one process, so a machine
whose speed drifts slows both down. Then start-up is measured, from the start of
a process to the end of its first step.
"""
from collections.abc import Callable, Sequence
import contextlib
import io
import statistics
import tempfile
import time

from absl import flags

from configs import loading, schema
from configs.process import command_line, tensorflow_process
from pipelines import reading_flags
from pipelines.options import Reading
from resnet.execution import execution_flags
from resnet.execution.options import Options


def parse(argv: list[str]) -> tuple[schema.Config, str, list[str]]:
  """Defines and reads the flags.

  Returns:
    (config, the recipe's name, arguments that are not flags).
  """
  for shared in (execution_flags, reading_flags):
    shared.define()
    flags.adopt_module_key_flags(shared)
  flags.DEFINE_integer(
      'rounds', 8, 'How many pairs of blocks to time.', lower_bound=1)
  flags.DEFINE_float(
      'block_secs', 8.0, 'Shortest duration of a block in seconds.',
      lower_bound=0)
  flags.DEFINE_bool('startup', True, 'Whether to measure start-up too.')
  return loading.parse(argv)


def main(parsed: tuple[schema.Config, str, list[str]]) -> int:
  """Prints the figures; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  with tensorflow_process.starting():
    from resnet import loop
    from resnet.tools import plain_step

  values = flags.FLAGS
  config.train_epochs, config.train_steps = 0.0, 10**9
  strategy = execution_flags.make_strategy()
  options = Options(reading_flags.get(), jit=values.jit)
  plain = plain_step.make(config, strategy, options.reading, options.jit)
  blocks = Blocks(config.global_batch, plain, values.rounds, values.block_secs)
  with (tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stderr(io.StringIO())):
    loop.train_and_evaluate(config, strategy, f'{folder}/run', options,
                            stop_requested=blocks.after_call)
  print(f'{recipe}, batch {config.global_batch}, '
        f'{strategy.num_replicas_in_sync} replicas, --jit={values.jit}; '
        f'images/s, median of {values.rounds} blocks [min, max]:')
  _print_speeds(blocks.pairs)
  if values.startup:
    _print_startup(config, options.reading)
  return command_line.DONE


class Blocks:
  """Alternates blocks of the training loop's calls and of the plain step.

  Attributes:
    pairs: (speed of the training loop, speed of the plain step) of each round
      so far, in images/s.
  """

  def __init__(self, global_batch: int, plain: Callable[[], object],
               rounds: int, block_secs: float,
               clock: Callable[[], float] = time.perf_counter):
    """Prepares the measurement.

    Args:
      global_batch: images of each step.
      plain: makes one plain step, and waits for the devices.
      rounds: pairs to measure.
      block_secs: shortest duration of a block of the training loop.
      clock: returns seconds.
    """
    self.pairs: list[tuple[float, float]] = []
    self._batch, self._plain = global_batch, plain
    self._rounds, self._block_secs, self._clock = rounds, block_secs, clock
    self._first_step, self._started = 0, 0.0

  def after_call(self, step: int) -> bool:
    """Measures, when the training loop asks between calls whether to stop.

    Args:
      step: updates done. During an evaluation the loop asks several times with
        the same number.

    Returns:
      Whether all rounds are done.
    """
    steps, secs = step - self._first_step, self._clock() - self._started
    if not self._first_step:
      if step:  # The calls until now traced and compiled; so does this one.
        self._plain()
        self._begin(step)
    elif steps and secs >= self._block_secs and not self._is_done:
      started = self._clock()
      for _ in range(steps):
        self._plain()
      plain_secs = self._clock() - started
      self.pairs.append(
          (steps * self._batch / secs, steps * self._batch / plain_secs))
      self._begin(step)
    return self._is_done

  @property
  def _is_done(self):
    return len(self.pairs) == self._rounds

  def _begin(self, step):
    self._first_step, self._started = step, self._clock()


def _print_speeds(pairs: Sequence[tuple[float, float]]) -> None:
  loop, plain = zip(*pairs)
  for name, speeds in (('training loop', loop), ('plain step', plain)):
    print(f'  {name:24} {statistics.median(speeds):8.1f} '
          f'[{min(speeds):.1f}, {max(speeds):.1f}]')
  ratios = [a / b for a, b in pairs]
  print(f'  {"ratio of each pair":24} {statistics.median(ratios):8.3f} '
        f'[{min(ratios):.3f}, {max(ratios):.3f}]')


def _print_startup(config: schema.Config, reading: Reading) -> None:
  from resnet.tools import startup

  print('start-up, seconds from process start to the end of the first step:')
  with tempfile.TemporaryDirectory() as cache_folder:
    for name, jit in (('without XLA', 'false'), ('with XLA', 'true'),
                      ('with XLA, compiled before', 'true')):
      secs = startup.measure(config, reading, jit, cache_folder)
      print(f'  {name:26} {secs:6.1f}')


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
