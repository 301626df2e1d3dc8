"""Trains a network: `python -m resnet.train --config=cifar10_resnet20`.

Started again with the same command, it goes on where it was. Exit codes: 0
done; 2 an error of the user's, in one sentence; 143 stopped by a signal, saved:
the same command goes on.
"""
import pathlib

from absl import flags

from configs import command_line
from configs import recipes
from pipelines import reading_flags
from resnet import execution_flags
from resnet import loop
from resnet import stop_signals
from resnet import workers

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
  return recipes.parse(argv)


def main(parsed):
  """Runs the trainer; returns its exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  values = flags.FLAGS
  workdir = pathlib.Path(values.workdir or f'runs/{recipe}').expanduser()
  options = loop.Options(reading_flags.get(), **{
      name: values[name].value for name in loop.Options._fields[1:]})
  return workers.run(
      lambda: execution_flags.make_strategy(workers_allowed=True),
      lambda strategy: _train(config, strategy, workdir, options))


def _train(config, strategy, workdir, options):
  stop_signals.install()  # Not before: joining the others does not heed it.
  return loop.train_and_evaluate(
      config, strategy, workdir, options,
      stop_requested=lambda _: stop_signals.requested())


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
