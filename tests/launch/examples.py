"""What launchers print with --dry_run, kept in launch/examples.

  python -m tests.launch.examples    # Writes the files again.
"""
import os
import pathlib
import shlex
import subprocess
import sys

from launch.cluster import contract

_ROOT = pathlib.Path(__file__).parents[2]
FOLDER = _ROOT / 'launch' / 'examples'
_CIFAR = '-- --config=cifar10_resnet20 --data_dir=/data --workdir=/runs/r20'
_IMAGENET = '-- --config=imagenet_resnet50 --data_dir=/data --workdir=/runs/r50'
_KUBERNETES = ('launch.kubernetes --kind={} --name=r50 '
               '--image=registry.example/resnet:1 --workers=4 '
               '--gpus_per_worker=8 --workdir_claim=runs --data_claim=data '
               f'{_IMAGENET}')
COMMANDS = {  # By the name of the file.
    'local.sh': f'launch.local --workers=2 --dry_run {_CIFAR}',
    'slurm.sh': 'launch.slurm --nodes=2 --gpus_per_worker=8 --time=24:00:00 '
                f'--python=python --log_dir=/runs/logs --dry_run {_IMAGENET}',
    'kubernetes_job.yaml': _KUBERNETES.format('job'),
    'kubernetes_jobset.yaml': _KUBERNETES.format('jobset'),
    'kubernetes_tfjob.yaml': _KUBERNETES.format('tfjob'),
    'sweep.sh': 'launch.sweep --config=cifar10_resnet20 --seeds=2 '
                '--sweep=schedule.peak=0.1,0.2 --workdir=/runs/peaks '
                '--dry_run -- --data_dir=/data'}


def text(name):
  """Returns what the file of that name must hold, the same on all machines."""
  variables = {
      name: value for name, value in os.environ.items()
      if name not in (*contract.THREAD_VARIABLES, 'CUDA_VISIBLE_DEVICES')}
  done = subprocess.run(
      [sys.executable, '-m', *shlex.split(COMMANDS[name])], cwd=_ROOT,
      env={**variables, 'PYTHONPATH': os.fspath(_ROOT)},
      stdout=subprocess.PIPE, text=True, check=True, preexec_fn=_use_one_core)
  # What an installed project prints with a `python` that is in PATH.
  return done.stdout.replace(shlex.quote(sys.executable), 'python').replace(
      f'code_folder={shlex.quote(os.fspath(_ROOT))}', "code_folder=''")


def _use_one_core():
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def index():
  """Returns the text of the folder's README."""
  rows = [f'- [{name}]({name}):\n  `python -m {command}`'
          for name, command in COMMANDS.items()]
  return ('What the launchers print, written by `python -m '
          'tests.launch.examples`. A test\ncompares these files with what the '
          'launchers print today.\n\n' + '\n'.join(rows) + '\n')


if __name__ == '__main__':
  FOLDER.mkdir(exist_ok=True)
  for file in COMMANDS:
    (FOLDER / file).write_text(text(file))
  (FOLDER / 'README.md').write_text(index())
