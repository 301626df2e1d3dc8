"""Measures what it costs that workers train together, on one core each.

  python -m launch.benchmark --workers=2 -- \\
      --config=fashion_mnist_resnet20 --data_dir=DIR

Each round measures three settings: one process alone, on the first core; as
many independent processes as there are workers, on one core each; and the
workers together. Each process trains on --worker_batch images per step, on the
CPU only, with the flags for `python -m resnet.train` that follow " -- ".

Exit codes: 0 done; 2 a user error, in one sentence; 1 a process failed: its
output is shown.
"""
from collections.abc import Mapping, Sequence
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from absl import flags

from configs.process import command_line
from configs.process.errors import UserError
from launch import trainer_command
from launch.cluster import contract
from launch.local import private_network, worker_environment

_SETTINGS = ('alone', 'apart', 'together')
_FAILURE = 1


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the trainer's, which follow --."""
  flags.DEFINE_integer('workers', 2, 'Number of worker processes.',
                       lower_bound=1)
  flags.DEFINE_integer('worker_batch', 64, 'Images per step of each process.',
                       lower_bound=1)
  flags.DEFINE_integer('steps', 60, 'Steps of each process. The first tenth is '
                       'not counted.', lower_bound=20)
  flags.DEFINE_integer('rounds', 5, 'Rounds; each measures all three settings.',
                       lower_bound=1)
  return trainer_command.parse(argv)


def main(trainer_flags: list[str]) -> int:
  """Runs the benchmark and prints the table; returns the exit code."""
  values = flags.FLAGS
  cores = sorted(os.sched_getaffinity(0))[:values.workers]
  if len(cores) < values.workers:
    raise UserError(
        f'--workers={values.workers} needs one core for each worker, but this '
        f'process may use {len(cores)}: give at most --workers={len(cores)}.')
  if not private_network.why_not():
    private_network.enter()  # Anyone who can connect to a worker controls it.
  speeds = {setting: [] for setting in _SETTINGS}
  for index in range(values.rounds):
    for setting in _SETTINGS:
      try:
        speeds[setting].append(_measure(
            setting, cores, values.worker_batch, values.steps, trainer_flags))
      except subprocess.CalledProcessError as error:
        print(error.output, end='', file=sys.stderr)
        if error.returncode in command_line.ALL_PERMANENT:
          return error.returncode
        return _FAILURE
    print(f'round {index + 1} of {values.rounds}: ' + ', '.join(
        f'{setting} {speeds[setting][-1]:.1f}' for setting in _SETTINGS) +
          ' images/s', flush=True)
  print(_table(speeds, values.workers, values.worker_batch))
  return command_line.DONE


def _measure(setting, cores, worker_batch, steps, trainer_flags):
  """Returns the images per second of all processes of a setting together.

  Raises:
    subprocess.CalledProcessError: one of them failed.
  """
  if setting == 'alone':
    cores = cores[:1]
  together = setting == 'together'
  strategy = contract.MULTI_WORKER if together else 'one_device'
  global_batch = worker_batch * (len(cores) if together else 1)
  command = trainer_command.words(
      (sys.executable,), trainer_command.MODULE,
      [*trainer_flags, f'--strategy={strategy}',
       f'--config.global_batch={global_batch}',
       '--config.train_epochs=0', f'--config.train_steps={steps}',
       '--config.schedule.warmup_epochs=0',
       f'--log_every_steps={steps // 10}', '--eval_every_epochs=0',
       '--save_every_secs=0'])
  with tempfile.TemporaryDirectory() as folder:
    # Workers that train together share one run folder.
    workdirs = [pathlib.Path(folder, f'{0 if together else rank}')
                for rank in range(len(cores))]
    _train(command, cores, workdirs)
    return sum(map(_images_per_second, set(workdirs)))


def _train(command: Sequence[str], cores: Sequence[int],
           workdirs: Sequence[pathlib.Path]) -> None:
  """Runs one process on each core; waits for all of them.

  Raises:
    subprocess.CalledProcessError: one of them failed.
  """
  processes = [
      subprocess.Popen(
          [*command, f'--workdir={workdir}'], env=environment,
          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
          preexec_fn=lambda core=core: os.sched_setaffinity(0, {core}))
      for core, workdir, environment in zip(
          cores, workdirs, _environments(len(cores)))]
  try:
    printed = [process.communicate()[0] for process in processes]
  finally:
    for process in processes:
      process.kill()
  for process, text in zip(processes, printed):
    if process.returncode:
      raise subprocess.CalledProcessError(
          process.returncode, command, output=text)


def _environments(workers) -> list[Mapping[str, str]]:
  """Returns the environment of each worker: one thread, no GPU."""
  environ = os.environ | dict.fromkeys(contract.THREAD_VARIABLES, '1')
  environ |= trainer_command.variables(trainer_command.MODULE, environ)
  return [environ | variables for variables in worker_environment.of_workers(
      worker_environment.free_ports(workers), 0, [], environ)]


def _images_per_second(workdir):
  """Returns the median of a run's log points, without the first."""
  lines = (workdir / 'metrics.jsonl').read_text(encoding='utf-8').splitlines()
  records = map(json.loads, lines)
  return statistics.median(
      [r['images_per_second'] for r in records if r['split'] == 'train'][1:])


def _table(speeds, workers, worker_batch):
  """Returns the medians, with the least and the most of all rounds."""
  alone, apart, together = (speeds[setting] for setting in _SETTINGS)
  rows = [
      (f'1 process on 1 core, {worker_batch} images per step', alone, '.1f'),
      (f'{workers} independent processes', apart, '.1f'),
      (f'{workers} workers that train together', together, '.1f'),
      (f'together / ({workers} x alone), per round',
       [t / (workers * a) for t, a in zip(together, alone)], '.3f'),
      ('together / independent, per round',
       [t / a for t, a in zip(together, apart)], '.3f')]
  head = f'images/s, median of {len(alone)} rounds [least, most]:'
  return '\n'.join([head, *(
      f'  {what:<48} {statistics.median(values):{form}} '
      f'[{min(values):{form}}, {max(values):{form}}]'
      for what, values, form in rows)])


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
