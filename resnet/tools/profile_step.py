"""Shows which operations the time of a training step goes to.

  python -m resnet.tools.profile_step --config=cifar10_resnet20 --data_dir=DIR

Some steps of the training loop, with real input, run under TensorFlow's
profiler, after others that traced and compiled. A run profiles itself with
`python -m resnet.train --profile_steps=100:110`; this needs no run.
"""
import contextlib
import io
import os
import tempfile
import time

from absl import flags

from configs import loading, schema
from configs.process import command_line, tensorflow_process
from pipelines import reading_flags
from resnet.execution import execution_flags
from resnet.execution.options import Options


def parse(argv: list[str]) -> tuple[schema.Config, str, list[str]]:
  """Defines and reads the flags.

  Returns:
    (config, the recipe's name, arguments that are not flags).
  """
  execution_flags.define()
  reading_flags.define()
  flags.DEFINE_integer(
      'steps', 10, 'How many steps to profile.', lower_bound=1)
  return loading.parse(argv)


def main(parsed: tuple[schema.Config, str, list[str]]) -> int:
  """Prints the operations; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  with tensorflow_process.starting():
    from resnet import loop
    from resnet.run import surroundings
    from resnet.run.profiling import table

  load, values = os.getloadavg()[0], flags.FLAGS
  config.train_epochs, config.train_steps = 0.0, 10**9
  strategy = execution_flags.make_strategy()
  options = Options(
      reading_flags.get(), jit=values.jit, log_every_steps=10**9,
      eval_every_epochs=0, save_every_secs=0, steps_per_call=values.steps)
  profile = Profile()
  with (tempfile.TemporaryDirectory() as folder, profile.recording,
        contextlib.redirect_stderr(io.StringIO())):
    loop.train_and_evaluate(config, strategy, f'{folder}/run', options,
                            stop_requested=profile.after_call)
  here = surroundings.of(options, '')
  print(f'{recipe}, batches of {config.global_batch}, {config.precision}, '
        f'--jit={values.jit}\n{here.get("gpus", here["cpu"])}, '
        f'{strategy.num_replicas_in_sync} replicas, {here["threads"]} threads, '
        f'load average {load:.2f} at the start')
  print(table.text(profile.operations, profile.steps, profile.secs), end='')
  return command_line.DONE


class Profile:
  """Records one call of the training loop, the second one.

  Attributes:
    recording: a context that the training loop must run in.
    operations: trace.Operation of the call.
    steps: updates of the call.
    secs: how long it took.
  """

  def __init__(self):
    self.recording = contextlib.ExitStack()
    self.steps, self.secs = 0, 0.0
    self._first_step, self._started = 0, 0.0

  def after_call(self, step: int) -> bool:
    """Starts and ends to record, when the loop asks whether to stop.

    Args:
      step: updates done.

    Returns:
      Whether the call has been recorded.
    """
    from resnet.run.profiling import trace

    if self.steps or step == self._first_step:
      return bool(self.steps)
    if not self._first_step:  # The call until now traced and compiled.
      self.operations = self.recording.enter_context(trace.recorded())
      self._first_step, self._started = step, time.perf_counter()
      return False
    self.steps = step - self._first_step
    self.secs = time.perf_counter() - self._started
    self.recording.close()
    return True


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
