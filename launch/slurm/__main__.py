"""Trains on a Slurm cluster.

  python -m launch.slurm --nodes=4 --gpus_per_node=8 --time=24:00:00 \\
      --sbatch=--partition=gpu --sbatch=--cpus-per-task=64 \\
      -- --config=imagenet_resnet50 --workdir=/shared/runs/r50

Submits a job that runs `python -m resnet.train` on its nodes with what stands
after --, and that goes on by itself after its time limit, a preemption, a lost
node or a failure, until the run is done (launch/slurm/script.py). Start it in a
folder that all nodes share. Exit codes: 0 submitted; 2 an error of the user's,
in one sentence.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys

from absl import flags

from configs.process import command_line
from configs.process.errors import UserError
from launch import trainer_command
from launch.slurm import script

_TIME = re.compile(r'(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?')
# Options that the script sets itself, and what to give instead.
_OWN = {
    '--nodes': '--nodes', '-N': '--nodes', '--time': '--time', '-t': '--time',
    '--array': '--seeds', '-a': '--seeds', '--ntasks': '--tasks_per_node',
    '-n': '--tasks_per_node', '--ntasks-per-node': '--tasks_per_node',
    '--gpus-per-node': '--gpus_per_node', '--gpus': '--gpus_per_node',
    '-G': '--gpus_per_node', '--gpus-per-task': '--gpus_per_node',
    '--output': '--log_dir', '-o': '--log_dir',
    '--error': '--log_dir', '-e': '--log_dir', '--signal': '--grace_seconds',
    '--open-mode': '', '--requeue': '', '--no-requeue': '--max_restarts',
    '--test-only': '--test_only', '--wrap': '', '--parsable': ''}


def parse(argv):
  """Defines and reads the flags; returns the trainer's, which follow --."""
  flags.DEFINE_integer('nodes', None, 'Nodes of the cluster.', lower_bound=1)
  flags.DEFINE_integer('gpus_per_node', 0, 'GPUs of each node; 0: the CPU.',
                       lower_bound=0)
  flags.DEFINE_integer('tasks_per_node', 1, 'Workers on each node, which share '
                       'its GPUs evenly.', lower_bound=1)
  flags.DEFINE_string('time', '', 'Time limit of each start, as Slurm has it: '
                      'minutes, H:M:S or D-H; none: that of the partition.')
  flags.DEFINE_integer('grace_seconds', 120, 'Seconds before the time limit at '
                       'which workers are told to save and end.',
                       lower_bound=1)
  flags.DEFINE_integer('max_restarts', 3, 'Failures after which the job is '
                       'started again. Exit code 143 (time limit, preemption, '
                       'a peer lost) is not counted.', lower_bound=0)
  flags.DEFINE_integer('seeds', 0, 'Trains with the seeds 0, 1, ... so many, '
                       'in a job array, each in WORKDIR/seed_N; 0: once, with '
                       "the recipe's seed.", lower_bound=0)
  flags.DEFINE_multi_string('sbatch', [], 'Another option of sbatch, such as '
                            '--sbatch=--partition=gpu; may be repeated.')
  flags.DEFINE_string('prologue', '', 'Shell commands that the job begins '
                      'with, on its first node: "module load cuda".')
  flags.DEFINE_string('python', shlex.quote(sys.executable), 'Command that '
                      'starts Python on the nodes, for example in a container: '
                      '"apptainer exec --nv resnet.sif python".')
  # absl has a flag of this name for logs of its own, which are not used here.
  flags.DEFINE_string('log_dir', 'runs/logs', 'Folder of the logs, which all '
                      'nodes share.', allow_override=True)
  flags.DEFINE_string('module', trainer_command.MODULE, 'The Python module '
                      'that each worker runs.')
  flags.DEFINE_bool('dry_run', False, 'Print the batch script, and end.')
  flags.DEFINE_bool('test_only', False, 'Let Slurm check the job, and say when '
                    'it would start; submit nothing.')
  return trainer_command.parse(argv, '--config=NAME --workdir=FOLDER')


def main(trainer_flags):
  """Submits the job; returns the exit code."""
  values = flags.FLAGS
  if not flags.FLAGS['python'].present:  # Else it is that of a container.
    trainer_command.check_module(values.module)
  job = _job(values, trainer_flags)
  text = script.render(job)
  if values.dry_run:
    print(text, end='')
  elif values.test_only:
    print(_sbatch(text, '--test-only').stderr.strip())
  else:
    _make_folder(values.log_dir)
    done = _sbatch(text, '--parsable')
    sys.stderr.write(done.stderr)  # Warnings.
    _print_commands(job, done.stdout.strip().partition(';')[0])
  return command_line.DONE


