"""Trains once for each of several settings, and seeds, and compares.

  python -m launch.sweep --config=cifar10_resnet20 --seeds=3 \\
      --sweep=schedule.peak=0.05,0.1,0.2 -- --data_dir=DATA

Several --sweep make a grid. What stands after -- is for every trainer. The run
folders stand in --workdir, called by what the sweep sets (peak=0.1_seed=2);
`tensorboard --logdir` over it compares them, in its tab HParams.

--launcher says what starts a run, with the flags in --launcher_flags. train
(`python -m resnet.train`) and local (launch.local) have the whole machine: one
run after another. slurm submits a job for each. kubernetes prints all
manifests, for `| kubectl apply -f -`. none starts nothing and shows how far the
runs are, be it by any launcher. Runs that are finished are not started again:
the same command goes on where it was. (It does not know which jobs still wait
or run: before you submit again, see that there are none, or have Slurm do so,
by --launcher_flags='... --sbatch=--dependency=singleton'.)

A run that fails does not stop the others, unless it is the first and cannot
begin. Signals are passed on once, and end the sweep; a second SIGINT (Ctrl-C)
kills. Exit codes: 0 all done; 2 an error of the user's, or runs that ended with
one; 143 stopped, saved: the same command goes on; 130 killed by the second
SIGINT; anything else that of the first run that failed (1 if by a signal).
"""
import pathlib
import shlex
import sys

from absl import flags

from configs import loading
from configs.process import command_line
from configs.process.errors import UserError
from launch import trainer_command
from launch.local import signals
from launch.sweep import grid, starting, table

_NONE = 'none'


def parse(argv):
  """Defines and reads the flags; returns the trainer's, which follow --."""
  flags.DEFINE_string('config', loading.DEFAULT, 'The recipe of all runs: a '
                      'name in configs/, or the path of a .py file.')
  flags.DEFINE_multi_string('sweep', [], 'A field of the config and its values:'
                            ' schedule.peak=0.1,0.2; of fields that take '
                            "several numbers 'schedule.drops_at=0.5,0.75;0.6'.")
  flags.DEFINE_integer('seeds', None, 'Runs of each setting, with the seeds 0, '
                       '1, ...; none: one, with the seed of the recipe.',
                       lower_bound=1)
  flags.DEFINE_string('workdir', None, 'The folder of the run folders; none: '
                      'runs/<recipe>-sweep.')
  flags.DEFINE_enum('launcher', 'train', [*starting.LAUNCHERS, _NONE],
                    'What starts a run.')
  flags.DEFINE_string('launcher_flags', '', 'Flags of the launcher, quoted as '
                      "in a shell: '--workers=2 --max_restarts=5'.")
  flags.DEFINE_bool('dry_run', False, 'Print the command of each run that is '
                    'to be started, and end.')
  return trainer_command.parse(argv)


def main(trainer_flags):
  """Runs the sweep; returns its exit code."""
  values = flags.FLAGS
  if not values.sweep and not values.seeds:
    raise UserError('--sweep and --seeds are both missing: say what is to be '
                    'tried, as in --sweep=schedule.peak=0.1,0.2 or --seeds=3.')
  folder = pathlib.Path(
      values.workdir or f'runs/{pathlib.Path(values.config).stem}-sweep'
      ).expanduser()
  runs = grid.make(values.config, values.sweep, values.seeds, folder,
                         trainer_flags)
  if values.launcher == _NONE:
    _show_table(runs, {run.name: _state(run) for run in runs}, folder)
    return command_line.DONE
  launcher = starting.LAUNCHERS[values.launcher]
  launcher_flags = _launcher_flags(values.launcher, values.launcher_flags)
  due = [run for run in runs if not run.summary()]
  if values.dry_run:
    for run in due:
      print(shlex.join(starting.command(launcher, launcher_flags, run)))
    return command_line.DONE
  if len(due) < len(runs):
    _say(f'{len(runs) - len(due)} of {len(runs)} runs are finished')
  ended = starting.start(
      due, launcher, launcher_flags, signals.stop_events(), _say)
  return _show(values.launcher, runs, due, ended, folder)


def _launcher_flags(name, text):
  """The words of --launcher_flags."""
  try:
    words = shlex.split(text)
  except ValueError as error:
    raise UserError(f'--launcher_flags={text} cannot be read ({error}): quote '
                    'it as for a shell.') from error
  named = starting.LAUNCHERS[name].named
  if words and not named:
    raise UserError(f'--launcher_flags={text} is for other launchers, and '
                    f'--launcher={name} takes none: give the flags of the '
                    'trainer after " -- ".')
  if '--' in words:
    raise UserError(f'--launcher_flags={text} has a --: give the flags of the '
                    "trainer after the sweep's own.")
  if named:
    grid.refuse_given(
        words, [named.partition('=')[0].lstrip('-')], 'in --launcher_flags')
  return words


def _show(name, runs, due, ended, folder):
  """Shows what became of the runs; returns the exit code of the sweep."""
  failed = [end for end in ended.ends.values() if end.code]
  all_ended = not failed and len(ended.ends) == len(due)
  code = starting.exit_code(ended, all_ended)
  if name == 'kubernetes' and not all_ended:
    _say('nothing is printed, as not all manifests could be made')
    return code
  sys.stdout.write(''.join(end.printed for end in ended.ends.values()))
  if name == 'kubernetes':
    return code
  states = {run.name: 'not started' for run in runs}
  for run_name, end in ended.ends.items():
    states[run_name] = end.state
    if name == 'slurm' and end.code == command_line.DONE:
      states[run_name] = f'job {end.job}' if end.job else 'submitted'
  _show_table(runs, states, folder)
  return code


def _state(run):
  return 'begun' if run.has_begun() else 'not begun'


def _show_table(runs, states, folder):
  print(table.text(runs, states))
  tensorboard = shlex.join(['tensorboard', '--logdir', str(folder)])
  print(f'\nlook at them  {tensorboard}')


def _say(text):
  print(f'[sweep] {text}', file=sys.stderr, flush=True)


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
