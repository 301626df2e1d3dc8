"""Trains on a Slurm cluster.

  python -m launch.slurm --nodes=4 --gpus_per_worker=8 --time=24:00:00 \\
      --sbatch=--partition=gpu --sbatch=--cpus-per-task=64 \\
      -- --config=imagenet_resnet50 --workdir=/shared/runs/r50

Submits a job that runs `python -m resnet.train` on its nodes, with the flags
that follow --. The job restarts by itself after its time limit, a preemption, a
lost node or a failure, until the run is done (launch/slurm/job.sh). Run this
command in a folder that all nodes share. Exit codes: 0 submitted; 2 a user
error, explained in one sentence.
"""
import pathlib
import shlex
import subprocess
import sys

from absl import flags

from configs.process import command_line, path_flags
from configs.process.errors import UserError
from launch import trainer_command
from launch.cluster import contract
from launch.slurm import checks, script

_MOST_SEEDS = 4_000_001  # The most that Slurm can be configured to allow.


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the trainer's, which follow --."""
  flags.DEFINE_integer('nodes', None, 'How many nodes to train on.',
                       lower_bound=1, upper_bound=contract.MOST_WORKERS)
  flags.DEFINE_integer('workers_per_node', 1, 'Workers on each node.',
                       lower_bound=1, upper_bound=contract.MOST_WORKERS)
  flags.DEFINE_integer('gpus_per_worker', 0, 'GPUs of each worker. 0: train on '
                       'the CPU.', lower_bound=0,
                       upper_bound=contract.MOST_GPUS)
  flags.DEFINE_string('time', '', 'Time limit of each start, as Slurm writes '
                      'it: minutes, H:M:S or D-H. Default: the limit of the '
                      'partition.')
  flags.DEFINE_integer('grace_secs', 120, 'Seconds before the time limit at '
                       'which workers are told to save and exit.',
                       lower_bound=1)
  flags.DEFINE_integer('max_restarts', 3, 'How many failures the job survives '
                       'by restarting. Exit code 143 (time limit, preemption, '
                       'lost peer) is a failure only if no checkpoint was '
                       'saved since the last start.', lower_bound=0)
  flags.DEFINE_integer('seeds', 0, 'Trains this many seeds, 0, 1, ..., in a '
                       'job array, each in WORKDIR/seed_N. 0: trains once, '
                       "with the recipe's seed.", lower_bound=0,
                       upper_bound=_MOST_SEEDS)
  flags.DEFINE_multi_string('sbatch', [], 'One more option for sbatch, such as '
                            '--sbatch=--partition=gpu.')
  flags.DEFINE_string('prologue', '', 'Shell commands that the job runs first, '
                      'on its first node: "module load cuda".')
  flags.DEFINE_string('python', shlex.quote(sys.executable), 'Command that '
                      'starts Python on the nodes, for example in a container '
                      'that sees --workdir at the same place: "apptainer exec '
                      '--nv resnet.sif python".')
  # absl has a flag of this name for its own logs, which are not used here.
  path_flags.define('log_dir', 'runs/logs', 'Folder for the logs. All nodes '
                    'must share it.', allow_override=True)
  flags.DEFINE_string('module', trainer_command.MODULE, 'Python module that '
                      'each worker runs.')
  flags.DEFINE_bool('dry_run', False, 'Prints the batch script and submits '
                    'nothing.')
  flags.DEFINE_bool('test_only', False, 'Lets Slurm check the job and say when '
                    'it would start; submits nothing.')
  return trainer_command.parse(argv, '--config=NAME --workdir=FOLDER')


def main(trainer_flags: list[str]) -> int:
  """Submits the job; returns the exit code."""
  values = flags.FLAGS
  if not flags.FLAGS['python'].present:  # Else only the container knows.
    trainer_command.check_module(values.module)
  job = checks.job(values, trainer_flags)
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


def _make_folder(path: pathlib.Path) -> None:
  """Creates the folder of the logs: without it, Slurm keeps no log."""
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'--log_dir={path} cannot be created ({error.strerror}): '
                    'choose a folder that you can write to.') from error


def _sbatch(text: str, option: str) -> subprocess.CompletedProcess[str]:
  """Hands a batch script to sbatch and returns how sbatch ended."""
  try:
    done = subprocess.run(['sbatch', option], input=text, text=True,
                          capture_output=True, check=False)
  except OSError as error:
    raise UserError(
        f'sbatch cannot be started ({error.strerror}): run this command on a '
        'login node of a Slurm cluster, or add --dry_run to see the script.'
        ) from error
  if done.returncode:
    said = ' '.join(done.stderr.replace('sbatch: error: ', '').split())
    raise UserError(f'sbatch rejected the job ("{said}"): fix --sbatch and the '
                    'other flags; --dry_run prints the script.')
  return done


def _print_commands(job, number):
  """Prints how to watch and to stop a job."""
  what = f'{job.nodes} nodes, {job.workers} workers'
  each = f', {job.seeds} seeds' if job.seeds else ''
  print(f'submitted job {number} ({what}{each})\n'
        f'log:         tail -F {script.log_of(job, number)}\n'
        f'TensorBoard: tensorboard --logdir={shlex.quote(job.workdir)}\n'
        f'state:       squeue --jobs={number}\n'
        f'stop:        scancel {number}')


def run() -> None:
  """Runs the installed command, resnet-launch-slurm."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
