"""The flags of `python -m resnet.train`: where and how a run executes."""
import pathlib

from absl import flags

from configs import loading
from pipelines import reading_flags
from resnet import execution_flags
from resnet import loop

_DEFAULTS = loop.Options()


def parse(argv):
  """Defines and reads the flags: (Config, recipe's name, other arguments)."""
  for shared in (execution_flags, reading_flags):
    shared.define()
    flags.adopt_module_key_flags(shared)
  flags.DEFINE_string('workdir', None, 'The run folder; none: '
                      'runs/<recipe>.')
  flags.DEFINE_integer('steps_per_call', _DEFAULTS.steps_per_call, 'Updates a '
                       "host call; 0: about a second's worth.", lower_bound=0)
  flags.DEFINE_integer('log_every_steps', _DEFAULTS.log_every_steps,
                       'Updates between log points.', lower_bound=1)
  flags.DEFINE_bool('log_positions', _DEFAULTS.log_positions, 'Write to '
                    'metrics.jsonl a number that tells which positions of the '
                    'data were drawn since the last log point.')
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
  flags.DEFINE_float('max_minutes', 0, 'Minutes after which this process saves '
                     'and ends with 143, start me again; 0: never.',
                     lower_bound=0)
  flags.DEFINE_float('stall_seconds', _DEFAULTS.stall_seconds, 'Seconds '
                     'without anything new after which the stacks of all '
                     'threads are shown; 0: never.', lower_bound=0)
  return loading.parse(argv)


def options():
  """The loop.Options of the parsed flags."""
  values = flags.FLAGS
  return loop.Options(reading_flags.get(), **{
      name: values[name].value for name in loop.Options._fields[1:]})


def workdir(recipe):
  """Path of the run folder, for a run of the recipe of that name."""
  return pathlib.Path(
      flags.FLAGS.workdir or f'runs/{recipe}').expanduser()
