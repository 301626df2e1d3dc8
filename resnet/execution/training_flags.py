"""The flags of `python -m resnet.train`: where and how a run executes."""
import pathlib
from typing import Any

from absl import flags

from configs import loading, schema
from configs.process import flag_groups, path_flags, whole_number
from pipelines import reading_flags
from resnet.execution import execution_flags
from resnet.execution import options as options_lib
from resnet.execution.options import Options

_DEFAULTS = Options()


def parse(argv: list[str]) -> tuple[schema.Config, str, list[str]]:
  """Defines and reads the flags.

  Returns:
    (config, the recipe's name, arguments that are not flags).

  Raises:
    UserError: a flag, the recipe or a field of the config is wrong.
  """
  _define_run()
  _define_intervals()
  _define_watching()
  execution_flags.define()
  reading_flags.define()
  return loading.parse(argv)


@flag_groups.group('Run')
def _define_run():
  """Defines the flags of where a run is, and of how it begins and ends."""
  path_flags.define(
      'workdir', None, 'The run folder. Default: runs/<recipe>.')
  path_flags.define(
      'init_from', None, 'What a new run starts from: the weights of another '
      'run (RUN, RUN:best or RUN:STEP) or a file of weights. Its classifier is '
      'made new if the classes are others. Read once: a run that is continued '
      'does not need it. Default: fresh weights.')
  flags.DEFINE_bool(
      'keep_optimizer', _DEFAULTS.keep_optimizer, 'With --init_from=RUN: also '
      "takes over the state of that run's optimizer and its averages, but not "
      'its step, which counts from 0.')
  flags.DEFINE_bool(
      'extend', _DEFAULTS.extend, 'Trains a run on with another length, '
      'schedule or evaluation than it began with; what changed at which step '
      'is kept in the run folder.')
  flags.DEFINE_float(
      'max_mins', 0, 'Minutes after which the process saves and exits with '
      '143, which asks launchers to restart it. 0: never.', lower_bound=0)
  flags.DEFINE_integer(
      'steps_per_call', _DEFAULTS.steps_per_call, 'Updates in each host call. '
      "0: about one second's worth.", lower_bound=0)


@flag_groups.group('Logging, evaluation and checkpoints')
def _define_intervals():
  """Defines the flags of what happens between updates, and how often."""
  flags.DEFINE_integer(
      'log_every_steps', _DEFAULTS.log_every_steps, 'Updates between log '
      'points.', lower_bound=1)
  flags.DEFINE_float(
      'eval_every_epochs', _DEFAULTS.eval_every_epochs, 'Epochs between '
      'evaluations. 0: only at the end.', lower_bound=0)
  flags.DEFINE_integer(
      'eval_every_steps', _DEFAULTS.eval_every_steps, 'Updates between '
      'evaluations. 0: --eval_every_epochs decides.', lower_bound=0)
  flags.DEFINE_float(
      'save_every_secs', _DEFAULTS.save_every_secs, 'Seconds between '
      'checkpoints. 0: off.', lower_bound=0)
  flags.DEFINE_integer(
      'save_every_steps', _DEFAULTS.save_every_steps, 'Updates between '
      'checkpoints, in addition to --save_every_secs. 0: off.', lower_bound=0)
  flags.DEFINE_integer(
      'keep_last', _DEFAULTS.keep_last, 'How many of the newest checkpoints to '
      'keep.', lower_bound=1)
  flags.DEFINE_integer(
      'keep_best', _DEFAULTS.keep_best, 'How many of the most accurate '
      'checkpoints to keep.', lower_bound=0)


@flag_groups.group('Watching')
def _define_watching():
  """Defines the flags of what a run writes of itself, beyond its figures."""
  flags.DEFINE_integer(
      'histograms_every_steps', _DEFAULTS.histograms_every_steps, 'Updates '
      'between histograms of all weights and gradients in TensorBoard. 0: off.',
      lower_bound=0)
  flags.DEFINE(
      _StepsParser(), 'profile_steps', _DEFAULTS.profile_steps, 'Steps to '
      'profile, once: 100:110 profiles the ten updates that follow step 100.')
  flags.DEFINE_enum(
      'profile_workers', _DEFAULTS.profile_workers, options_lib.PROFILED,
      'Which workers --profile_steps profiles.')
  flags.DEFINE_multi_enum(
      'log_to', list(_DEFAULTS.log_to), options_lib.LOGGERS, 'Also keeps the '
      'figures for Weights & Biases or MLflow, in RUN/wandb or RUN/mlruns '
      'unless WANDB_MODE=online or MLFLOW_TRACKING_URI sends them to a server. '
      'May be repeated. A service that fails or hangs is left out, and the run '
      'goes on.')
  flags.DEFINE_bool(
      'log_positions', _DEFAULTS.log_positions, 'Adds to each log point in '
      'metrics.jsonl a digest of the positions in the data that were drawn '
      'since the last one.')
  flags.DEFINE_float(
      'stall_secs', _DEFAULTS.stall_secs, 'Seconds without progress after '
      'which the stacks of all threads are printed. 0: never.', lower_bound=0)


class _StepsParser(flags.ArgumentParser[tuple[int, int]]):
  """Reads FIRST:LAST as (FIRST, LAST)."""
  syntactic_help = 'a span of steps FIRST:LAST, such as 100:110'

  def parse(self, argument: str) -> tuple[int, int]:
    first, last = map(whole_number.parse, argument.partition(':')[::2])
    if first is None or last is None or not 0 <= first < last:
      raise ValueError(f'not {self.syntactic_help}')
    return first, last

  def flag_type(self) -> str:
    return 'FIRST:LAST'


def options() -> Options:
  """Returns the options that the parsed flags ask for."""
  values: Any = flags.FLAGS.flag_values_dict()
  return Options(reading_flags.get(), **{
      name: values[name] for name in Options._fields[1:]})


def workdir(recipe: str) -> pathlib.Path:
  """Returns the path of the run folder, for a run of the recipe."""
  return flags.FLAGS.workdir or pathlib.Path('runs', recipe)
