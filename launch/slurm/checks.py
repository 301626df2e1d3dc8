"""Checks the flags of a Slurm job before anything is submitted."""
from collections.abc import Iterable
import os
import re
import shlex

from absl import flags

from configs.process import flag_words, paths
from configs.process.errors import UserError
from launch import trainer_command
from launch.cluster import contract
from launch.slurm import script

_NUMBER = '([0-9]{1,9})'
_TIME = re.compile(f'(?:{_NUMBER}-)?{_NUMBER}(?::{_NUMBER})?(?::{_NUMBER})?')
# Options of sbatch that the launcher sets, and its own flags for them.
_OWN = {
    '--nodes': '--nodes', '-N': '--nodes', '--time': '--time', '-t': '--time',
    '--array': '--seeds', '-a': '--seeds', '--ntasks': '--workers_per_node',
    '-n': '--workers_per_node', '--ntasks-per-node': '--workers_per_node',
    '--gpus-per-node': '--gpus_per_worker', '--gpus': '--gpus_per_worker',
    '-G': '--gpus_per_worker', '--gpus-per-task': '--gpus_per_worker',
    '--output': '--log_dir', '-o': '--log_dir',
    '--error': '--log_dir', '-e': '--log_dir', '--signal': '--grace_secs',
    '--open-mode': '', '--requeue': '', '--no-requeue': '--max_restarts',
    '--test-only': '--test_only', '--wrap': '', '--parsable': ''}


def job(values: flags.FlagValues, trainer_flags: list[str]) -> script.Job:
  """Returns the job that the flags describe.

  Args:
    values: the launcher's parsed flags.
    trainer_flags: the trainer's words, which follow --.

  Raises:
    UserError: a flag is missing or wrong, or two contradict each other.
  """
  if values.nodes is None:
    raise UserError('--nodes is missing: say how many nodes to train on, such '
                    'as --nodes=2.')
  workers = values.nodes * values.workers_per_node
  if workers > contract.MOST_WORKERS:
    raise UserError(
        f'--nodes={values.nodes} with --workers_per_node='
        f'{values.workers_per_node} are {workers} workers, and a group has at '
        f'most {contract.MOST_WORKERS}: lower one of the two.')
  _check_time(values.time, values.grace_secs)
  _check_options(values.sbatch)
  workdir, others = flag_words.take('workdir', trainer_flags)
  if not workdir:
    raise UserError('--workdir is missing after " -- ": give the run folder, '
                    'which all nodes must share.')
  data_dir, _ = flag_words.take('data_dir', others)
  if data_dir is not None:
    paths.check(data_dir, '--data_dir')
  seed, _ = flag_words.take('config.seed', others)
  if values.seeds and seed is not None:
    raise UserError(f'--seeds={values.seeds} sets --config.seed, but '
                    f'--config.seed={seed} was given too: leave out one of '
                    'them.')
  log_dir = os.path.abspath(values.log_dir)
  _check_characters(values, trainer_flags, log_dir)
  return script.Job(
      name=_name(workdir), nodes=values.nodes,
      workers_per_node=values.workers_per_node,
      gpus_per_worker=values.gpus_per_worker,
      command=trainer_command.words(
          _python(values.python), values.module,
          others if values.seeds else trainer_flags),
      workdir=os.fspath(paths.local(workdir, '--workdir')), log_dir=log_dir,
      grace_secs=values.grace_secs, max_restarts=values.max_restarts,
      time=values.time, seeds=values.seeds, prologue=values.prologue,
      options=tuple(values.sbatch),
      **_folders(values.module))


def _name(workdir: str) -> str:
  """Returns the name of a job that trains in a run folder."""
  folder = os.path.basename(os.path.normpath(workdir))
  return re.sub('[^A-Za-z0-9._-]', '_', folder).lstrip('-') or 'resnet'


def _folders(module: str) -> dict[str, str]:
  """Returns where workers look for code, as two fields of a script.Job."""
  jobs = '\0'  # Stands for the PYTHONPATH that the job will have.
  path = trainer_command.variables(
      module, {'PYTHONPATH': jobs}).get('PYTHONPATH', jobs)
  before, _, after = path.partition(jobs)
  return {'code_folder': before.rstrip(os.pathsep),
          'module_folder': after.lstrip(os.pathsep)}


def _python(text: str) -> list[str]:
  """Returns the words of --python."""
  try:
    words = shlex.split(text)
  except ValueError as error:
    raise UserError(f'--python={text} cannot be split into words ({error}): '
                    'fix its quotes.') from error
  if not words:
    raise UserError('--python= is empty: give the command that starts Python '
                    'on the nodes.')
  return words


def _check_time(time: str, grace_secs: int) -> None:
  """Raises UserError unless the time limit is longer than the grace period."""
  if not time:
    return
  limit_secs = secs(time)
  if limit_secs is None:
    raise UserError(f'--time={time} is not a time limit: give minutes, H:M:S, '
                    'D-H or D-H:M:S.')
  if limit_secs and grace_secs >= limit_secs:  # 0: no limit.
    raise UserError(
        f'--grace_secs={grace_secs} must be less than --time={time}, which is '
        f'{limit_secs} s: raise --time or lower --grace_secs.')


def secs(time: str) -> int | None:
  """Returns a time limit in seconds, as Slurm reads it; None if it cannot."""
  matched = _TIME.fullmatch(time)
  if not matched:
    return None
  days = matched[1]
  numbers = [int(one) for one in matched.groups()[1:] if one is not None]
  # Hours follow days; without days, one or two numbers begin with minutes.
  from_hours = days is not None or len(numbers) == 3
  units = (3600, 60, 1) if from_hours else (60, 1)
  return 86400 * int(days or 0) + sum(
      number * unit for number, unit in zip(numbers, units))


def _check_options(options: Iterable[str]) -> None:
  """Raises UserError for what sbatch does not take or the launcher sets."""
  for option in options:
    name, *_ = [*option.partition('=')[0].split(), '']
    if not name.startswith('-'):
      raise UserError(f'--sbatch={option} is not an option of sbatch: give '
                      'options with their dashes, as in '
                      '--sbatch=--partition=gpu.')
    instead = _OWN.get(name if name.startswith('--') else name[:2])
    if instead is not None:
      raise UserError(
          f'--sbatch={option} is set by the launcher itself: '
          f'{f"use {instead} instead" if instead else "leave it out"}.')


def _check_characters(values, trainer_flags, log_dir):
  """Raises UserError for text that neither sbatch nor a log can hold."""
  for option in (*values.sbatch, log_dir):
    if not option.isprintable():
      raise UserError(f'{option!r} contains characters that sbatch cannot '
                      'read: remove them.')
  if '\\' in log_dir:  # sbatch would not replace %j.
    raise UserError(f'--log_dir={values.log_dir} contains a backslash, which '
                    'sbatch does not allow: choose another folder.')
  trainer_command.check_utf8(trainer_flags)