def _job(values, trainer_flags):
  """The slurm_script.Job that the flags describe."""
  if values.nodes is None:
    raise UserError('--nodes is missing: say how many nodes to train on.')
  if values.gpus_per_node % values.tasks_per_node:
    raise UserError(
        f'--gpus_per_node={values.gpus_per_node} cannot be shared evenly by '
        f'--tasks_per_node={values.tasks_per_node} workers: give a multiple.')
  _check_time(values.time, values.grace_seconds)
  _check_options(values.sbatch)
  workdir, others = _take('workdir', trainer_flags)
  if not workdir:
    raise UserError('--workdir is missing after " -- ": name the run folder, '
                    'which all nodes share.')
  if values.seeds and _take('config.seed', others)[0] is not None:
    raise UserError(f'--seeds={values.seeds} sets --config.seed: give one of '
                    'the two.')
  log_dir = os.path.abspath(os.path.expanduser(values.log_dir))
  _check_words(values, trainer_flags, log_dir)
  name = re.sub('[^A-Za-z0-9._-]', '_', os.path.basename(
      os.path.normpath(workdir))).lstrip('-')
  return script.Job(
      name=name or 'resnet', nodes=values.nodes,
      tasks_per_node=values.tasks_per_node, gpus_per_node=values.gpus_per_node,
      command=trainer_command.words(
          _python(values.python), values.module,
          others if values.seeds else trainer_flags),
      workdir=os.path.expanduser(workdir), log_dir=log_dir,
      grace_secs=values.grace_seconds, max_restarts=values.max_restarts,
      time=values.time, seeds=values.seeds, prologue=values.prologue,
      options=tuple(values.sbatch))


def _python(text):
  """The words of --python."""
  try:
    words = shlex.split(text)
  except ValueError as error:
    raise UserError(f'--python={text} cannot be read as a shell does ({error}):'
                    ' mend its quotes.') from error
  if not words:
    raise UserError('--python= is empty: give the command that starts Python.')
  return words


def _take(name, words):
  """(value of a flag or None, the other words); the last one counts."""
  value, others, rest = None, [], list(words)
  while rest:
    word = rest.pop(0)
    matched = re.fullmatch(f'--?{re.escape(name)}(?:=(.*))?', word, re.DOTALL)
    if not matched:
      others.append(word)
    elif matched[1] is not None:
      value = matched[1]
    else:
      value = rest.pop(0) if rest else ''
  return value, others


def _check_time(time, grace_secs):
  """Raises UserError unless the limit is longer than the grace."""
  if not time:
    return
  secs = _secs(time)
  if secs is None:
    raise UserError(f'--time={time} is no time limit: give minutes, H:M:S, D-H '
                    'or D-H:M:S.')
  if secs and grace_secs >= secs:  # 0: no limit.
    raise UserError(
        f'--grace_seconds={grace_secs} is not shorter than --time={time}, '
        f'{secs} s: give a longer time limit, or less to save.')


def _secs(time):
  """Of a time limit as Slurm reads it; None if it is none."""
  matched = _TIME.fullmatch(time)
  if not matched:
    return None
  numbers = [int(one) for one in matched.groups()[1:] if one is not None]
  if matched[1] is not None:  # Days: hours follow.
    units = (3600, 60, 1)
  else:
    units = (3600, 60, 1) if len(numbers) == 3 else (60, 1)
  return 86400 * int(matched[1] or 0) + sum(
      number * unit for number, unit in zip(numbers, units))


def _check_options(options):
  for option in options:
    name = option.partition('=')[0].split()[:1]
    if not name or not name[0].startswith('-'):
      raise UserError(f'--sbatch={option} is no option of sbatch: give it as '
                      'in --sbatch=--partition=gpu.')
    name = name[0] if name[0].startswith('--') else name[0][:2]
    if name in _OWN:
      instead = _OWN[name]
      raise UserError(
          f'--sbatch={option} is set by the launcher itself: '
          f'{"give " + instead if instead else "leave it out"}.')


def _check_words(values, trainer_flags, log_dir):
  """Raises UserError for what neither sbatch nor a log can hold."""
  for option in (*values.sbatch, log_dir):
    if not option.isprintable():
      raise UserError(f'{option!r} has characters that sbatch cannot read: '
                      'leave them out.')
  if '\\' in log_dir:  # sbatch would leave %j as it is.
    raise UserError(f'--log_dir={values.log_dir} has a backslash, which sbatch '
                    'does not allow: name another folder.')
  for word in trainer_flags:
    try:
      word.encode()
    except UnicodeEncodeError as error:
      raise UserError(f"The trainer's flag "
                      f'{word!r} is not UTF-8: mend it.'
                     ) from error


def _make_folder(path):
  """Slurm does not, and would run the job without a log."""
  try:
    pathlib.Path(path).expanduser().mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'--log_dir={path} cannot be made ({error.strerror}): name '
                    'a folder that you may write.') from error


def _sbatch(text, option):
  """The subprocess.CompletedProcess of sbatch, which has taken a text."""
  try:
    done = subprocess.run(['sbatch', option], input=text, text=True,
                          capture_output=True, check=False)
  except OSError as error:
    raise UserError(
        f'sbatch cannot be started ({error.strerror}): run this on a login '
        "node of a Slurm cluster, or give --dry_run.") from error
  if done.returncode:
    said = ' '.join(done.stderr.replace('sbatch: error: ', '').split())
    raise UserError(f'sbatch refuses the job ("{said}"): mend --sbatch and the '
                    'other flags, --dry_run shows the script.')
  return done


def _print_commands(job, number):
  """How to watch and to stop a job."""
  what = f'{job.nodes} nodes, {job.nodes * job.tasks_per_node} workers'
  each = f', {job.seeds} seeds' if job.seeds else ''
  print(f'submitted job {number} ({what}{each})\n'
        f'log:         tail -F {script.log_of(job, number)}\n'
        f'TensorBoard: tensorboard --logdir={shlex.quote(job.workdir)}\n'
        f'state:       squeue --jobs={number}\n'
        f'stop:        scancel {number}')


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
