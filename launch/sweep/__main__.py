"""Trains once for each of several settings and seeds, and compares the runs.

  python -m launch.sweep --config=cifar10_resnet20 --seeds=3 \\
      --sweep=schedule.peak=0.05,0.1,0.2 -- --data_dir=DATA

Several --sweep flags make a grid. Flags after -- go to the trainer of every
run. The run folders are created in --workdir and named after what the sweep
sets (peak=0.1_seed=2); `tensorboard --logdir` with the --workdir compares them
in its HParams tab.

--launcher says what starts a run, with the flags in --launcher_flags. train
(`python -m resnet.train`) and local (launch.local) use the whole machine, one
run after another. slurm submits a job for each run. kubernetes prints all
manifests, for `| kubectl apply -f -`. none starts nothing and shows the state
of the runs, whichever launcher started them.

Rerun the same command to continue: runs that have finished are not started
again. The sweep does not know which jobs are still queued or running. Before
you submit again, check that there are none, or leave that to Slurm with
--launcher_flags='... --sbatch=--dependency=singleton'.

A run that fails does not stop the others, unless it is the first one and a user
error keeps it from training. A signal is passed on once and ends the sweep; a
second SIGINT (Ctrl-C) kills the run. Exit codes: 0 all done; 2 a user error, or
runs that ended with one; 143 stopped and saved: rerun the same command; 130
killed by the second SIGINT; anything else is the exit code of the first run
that failed (1 if a signal killed it).
"""
from collections.abc import Mapping, Sequence
import pathlib
import shlex
import sys

from absl import flags

from configs import loading
from configs.process import command_line, completion, path_flags, streams
from configs.process.errors import UserError
from launch import trainer_command
from launch.local import signals
from launch.sweep import grid, starting, table

_NONE = 'none'


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the trainer's, which follow --."""
  flags.DEFINE_string(
      'config', loading.DEFAULT, 'The recipe of all runs: a name in configs/, '
      'or the path of a .py file.')
  completion.offer(lambda: {'config': loading.names()})
  flags.DEFINE_multi_string(
      'sweep', [], 'A field of the config and the values to try, as in '
      'schedule.peak=0.1,0.2. If the field takes several numbers, separate the '
      "values by semicolons: 'schedule.drops_at=0.5,0.75;0.6'.")
  flags.DEFINE_integer(
      'seeds', None, 'Number of runs of each setting, with the seeds 0, 1, ... '
      "Default: one run, with the recipe's seed.", lower_bound=1,
      upper_bound=grid.MOST_RUNS)
  path_flags.define(
      'workdir', None, 'Folder for the run folders. Default: '
      'runs/<recipe>-sweep.')
  flags.DEFINE_enum(
      'launcher', 'train', [*starting.LAUNCHERS, _NONE], 'What starts a run.')
  flags.DEFINE_string(
      'launcher_flags', '', 'Flags of the launcher, quoted as in a shell: '
      "'--workers=2 --max_restarts=5'.")
  flags.DEFINE_bool(
      'dry_run', False, 'Prints the commands that would start the runs, and '
      'starts nothing.')
  return trainer_command.parse(argv)


def main(trainer_flags: Sequence[str]) -> int:
  """Runs the sweep; returns its exit code."""
  values = flags.FLAGS
  if not values.sweep and not values.seeds:
    raise UserError('--sweep and --seeds are both missing: say what to try, as '
                    'in --sweep=schedule.peak=0.1,0.2 or --seeds=3.')
  folder = values.workdir or pathlib.Path(
      'runs', f'{loading.run_name(values.config)}-sweep')
  runs = grid.make(
      values.config, values.sweep, values.seeds, folder, trainer_flags)
  if values.launcher == _NONE:
    _show_table(runs, {run.name: _state(run) for run in runs}, folder)
    return command_line.DONE
  launcher = starting.LAUNCHERS[values.launcher]
  launcher_flags = _launcher_flags(values.launcher, values.launcher_flags)
  due = [run for run in runs if not run.summary()]
  if values.dry_run:
    for run in due:
      print(starting.shell_command(launcher, launcher_flags, run))
    return command_line.DONE
  streams.may_be_lost()  # What counts is in the run folders.
  if len(due) < len(runs):
    _say(f'{len(runs) - len(due)} of {len(runs)} runs have finished')
  ended = starting.start(
      due, launcher, launcher_flags, signals.stop_events(), _say)
  return _show(values.launcher, runs, due, ended, folder)


def _launcher_flags(name: str, text: str) -> list[str]:
  """Returns the words of --launcher_flags, checked."""
  try:
    words = shlex.split(text)
  except ValueError as error:
    raise UserError(
        f'--launcher_flags={text} cannot be split into words ({error}): quote '
        'it as you would in a shell.') from error
  flag = starting.LAUNCHERS[name].flag
  if words and not flag:
    raise UserError(
        f'--launcher_flags={text} was given, but --launcher={name} has no '
        'flags of its own: give the flags of the trainer after " -- ".')
  if '--' in words:
    raise UserError(
        f'--launcher_flags={text} contains --, which starts the flags of the '
        "trainer: give those after the sweep's own flags and \" -- \".")
  grid.refuse_given([flag], words, 'in --launcher_flags')
  return words


def _show(name: str, runs: Sequence[grid.Run], due: Sequence[grid.Run],
          ended: starting.Ended, folder: pathlib.Path) -> int:
  """Shows what became of the runs; returns the exit code of the sweep."""
  failed = [end for end in ended.ends.values() if end.code]
  all_ended = not failed and len(ended.ends) == len(due)
  code = starting.exit_code(ended, all_ended)
  if name == 'kubernetes' and not all_ended:
    _say('printed no manifest, because they could not all be made')
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
  return 'started' if run.has_started() else 'not started'


def _show_table(runs: Sequence[grid.Run], states: Mapping[str, str],
                folder: pathlib.Path) -> None:
  print(table.text(runs, states))
  tensorboard = shlex.join(['tensorboard', '--logdir', str(folder)])
  print(f'\nCompare the runs with: {tensorboard}')


def _say(text):
  print(f'[sweep] {text}', file=sys.stderr, flush=True)


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
