"""What launchers print with --dry_run, kept in launch/examples as they print it.

  python -m tests.examples    # writes the files anew
"""
import os
import pathlib
import shlex
import subprocess
import sys

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
    'slurm.sh': 'launch.slurm --nodes=2 --gpus_per_node=8 --time=24:00:00 '
                f'--python=python --log_dir=/runs/logs --dry_run {_IMAGENET}',
    'kubernetes_job.yaml': _KUBERNETES.format('job'),
    'kubernetes_jobset.yaml': _KUBERNETES.format('jobset'),
    'kubernetes_tfjob.yaml': _KUBERNETES.format('tfjob'),
    'sweep.sh': 'launch.sweep --config=cifar10_resnet20 --seeds=2 '
                '--sweep=schedule.peak=0.1,0.2 --workdir=/runs/peaks '
                '--dry_run -- --data_dir=/data'}


def text(name):
  """What the file of that name is to hold."""
  done = subprocess.run(
      [sys.executable, '-m', *shlex.split(COMMANDS[name])], cwd=_ROOT,
      stdout=subprocess.PIPE, text=True, check=True,
      # One core: as many threads on every machine.
      preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
  return done.stdout.replace(shlex.quote(sys.executable), 'python')


def index():
  """The text of the folder's README."""
  rows = [f'- [{name}]({name}):\n  `python -m {command}`'
          for name, command in COMMANDS.items()]
  return ('What launchers print, made by `python -m tests.examples`; a test '
          'compares it.\n\n' + '\n'.join(rows) + '\n')


if __name__ == '__main__':
  FOLDER.mkdir(exist_ok=True)
  for file in COMMANDS:
    (FOLDER / file).write_text(text(file))
  (FOLDER / 'README.md').write_text(index())
